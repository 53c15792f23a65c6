"""Shows the samples of checkpoints, and removes those of prompts that were erased."""

import json
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import artifacts
from app.checkpoints import service as checkpoints
from app.checkpoints.card import card
from app.checkpoints.samples import files
from app.durable import write_atomically
from app.errors import NotFound
from app.pages import MAX_INT4, Page, key_of_cursor, number_up_to, page_of

#: Returns those of the completion ids that have a row in what an erasure left of a snapshot.
RowsLeft = Callable[[Collection[str]], Collection[str]]


def page(
    session: Session,
    project: str,
    checkpoint_id: UUID,
    *,
    source: str | None,
    suite: str | None,
    decoding: str | None,
    cursor: str | None,
    limit: int,
) -> Page[wire.PromptSamples]:
    """Returns what candidate, shipped checkpoint and ancestor wrote, prompt by prompt. Raises `NotFound`."""
    checkpoint = checkpoints.get(session, project, checkpoint_id)
    sha256 = checkpoint.files.get(checkpoints.SAMPLES)
    if sha256 is None:
        reason = "it is a base model" if checkpoint.kind == "base" else "it was registered before samples were kept"
        raise NotFound(f"Checkpoint {checkpoint_id} has no samples: {reason}.", code="samples_missing")
    after = key_of_cursor(cursor, number_up_to(MAX_INT4))
    wanted = {"source": source, "suite": suite, "decoding": decoding}
    with artifacts.open_stream(sha256) as file:
        numbers = [number for number in files.numbers_of(file, wanted) if after is None or number > after]
        sets = list(files.read_sets(file, numbers[: limit + 1]))
    rows = list(zip(numbers, sets, strict=False))
    return page_of(rows, limit, lambda row: str(row[0]), lambda row: _shown(row[1]))


def redact(session: Session, snapshot_ids: Collection[UUID], groups: Collection[str], rows_left: RowsLeft) -> list[str]:
    """Removes the samples of erased rows from checkpoints of these snapshots: those of held-out prompts other than
    those of `groups`, and those of replayed answers whose rows are not left.

    The samples and the card of such a checkpoint are replaced. Returns the hashes of the replaced files, which the
    caller deletes. A second call changes nothing. Raises `Unavailable`.
    """
    replaced: list[str] = []
    rows = {row.id: row for row in checkpoints.on_snapshots(session, snapshot_ids)}
    for checkpoint_id, texts in checkpoints.texts_of(session, rows).items():
        with tempfile.TemporaryDirectory(prefix="thumbwheel-samples-") as folder:
            renewed = _without(
                texts[checkpoints.SAMPLES], groups, rows_left, rows[checkpoint_id].manifest, Path(folder)
            )
        if renewed:
            replaced += checkpoints.replace_texts(session, checkpoint_id, renewed)
    return replaced


def _without(
    sha256: str, groups: Collection[str], rows_left: RowsLeft, manifest: Mapping[str, Any], folder: Path
) -> dict[str, str]:
    """Stores the rest of the samples, and the card with it. Returns their hashes, none if nothing was removed."""
    try:
        with artifacts.open_stream(sha256) as file:
            table = files.read(file)
    except NotFound:  # an earlier attempt deleted it before its transaction was rolled back
        table = files.SCHEMA.empty_table()
        rest = table
    else:
        rest = files.without_erased(table, groups, rows_left(files.replayed_ids(table)))
        if len(rest) == len(table):
            return {}
    samples, page_of_card = folder / checkpoints.SAMPLES, folder / checkpoints.CARD
    files.write(samples, rest)
    write_atomically(page_of_card, card(manifest, files.sets_of(rest)).encode())
    return {path.name: artifacts.put(path).sha256 for path in (samples, page_of_card)}


def _shown(of: Mapping[str, files.Row]) -> wire.PromptSamples:
    first = of["candidate"]
    return wire.PromptSamples.model_validate(
        {
            **{name: first[name] for name in ("source", "suite", "test", "prompt_label", "group", "decoding")},
            "prompt": json.loads(first["prompt"]),
            **{name: {key: row[key] for key in ("completion", "tokens", "finished")} for name, row in of.items()},
            **{f"lp_{name}": first[f"lp_{name}"] for name in files.MODELS},
            **{name: first.get(name) for name in ("completion_id", "answer", "split")},
        }
    )
