"""A short run of `make hostile`, and the cost of each kind of costly request relative to a plain event."""

import asyncio
import gzip
import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.conftest import Servers
from tests.emptied import Emptying
from tests.hostile.__main__ import attack, warm_up
from tests.hostile.server import Target, serving

MIB = 1024 * 1024
MOST_MB, MOST_CPU_SECONDS = 50, 1.0
BATCH = "/v1/feedback/batch?project=hostile"


@pytest.fixture(scope="module")
def target(migrated: Servers, empty: Emptying) -> Iterator[Target]:
    with serving(migrated.environment, migrated.folder / "hostile.log") as serving_target:
        yield serving_target
    empty()


@pytest.mark.trial
def test_hostile_requests_over_every_operation_get_documented_answers_and_none_hangs(target: Target) -> None:
    figures = asyncio.run(attack(target, seed=7, most=600, seconds=60))

    assert figures["requests"] > 100
    assert {name: figures[name] for name in ("server_errors", "hangs", "undocumented")} == {
        "server_errors": 0,
        "hangs": 0,
        "undocumented": 0,
    }


EVENT = {"completion_id": "c", "actor": "a", "signal": {"kind": "thumbs", "value": "up"}}


def lines(count: int, event: dict[str, object]) -> bytes:
    """Returns `count` events about different completions."""
    numbered = (EVENT | {"completion_id": f"c{number}"} | event for number in range(count))
    return "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in numbered).encode()


#: Functions, as each process of pytest-xdist would make all of these bodies while it collects the tests.
UNUSUAL: dict[str, Callable[[], bytes]] = {
    "unknown fields": lambda: lines(5000, {f"f{n}": 0 for n in range(270)}),
    "unknown fields of a signal": lambda: lines(5000, {"signal": {f"f{n}": 0 for n in range(270)}}),
    "nested lists": lambda: lines(600, {"metadata": {"a": [[[0]]] * 3500}}),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_a_batch_of_unusual_items_takes_little_processor_time_and_says_what_was_not_read(
    target: Target, name: str
) -> None:
    headers = {"Content-Type": "application/x-ndjson", "Authorization": f"Bearer {target.key}"}
    idle = warm_up(target)
    before = target.cpu_seconds()

    answer = httpx.post(f"{target.url}{BATCH}", content=UNUSUAL[name](), headers=headers, timeout=60)

    assert answer.status_code == 207, answer.text[:300]
    items = answer.json()["items"]
    assert "was not read" not in items[0].get("error", "")
    assert "was not read, since the batch holds too many" in items[-1]["error"]
    assert target.peak_mb() - idle <= MOST_MB
    assert target.cpu_seconds() - before <= MOST_CPU_SECONDS


COSTLY: dict[str, tuple[str, Callable[[], bytes], bool, str | None]] = {
    "a gzip body that inflates to gigabytes": (
        BATCH, lambda: gzip.compress(b"[0" + b",0" * 16_000_000 + b"]"), True, "gzip",
    ),
    "an event of unknown fields": (
        "/v1/feedback?project=hostile",
        lambda: json.dumps({f"field {n}": n for n in range(900_000)}).encode(),
        True,
        None,
    ),
    "empty items without a key": (BATCH, lambda: b"[" + b"{}," * (5 * MIB) + b"{}]", False, None),
    "empty items": (BATCH, lambda: b"[" + b"{}," * (5 * MIB) + b"{}]", True, None),
    "deep arrays": (BATCH, lambda: b"[" * (8 * MIB), True, None),
    "a policy of brackets": ("/v1/label-policies?project=hostile", lambda: b"[" * 1000 + b"]" * 1000, True, None),
    "a long project": ("/v1/projects", lambda: b'{"project": "' + b"x" * (15 * MIB) + b'"}', True, None),
}  # fmt: skip


@pytest.mark.parametrize("name", COSTLY)
def test_a_costly_request_takes_little_more_memory_and_processor_time_than_an_event(target: Target, name: str) -> None:
    path, make_body, with_key, encoding = COSTLY[name]
    headers = {"Content-Type": "application/json"}
    headers |= {"Authorization": f"Bearer {target.key}"} if with_key else {}
    headers |= {"Content-Encoding": encoding} if encoding else {}
    idle = warm_up(target)
    before = target.cpu_seconds()

    try:
        answer = httpx.post(f"{target.url}{path}", content=make_body(), headers=headers, timeout=60)
        assert 400 <= answer.status_code < 500, answer.text[:300]
        assert len(answer.content) < 64 * 1024
    except (httpx.WriteError, httpx.ReadError):
        pass  # the API refused it and closed before all was sent

    assert target.peak_mb() - idle <= MOST_MB
    assert target.cpu_seconds() - before <= MOST_CPU_SECONDS
