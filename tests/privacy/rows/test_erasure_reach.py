"""After an erasure, no remaining file or table contains the erased text."""

import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from thumbwheel import wire

from app import artifacts, settings
from app.database import transaction
from app.feedback import service as feedback
from app.privacy.erasures import service as erasures
from app.privacy.erasures.failures import MOST_ATTEMPTS
from app.privacy.receipts import service as receipts
from app.releases import service as releases
from app.snapshots import rows_from_log
from app.snapshots import service as snapshots
from tests.desk import DESK, checkpoint, execute, make_project, ready_to_finish, vote
from tests.logged import store
from tests.privacy.rows.test_erasures import ask, finish, shown, tables_with, thumb

KINDS = ({"kind": "thumbs", "value": "up"}, {"kind": "thumbs", "value": "down"}, {"kind": "copy"}, {"kind": "reject"})
ACTORS = 12


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def name_of(actor: int) -> str:
    return f"actor {actor:03}"


def words_of(actor: int) -> str:
    """Returns a word that is in every text of the actor and nowhere else."""
    return f"secret{actor:03}x"


def files() -> set[Path]:
    """Returns the files of the artifact store, including those of earlier tests."""
    return {path for path in Path(settings.current().artifacts).rglob("*") if path.is_file()}


def random_events(rng: random.Random, count: int, first: int = 0) -> list[dict[str, object]]:
    """Returns events of several actors about partly shared completions, with texts by each actor."""
    events = []
    for number in range(first, first + count):
        actor, completion = rng.randrange(ACTORS), rng.randrange(count * 2 // 3)
        own = words_of(actor)
        signal = rng.choice(
            (
                *KINDS,
                {"kind": "edit", "text": f"{own} would say it otherwise, {completion}."},
                {"kind": "preference", "rejected": f"{own} did not like {completion}."},
            )
        )
        event = {"event_id": f"v{number}", "completion_id": f"c{completion}", "actor": name_of(actor), "signal": signal}
        if signal["kind"] == "preference" or rng.random() < 0.7:
            event |= {"prompt": f"What of {completion}?", "completion": f"{own} heard {completion % 7}."}
        if rng.random() < 0.3:
            event["metadata"] = {"note": own}
        events.append(event)
    return events


def texts_of(paths: set[Path]) -> dict[str, str]:
    """The bytes of each file, or the values of a parquet file, as text."""
    found = {}
    for path in paths:
        raw = path.read_bytes()
        found[path.name] = str(pq.read_table(path).to_pylist()) if raw[:4] == b"PAR1" else raw.decode("latin-1")
    return found


@pytest.mark.parametrize("seed", range(3))
def test_erased_words_are_in_no_file_and_in_no_table(seed, tmp_path):
    rng, others = random.Random(seed), files()
    store(DESK, random_events(rng, 150))
    before = checkpoint(tmp_path / "1")
    store(DESK, random_events(rng, 50, first=150))
    checkpoint(tmp_path / "2")
    actors = rng.sample(range(ACTORS), 3)
    there = "".join(texts_of(files() - others).values())
    assert all(words_of(actor) in there for actor in actors)

    for actor in actors:
        certificate = finish(ask(name_of(actor))).certificate
        assert certificate.snapshots
        assert before in [one.checkpoint_id for one in certificate.checkpoints]

    left = texts_of(files() - others)
    for actor in range(ACTORS):
        if actor in actors:
            assert tables_with(words_of(actor)) == []
            assert [name for name, text in left.items() if words_of(actor) in text] == []
        else:
            assert any(words_of(actor) in text for text in left.values())


def test_a_receipt_leads_from_the_event_to_what_is_live_and_is_empty_once_its_rows_are_erased(tmp_path):
    vote()
    made = checkpoint(tmp_path)
    with transaction() as session:
        shipped = releases.ship(session, DESK, wire.NewRelease(checkpoint_id=made), "key ops")
        receipt = receipts.receipt(session, DESK, "e7")

    [row], [run], [found] = receipt.snapshots, receipt.runs, receipt.checkpoints
    assert (row.completion_id, row.label, row.reason) == ("c7", "undesirable", "thumbs_down")
    assert (run.state, run.snapshot_id, found.run_id) == ("succeeded", row.snapshot_id, run.run_id)
    assert (found.checkpoint_id, found.itself) == (made, True)
    assert [(period.since, period.until) for period in found.live] == [(shipped.created_at, None)]
    store(DESK, [{**thumb("eve", "c7"), "event_id": "late"}])

    [redacted] = finish(ask("eve")).certificate.snapshots

    assert (redacted.snapshot_id, redacted.rows, len(redacted.shards)) == (row.snapshot_id, 1, 1)
    with transaction() as session:
        assert receipts.receipt(session, DESK, "e7").snapshots == []
        [still] = receipts.receipt(session, DESK, "e8").snapshots
        assert still.snapshot_id == redacted.successor_id
        assert [one.checkpoint_id for one in receipts.receipt(session, DESK, "e8").checkpoints] == [made]
        successor = snapshots.require(session, still.snapshot_id)
        with artifacts.open_stream(successor.files["origin.json"]) as file:
            writers = json.load(file)["writers"]
        train, written = successor.manifest["counts"]["train"], writers["unknown"]
        assert all(written[label] == train[label] for label in ("desirable", "undesirable"))
        assert writers["age_days"] == {"p10": 0, "median": 0, "p90": 0, "oldest": 0, "without_time": 0}


def test_while_a_file_of_a_snapshot_cannot_be_read_the_erasure_waits_and_then_ends(tmp_path):
    vote()
    ready_to_finish(tmp_path)
    [(sha256,)] = execute("SELECT files ->> 'members.parquet' FROM snapshots")
    path = Path(artifacts.path_of(sha256))
    aside = path.rename(path.with_suffix(".aside"))
    erasure = ask("user 7")

    for _ in range(MOST_ATTEMPTS + 3):
        erasures.advance(erasure.id)

    waiting = shown(erasure)
    assert waiting.state == "running"
    assert sha256 in waiting.trouble
    aside.rename(path)
    done = finish(erasure)
    assert (done.trouble, len(done.certificate.snapshots), done.certificate.checkpoints) == (None, 1, [])
    assert [run.state for run in done.certificate.runs] == ["evaluating"]


def test_a_build_during_which_a_text_that_it_needs_is_erased_says_so(tmp_path, monkeypatch):
    store(DESK, [thumb(f"user {n}", f"c{n}", prompt=f"What of {n}?", completion=f"This, {n}.") for n in range(20)])
    rewritten = {"kind": "edit", "text": "Something else altogether, in words of my own."}
    store(DESK, [{"event_id": "e1", "completion_id": "c1", "actor": "eve", "signal": rewritten}])
    gather = rows_from_log.gather

    def gather_after_an_erasure(*given, **named):
        finish(ask("eve"))
        return gather(*given, **named)

    monkeypatch.setattr(rows_from_log, "gather", gather_after_an_erasure)
    with transaction() as session, pytest.raises(snapshots.ErasedMeanwhile, match="while its snapshot was made"):
        snapshots.build(
            session, DESK, wire.SnapshotRules(minimum_per_class=1), "sft",
            watermark=feedback.watermark(session, DESK), seed=1, shipped_checkpoint_id=None, folder=tmp_path / "made",
        )  # fmt: skip
    assert not (tmp_path / "made").exists()
