"""The card of a dataset: its manifest in sentences. Pure."""

from collections.abc import Mapping
from typing import Any

#: What happened to what is not in the snapshot, for people.
_DROPS = {
    "no_verdict": "completions whose signals say neither good nor bad",
    "tie": "completions with as much weight for as against",
    "unknown_text": "labelled completions whose text no event has carried and nobody has registered",
    "tool_calls": "completions whose prompt has messages with more than a text, such as calls of tools",
    "duplicate": "rows whose prompt, completion and label another row has",
    "outvoted": "rows whose prompt and completion others labelled the other way with more weight",
    "quarantined": "completions of which only actors in quarantine said something",
    "capped": "rows of whom, or of what prompt, the caps on influence leave nothing",
    "contradiction": "rows whose prompt and completion have both labels with equal weight",
}


def card(manifest: Mapping[str, Any]) -> str:
    """Markdown."""
    counts = manifest["counts"]
    lines = [
        f"# Snapshot of {manifest['project']}",
        "",
        (
            f"Feedback up to position {manifest['watermark']} of the log, read by label policy "
            f"{manifest['policy']['name']} version {manifest['policy']['version']}. "
            "Columns: prompt, completion, label (true: desirable), weight, reason, completion_id, checkpoint_id, "
            "position."
        ),
        "",
        "| split | desirable | undesirable | desirable by weight | undesirable by weight |",
        "|---|---|---|---|---|",
        *(
            f"| {split} | {tally['desirable']} | {tally['undesirable']} | {tally['weight_desirable']:g} "
            f"| {tally['weight_undesirable']:g} |"
            for split, tally in counts.items()
        ),
        "",
        (
            f"The holdout is {manifest['rules']['holdout_share']:.0%} of the prompt groups, the same in every snapshot "
            "of the project; no prompt is on both sides."
        ),
        "",
        (
            f"Pairs: {manifest['pairs']['train']} for training, {manifest['pairs']['holdout']} held out. A pair is a "
            "desirable and an undesirable completion of one prompt; pairs.parquet names them by shard and row."
        ),
        "",
        _lambdas(manifest["lambda"]),
        "",
        "## Why the rows have their labels",
        "",
        "| reason | train | holdout |",
        "|---|---|---|",
    ]
    by_split = manifest["reasons"]
    for reason in sorted(by_split["train"].keys() | by_split["holdout"].keys()):
        lines.append(f"| {reason} | {by_split['train'].get(reason, 0)} | {by_split['holdout'].get(reason, 0)} |")
    lines += ["", "## What is not in it", ""]
    lines += [f"- {count} {_DROPS[reason]}" for reason, count in manifest["drops"].items() if count] or ["Nothing."]
    lines += ["", "## Guards", "", *_guards(manifest)]
    if manifest["warnings"]:
        lines += ["", "## Warnings", "", *(f"- {warning}" for warning in manifest["warnings"])]
    return "\n".join(lines) + "\n"


def _guards(manifest: Mapping[str, Any]) -> list[str]:
    held = [
        f"- {count} actors whose signals do not count: {reason}" for reason, count in manifest["quarantine"].items()
    ]
    capped = [f"- {count} training rows weigh less: {cap}" for cap, count in manifest["capped"].items() if count]
    return [*held, *capped] or ["Nothing was held back."]


def _lambdas(lambdas: Mapping[str, float] | None) -> str:
    if lambdas is None:
        return "Balanced weights: none, the training rows are of one class."
    return (
        f"Balanced weights: λ desirable {lambdas['desirable']:.4g}, λ undesirable {lambdas['undesirable']:.4g}, "
        "where the recipe says `auto`."
    )
