"""The asynchronous client against the real API: what a product's backend calls, one way of calling for each."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from thumbwheel import ApiError, AsyncClient, Client, Damaged, Unreachable, wire

from app.feedback.import_jobs import job
from tests.cli.test_client import EVENT, PROBLEM, RECEIPT, answering, checkpoint
from tests.desk import DESK, make_project, request, vote


async def at_once(_seconds: float) -> None:
    """Replaces the pause between two attempts."""


def with_client(calls: Callable[[AsyncClient], Awaitable[None]], *arguments: str | None) -> None:
    async def run() -> None:
        async with AsyncClient(*arguments, sleep=at_once) as client:
            await calls(client)

    asyncio.run(run())


def test_a_product_sends_and_reads_what_it_does_by_the_synchronous_client(client: Client):
    async def calls(thumbwheel: AsyncClient) -> None:
        completion = wire.Completion(prompt="Where is it?", completion="On its way.")
        assert (await thumbwheel.completions.register("msg-1", completion)).status == "stored"
        await asyncio.gather(*(thumbwheel.feedback("msg-1", f"user-{number}", "up") for number in range(5)))
        preferred = wire.Preference(rejected_completion_id="msg-2")
        await thumbwheel.feedback("msg-1", "user-1", preferred, occurred_at=datetime.now(UTC))
        receipt = await thumbwheel.events.record_many(
            EVENT.model_copy(update={"event_id": f"e-{number}"}) for number in range(120)
        )
        assert receipt.stored == 120
        assert len({event.event_id async for event in thumbwheel.events.list()}) == 126
        other = wire.IdentifiedCompletion(completion_id="msg-3", prompt="Where is it?", completion="In Leeds.")
        assert (await thumbwheel.completions.register_many([other])).stored == 1
        assert (await thumbwheel.completions.get("msg-1")).completion == "On its way."
        assert (await thumbwheel.completions.explain_label("msg-1")).label == "desirable"
        with pytest.raises(ApiError, match="msg-9") as refused:
            await thumbwheel.completions.get("msg-9")
        assert refused.value.status == 404
        assert [run async for run in thumbwheel.runs.list()] == []
        assert await thumbwheel.checkpoints.approvals() == []

    with_client(calls)

    assert client.completions.get("msg-1").prompt == "Where is it?"


def test_a_file_is_uploaded_in_pieces_and_its_import_followed_to_its_end(client: Client, tmp_path):
    row = {"prompt": "Where is it?", "completion": "On its way.", "label": True}
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({**row, "user_id": f"u{n}", "source": "x" * 200}) + "\n" for n in range(1500)))
    sent: list[int] = []

    async def calls(thumbwheel: AsyncClient) -> None:
        item = await thumbwheel.imports.upload(file, wire.ImportOptions(as_="trl"), progress=sent.append)
        states = [(await anext(aiter(thumbwheel.imports.follow(item.id)))).state]
        await asyncio.to_thread(job.do, item.id, "a test", lambda: False)
        states += [shown.state async for shown in thumbwheel.imports.follow(item.id)]
        assert states == ["queued", "done"]
        assert (await thumbwheel.imports.wait(item.id)).counts.stored == 1500
        assert [reject async for reject in thumbwheel.imports.rejects(item.id)] == []
        assert [shown.id async for shown in thumbwheel.imports.list()] == [item.id]
        await thumbwheel.imports.delete(item.id)

    with_client(calls)

    assert len(sent) > 1
    assert sum(sent) == file.stat().st_size
    assert list(client.imports.list()) == []


def test_a_run_is_followed_to_its_end(client: Client):
    make_project()
    vote()
    run = request()

    async def calls(thumbwheel: AsyncClient) -> None:
        await thumbwheel.runs.cancel(run.id)
        kinds = [type(event).__name__ async for event in thumbwheel.runs.follow(run.id)]
        assert kinds[-1] == "RunEndEvent"
        assert len(kinds) > 1

    with_client(calls, client.url, None, DESK)


def test_an_event_is_sent_again_with_the_same_id_until_the_client_gives_up():
    async def stored(thumbwheel: AsyncClient) -> None:
        assert (await thumbwheel.events.record(EVENT)).status == "stored"

    async def given_up(thumbwheel: AsyncClient) -> None:
        with pytest.raises(Unreachable, match="Tried 5 times"):
            await thumbwheel.events.record(EVENT)

    with answering(None, (503, PROBLEM), (201, RECEIPT)) as (url, bodies):
        with_client(stored, url)
    assert len({body["event_id"] for body in bodies}) == 1
    with_client(given_up, "http://127.0.0.1:1")


def test_a_file_whose_hash_is_another_is_not_left_behind(tmp_path):
    async def calls(thumbwheel: AsyncClient) -> None:
        with pytest.raises(Damaged, match=r"card\.md has SHA-256"):
            await thumbwheel.checkpoints.pull(uuid4(), tmp_path)

    with answering((200, checkpoint({"card.md": "0" * 64})), (200, b"other")) as (url, _):
        with_client(calls, url)

    assert list(tmp_path.iterdir()) == []
