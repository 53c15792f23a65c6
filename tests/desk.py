"""A project with feedback, and its runs in any state, without a worker."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text
from thumbwheel import wire
from thumbwheel.wire.recipe_resolution import resolve

from app import artifacts
from app.database import transaction
from app.errors import ThumbwheelError
from app.messages import LOOK_AT_RELEASE
from app.project_setup import service as project_setup
from app.runs import service as runs
from app.runs.leases import service as leases
from app.runs.leases.lease import Lease
from app.runs.leases.service import Claimed
from app.runs.states import RunState
from app.snapshots import service as snapshots
from tests.logged import store

DESK = "desk"


def make_project(project: str = DESK, *, base_model: Path = Path("/models/base"), **configuration: Any) -> None:
    chosen = {"snapshot": {"minimum_per_class": 5, "holdout_share": 0.3}, "gates": "toy", "suites": [], **configuration}
    new = wire.NewProject(project=project, base_model=str(base_model), **chosen)
    with transaction() as session:
        project_setup.create(session, new)


def vote(count: int = 40, *, start: int = 0, project: str = DESK, values: Sequence[str] = ("up", "down")) -> None:
    """Stores alternating thumbs up and down, each about a different completion."""
    events = [
        wire.Event(
            event_id=f"e{number}",
            completion_id=f"c{number}",
            actor=f"user {number}",
            prompt=f"Question {number}?",
            completion=f"Answer {number}.",
            signal=wire.Thumbs(value=values[number % len(values)]),
        )
        for number in range(start, start + count)
    ]
    store(project, events)


def request(project: str = DESK, **new: Any) -> wire.Run:
    with transaction() as session:
        return runs.request(session, project, wire.NewRun(**new), "key test", "requested by a test")


def claim(run_id: UUID, owner: str = "worker 1") -> Claimed:
    with transaction() as session:
        claimed = leases.claim(session, run_id, owner)
    assert claimed is not None
    return claimed


def shown(run_id: UUID, project: str = DESK) -> wire.Run:
    with transaction() as session:
        return runs.get(session, project, run_id)


def snapshot(claimed: Claimed, folder: Path) -> None:
    with transaction() as session:
        built = snapshots.build(
            session,
            claimed.project,
            claimed.configuration.snapshot,
            claimed.recipe.objective,
            watermark=claimed.watermark,
            seed=claimed.recipe.seed,
            shipped_checkpoint_id=claimed.shipped_checkpoint_id,
            folder=folder / "snapshot",
            pairs=claimed.recipe.pairs,
            kept_spans=claimed.kept_spans,
        )
        recipe = resolve(claimed.recipe, built.weight_desirable, built.weight_undesirable)
        leases.snapshotted(session, claimed.lease, built.id, recipe)


def advance(lease: Lease, *states: RunState) -> None:
    for state in states:
        with transaction() as session:
            leases.advance(session, lease, state)


def ready_to_finish(folder: Path, project: str = DESK, **new: Any) -> Claimed:
    """Returns a claimed run that has done everything but finish."""
    claimed = claim(request(project, **new).id)
    snapshot(claimed, folder)
    advance(claimed.lease, RunState.REFERENCING, RunState.TRAINING, RunState.EVALUATING)
    return claimed


def finish(
    claimed: Claimed,
    folder: Path,
    *,
    kind: str = "adapter",
    reasons: Sequence[str] = (),
    verdict: str = "refused",
    files: Mapping[str, Path] | None = None,
    scores: Mapping[str, Any] | None = None,
    manifest: Mapping[str, Any] | None = None,
) -> UUID:
    """Registers a checkpoint with `files`, or else with one weight file that is unique to the run.

    Its gates passed unless there are reasons; then they gave `verdict`.
    """
    weights = folder / "adapter_model.safetensors"
    if files is None:
        weights.write_text(f"weights of run {claimed.lease.run_id}")
    stored = {name: artifacts.put(path).sha256 for name, path in (files or {weights.name: weights}).items()}
    small = {
        "kind": kind,
        "scores": {"auroc": {"low": 0.7}, **(scores or {})},
        "training": {"base_fingerprint": "f" * 64},
        "verdict": verdict if reasons else "passed",
        "reasons": list(reasons),
    }
    with transaction() as session:
        return leases.finish(
            session,
            claimed.lease,
            weights_sha256=stored["model.safetensors" if kind == "weights" and files else weights.name],
            files=stored,
            manifest={**small, **(manifest or {})},
        )


def checkpoint(folder: Path, project: str = DESK, **how: Any) -> UUID:
    """Takes a run from its request to a registered checkpoint and returns the id of the checkpoint."""
    return finish(ready_to_finish(folder, project), folder, **how)


def execute(statement: str, **values: Any) -> Any:
    """Executes SQL as an operator would and returns the rows, if there are any."""
    with transaction() as session:
        done = session.execute(text(statement), values)
        return done.all() if done.returns_rows else None


def expire(run_id: UUID) -> None:
    """Expires the lease of a run, as if its worker had been silent for longer."""
    execute("UPDATE runs SET lease_expires_at = now() - interval '1 second' WHERE id = :id", id=run_id)


def reap() -> int:
    with transaction() as session:
        return leases.reap(session)


def messages() -> list[str]:
    """The ids of the runs in the outbox's messages to workers, oldest message first; None for other messages, except
    those about releases, which are not listed.
    """
    query = "SELECT arguments ->> 'run_id' FROM outbox WHERE task <> :release ORDER BY id"
    return [row[0] for row in execute(query, release=LOOK_AT_RELEASE.name)]


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Starts `count` calls at the same moment and returns the result or ThumbwheelError of each."""
    gate = threading.Barrier(count)

    def begin(number: int) -> Any:
        gate.wait()
        try:
            return call(number)
        except ThumbwheelError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))
