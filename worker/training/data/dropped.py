"""The dropped rows of a job: their files, and their part of summaries and warnings.

dropped.jsonl names every dropped row of WORKDIR, beginning with those that `thumbwheel train` dropped while it read
its files; dropped-by-reason.json counts them.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from thumbwheel.row_checks import counts_in_words

from app.durable import write_atomically
from worker.training.data.rows import TokenisedRows, read_rows
from worker.training.data.tokens import Tokens
from worker.training.files.sealed import DamagedFile, read, write_sealed
from worker.training.job import Job
from worker.training.machine.process import TrainingRefusal

#: Number of dropped rows that a summary names, in total and for each reason.
NAMED, EXAMPLES = 20, 3
Split = Literal["train", "holdout", "later"]
#: Splits that are checked in addition to the one that is trained on.
OTHERS: tuple[Split, ...] = ("holdout", "later")


def tokens_file(workdir: Path, split: Split) -> Path:
    """Returns the path of the file that keeps a split's token ids for the next attempt and for the scorer."""
    return workdir / ("tokens.safetensors" if split == "train" else f"tokens-{split}.safetensors")


def read_split(
    job: Job, split: Split, tokens: Tokens, max_length: int, vocabulary: int, *, keeps: bool = True
) -> TokenisedRows:
    """Returns the rows of one split, read by the rules that hold for all splits. Raises `TrainingRefusal`."""
    return read_rows(
        job.workdir / "snapshot",
        job.shards_of(split),
        tokens,
        max_length,
        tokenised=tokens_file(job.workdir, split),
        keeps=keeps,
        vocabulary=vocabulary,
    )


def checked(
    job: Job, train: TokenisedRows, tokens: Tokens, max_length: int, vocabulary: int, *, writes: bool
) -> dict[str, Any]:
    """Checks the rows of the other splits by the rules of the train rows; writes dropped.jsonl if `writes`.

    Returns the part of training.json that describes dropped rows. Raises `TrainingRefusal` if no train row or no
    held-out row is left.
    """
    reads: dict[str, TokenisedRows] = {"train": train}
    for split in OTHERS:
        if job.shards_of(split):
            reads[split] = read_split(job, split, tokens, max_length, vocabulary, keeps=writes)
    before = job.workdir / "snapshot" / "dropped.jsonl"
    lines = [json.loads(line) for line in _content(before).splitlines()] if before.is_file() else []
    lines += [drop.line for read in reads.values() for drop in read.drops]
    if writes:
        content = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        write_atomically(job.workdir / "dropped.jsonl", content.encode())
        write_sealed(job.workdir / "dropped-by-reason.json", json.dumps(by_reason(lines)).encode())
    train.require_any("train rows")
    if "holdout" in reads:
        reads["holdout"].require_any("held-out rows")
    return {
        "reasons": {split: read.reasons for split, read in reads.items() if read.drops},
        "rows": lines[:NAMED],
        "control_tokens_in_prompts": {
            split: read.control_tokens_in_prompts for split, read in reads.items() if read.control_tokens_in_prompts
        },
        "prompts_trimmed": {split: read.prompts_trimmed for split, read in reads.items() if read.prompts_trimmed},
    }


def _content(path: Path) -> bytes:
    try:
        return read(path)
    except DamagedFile as damage:
        raise TrainingRefusal("snapshot_damaged", f"snapshot: {damage}: stage it again") from None


def by_reason(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns the dropped rows by reason, the most frequent first, each with its counts and its first rows."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        groups.setdefault(line["reason"], []).append(line)
    return [
        {
            **{name: rows[0][name] for name in ("reason", "meaning", "remedy")},
            "count": len(rows),
            "splits": dict(Counter(row["split"] for row in rows)),
            "examples": [{name: row[name] for name in ("split", "completion_id", "detail")} for row in rows[:EXAMPLES]],
        }
        for rows in sorted(groups.values(), key=len, reverse=True)
    ]


def warnings_of(dropped: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns the codes and messages of a run's warnings about its dropped rows."""
    warnings = []
    if reasons := dropped["reasons"]:
        parts = [
            f"{sum(counts.values())} {split} rows are dropped: {counts_in_words(counts)}"
            for split, counts in reasons.items()
        ]
        warnings.append(("rows_dropped", f"{'. '.join(parts)}. dropped.jsonl names each row"))
    if prompts := dropped["control_tokens_in_prompts"]:
        message = (
            f"{sum(prompts.values())} prompts hold the text of a control token: it is read as that control token, as "
            "the serving stack reads it; if this is not intended, remove such text before it is sent"
        )
        warnings.append(("control_tokens_in_prompts", message))
    if trimmed := dropped["prompts_trimmed"]:
        message = (
            f"{sum(trimmed.values())} prompts are trained without the white space at the ends of their messages: the "
            "chat template removes it, as it does when the model is served; nothing needs to be done"
        )
        warnings.append(("prompts_trimmed", message))
    return warnings
