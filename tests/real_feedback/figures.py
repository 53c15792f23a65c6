"""Figures of one file of real feedback in a new project. Checks in addition to the product's own read the rows of the
file and the written shards alone.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow.parquet as pq
from thumbwheel import wire

from app.database import transaction
from app.errors import Refused
from app.feedback import importing
from app.feedback import service as feedback
from app.labels.policies import service as policies
from app.labels.resolving import resolved
from app.project_setup import service as project_setup
from app.runs import service as runs
from app.snapshots import service as snapshots
from tests.logged import store

RULES = wire.SnapshotRules(minimum_per_class=5, allow_imbalance=True)
AT_ONCE = 2_000
#: Least length of a first message that identifies a conversation: many begin with the same greeting.
LEAST_CHARACTERS = 24

Rows = list[dict[str, Any]]


def imported(path: Path) -> tuple[list[wire.Event], dict[str, int]]:
    """Returns the events of the file, and the number of lines of each outcome."""
    items = list(importing.read(path))
    events = [item.event for item in items if isinstance(item, importing.Imported)]
    return events, dict(Counter(type(item).__name__.lower() for item in items))


def in_log(project: str, events: Sequence[wire.Event]) -> None:
    """Creates the project and stores the events in this order."""
    with transaction() as session:
        new = wire.NewProject(project=project, base_model="/models/base", snapshot=RULES, suites=[])
        project_setup.create(session, new)
    for start in range(0, len(events), AT_ONCE):
        store(project, events[start : start + AT_ONCE])


def labels_of(project: str) -> dict[str, tuple[bool | None, int, tuple[str, ...]]]:
    """Returns label, weight and reasons of each completion."""
    labels: dict[str, tuple[bool | None, int, tuple[str, ...]]] = {}
    with transaction() as session:
        policy, watermark = policies.adopted(session, project).policy, feedback.watermark(session, project)
        with resolved(session, project, policy, watermark) as log:
            for _, labelled in log.parts():
                for row in labelled.completions.iter_rows(named=True):
                    labels[row["completion_id"]] = (row["label"], row["weight"], tuple(row["reasons"]))
    return labels


def readiness_of(project: str) -> wire.Readiness:
    """Returns the readiness as the loop computes it."""
    with transaction() as session:
        runs.look_ahead(session, project)
        return runs.readiness(session, project)


def snapshot_of(project: str, folder: Path) -> dict[str, Any] | str:
    """Builds a snapshot; returns its manifest, or the reason for its refusal."""
    try:
        with transaction() as session:
            watermark = feedback.watermark(session, project)
            built = snapshots.build(
                session, project, RULES, "kto", watermark=watermark, seed=1, shipped_checkpoint_id=UUID(int=1),
                folder=folder,
            )  # fmt: skip
    except Refused as refusal:
        return str(refusal)
    return built.manifest


def shards_in(folder: Path) -> dict[str, Rows]:
    """Returns the rows of each shard, by the file's name."""
    return {path.name: pq.read_table(path).to_pylist() for path in sorted(folder.glob("*-*.parquet"))}


def of_split(shards: dict[str, Rows], split: str) -> Rows:
    """Returns the labelled rows of this split. Rows that only pairs need are in other shards."""
    return [
        row for name, rows in shards.items() if name.startswith(f"{split}-") and "pairs" not in name for row in rows
    ]


def pairs_in(folder: Path, shards: dict[str, Rows]) -> set[tuple[str, str, str]]:
    """Returns chosen and rejected completion and source of each pair."""
    return {
        (
            shards[pair["shard"]][pair["chosen"]]["completion_id"],
            shards[pair["rejected_shard"]][pair["rejected"]]["completion_id"],
            pair["source"],
        )
        for pair in pq.read_table(folder / "pairs.parquet").to_pylist()
    }


def pairs_checked(pairs: Iterable[tuple[str, str, str]], events: Iterable[wire.Event]) -> dict[str, int]:
    """Counts the pairs that nobody compared, and those that contradict the majority of their votes."""
    voters: dict[tuple[str, str], set[str]] = defaultdict(set)
    for event in events:
        if isinstance(event.signal, wire.Preference) and event.signal.rejected_completion_id is not None:
            voters[event.completion_id, event.signal.rejected_completion_id].add(event.actor)
    compared = [(chosen, rejected) for chosen, rejected, source in pairs if source == "compared"]
    return {
        "pairs": len(compared),
        "pairs_nobody_compared": sum(not voters[two] and not voters[two[::-1]] for two in compared),
        "pairs_against_votes": sum(len(voters[two[::-1]]) > len(voters[two]) for two in compared),
    }


def conversations_on_both_sides(events: Iterable[wire.Event], train: Rows, holdout: Rows) -> dict[str, int]:
    """Returns how many held-out rows belong to a conversation that training has, too: prompts of which one begins with
    all messages of the other, found by comparing them one by one.
    """
    given = {event.completion_id: event.prompt for event in events if event.prompt is not None}
    prompts = {completion_id: _messages(prompt) for completion_id, prompt in given.items()}
    first: dict[tuple[str, ...], str] = {}
    for completion_id, messages in prompts.items():
        first.setdefault(messages, completion_id)
    parent: dict[str, str] = {}

    def root(of: str) -> str:
        while parent.setdefault(of, of) != of:
            of = parent[of]
        return of

    for completion_id, messages in prompts.items():
        for length in range(1, len(messages) + 1):
            begins = messages[:length]
            if begins in first and (length > 1 or len(_opening(given[completion_id])) >= LEAST_CHARACTERS):
                parent[root(completion_id)] = root(first[begins])

    def conversation(row: dict[str, Any]) -> str:
        return root(row["completion_id"].split("#")[0])

    seen = {conversation(row) for row in train}
    return {
        "held_out_rows": len(holdout),
        "held_out_rows_of_trained_conversations": sum(conversation(row) in seen for row in holdout),
    }


def _opening(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else str(prompt[0].content)


def _messages(prompt: Any) -> tuple[str, ...]:
    if isinstance(prompt, str):
        return (prompt,)
    return tuple(json.dumps(message.model_dump(mode="json"), sort_keys=True) for message in prompt)
