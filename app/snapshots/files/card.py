"""Writes the card of a dataset, which shows its manifest and its origin in sentences and bars. Pure.

The card leaves out what an older snapshot lacks: plan, writers, leakage.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from thumbwheel import wire

from app.snapshots.balance.writers import notices
from app.snapshots.files.card_leakage import leakage_lines
from app.snapshots.files.card_words import DROPS, SOURCES, SPLITS, WRITERS
from app.snapshots.files.plot import Bar, diverging


def card(manifest: Mapping[str, Any], origin: Mapping[str, Any] | None = None) -> str:
    """Returns the card as Markdown. `origin`: None for an older snapshot, whose manifest holds it."""
    about = {**manifest, **(origin or {})}
    counts = {split: tally for split, tally in manifest["counts"].items() if split != "later" or _rows(tally)}
    plan = manifest.get("plan")
    lines = [
        f"# Snapshot of {about['project']}",
        "",
        (
            f"Feedback up to position {manifest['watermark']} of the log, read by label policy "
            f"{manifest['policy']['name']} version {manifest['policy']['version']}."
        ),
        "",
        "## Classes",
        "",
        *_plot(counts, plan),
        "",
        "| split | | desirable | undesirable | desirable by weight | undesirable by weight |",
        "|---|---|---|---|---|---|",
        *(
            f"| {split} | {SPLITS.get(split, '')} | {tally['desirable']} | {tally['undesirable']} "
            f"| {tally['weight_desirable']:g} | {tally['weight_undesirable']:g} |"
            for split, tally in counts.items()
        ),
        "",
        "## Balance",
        "",
        *_balance(manifest["lambda"], plan),
        "",
        *_pairs(manifest["pairs"]),
        "",
        *_edits(manifest.get("edits")),
        *_writers(about.get("writers"), manifest["rules"]),
        "## Splits",
        "",
        *_splits(manifest["rules"]),
        *_conversations(manifest.get("conversations")),
        *leakage_lines(manifest.get("leakage"), manifest.get("equal_answers")),
        "",
        "## Reasons for the labels",
        "",
        *_reasons(manifest["reasons"], list(counts)),
        "",
        "## Left out",
        "",
        *_drops(manifest["drops"]),
        "",
        "## Guards",
        "",
        *_guards(manifest),
    ]
    if manifest["warnings"]:
        lines += ["", "## Warnings", "", *(f"- {warning}" for warning in manifest["warnings"])]
    return "\n".join(lines) + "\n"


def _rows(tally: Mapping[str, float]) -> float:
    return tally["desirable"] + tally["undesirable"]


def _plot(counts: Mapping[str, Mapping[str, Any]], plan: Mapping[str, Any] | None) -> list[str]:
    """Returns a plot of the splits, then of the training rows by reason and checkpoint; each part has its own scale."""
    parts = [[Bar(split, tally["desirable"], tally["undesirable"]) for split, tally in counts.items()]]
    for by, unknown in (("reason", "unknown"), ("checkpoint", "no checkpoint known")):
        own = [segment for segment in plan["segments"] if segment["by"] == by] if plan else []
        if by == "reason" or any(segment["name"] for segment in own):
            parts.append([Bar(part["name"] or unknown, part["desirable"], part["undesirable"]) for part in own])
    return ["```text", *diverging("desirable", "undesirable", parts), "```"]


def _balance(lambdas: Mapping[str, float] | None, plan: Mapping[str, Any] | None) -> list[str]:
    if lambdas is None:
        return ["Balanced weights: none, the training rows are of one class."]
    lines = [
        (
            f"Balanced weights: λ desirable {lambdas['desirable']:.4g}, λ undesirable {lambdas['undesirable']:.4g}, "
            "where the recipe says `auto`."
        )
    ]
    if plan is None:
        return lines
    up, down = plan["desirable"], plan["undesirable"]
    if plan["balance_by_weights"] is not None:
        lines[0] += (
            f" Desirable to undesirable then weighs {plan['balance_by_weights']:.2f}; 1 to 4/3 is sound, and more "
            "where most rows are desirable. In batches of half and half (`balance: batch`) it would be "
            f"{plan['balance_by_batch']:.2f}."
        )
    if plan["advised"] is not None:
        lines += ["", f"Advised: `balance: {plan['advised']}`, as {plan['because']}."]
    lines += [
        "",
        (
            f"After the caps on influence the {up['rows']} desirable training rows say as much as "
            f"{up['effective']:.0f} of equal weight, the {down['rows']} undesirable ones as much as "
            f"{down['effective']:.0f}."
        ),
    ]
    return lines


def _pairs(pairs: Mapping[str, Any]) -> list[str]:
    totals = f"Pairs: {pairs['train']} for training, {pairs['holdout']} held out."
    if "sources" not in pairs:
        return [
            (
                f"{totals} A pair is a desirable and an undesirable completion of one prompt; pairs.parquet lists them "
                "by shard and row."
            )
        ]
    sources = pairs["sources"]
    for_pairs = sum(shard["rows"] for shard in pairs["shards"])
    return [
        f"{totals} pairs.parquet names them by shard and row, with their votes.",
        "",
        "| pairs | for training | held out |",
        "|---|---|---|",
        *(f"| {name} | {sources['train'][key]} | {sources['holdout'][key]} |" for key, name in SOURCES.items()),
        "",
        f"- Compared, but tied and so no pair: {pairs['tied']}",
        f"- Completions without a label, used for pairs alone: {for_pairs}",
    ]


def _edits(by_split: Mapping[str, Mapping[str, int]] | None) -> list[str]:
    """Returns the section about what users' edits kept of undesirable rows."""
    if by_split is None:
        return []
    return [
        "## Edits",
        "",
        "Undesirable rows that users edited, and the characters that all edits of a row kept:",
        "",
        "| split | rows | characters | kept |",
        "|---|---|---|---|",
        *(
            f"| {split} | {part['rows']} | {part['characters']} "
            f"| {part['kept_characters'] / max(part['characters'], 1):.0%} |"
            for split, part in by_split.items()
        ),
        "",
    ]


def _writers(document: Mapping[str, Any] | None, rules: Mapping[str, Any]) -> list[str]:
    """Returns the section about who wrote the training rows, and how old the feedback on them is."""
    if document is None:
        return []
    writers = wire.Writers.model_validate(document)
    parts = [(name, getattr(writers, kind)) for kind, name in WRITERS.items()]
    lines = [
        "## Writers",
        "",
        "| training rows written by | desirable | undesirable | of the rows | of the weight |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {part.desirable} | {part.undesirable} | {part.share_of_rows:.0%} "
            f"| {part.share_of_weight:.0%} |"
            for name, part in parts
        ),
        "",
    ]
    ages = writers.age_days
    if ages.median is not None:
        lines += [
            (
                f"Days from the judgement of a training row to the newest of this snapshot: {ages.median:g} at the "
                f"median, {ages.p10:g} and {ages.p90:g} at the first and the last tenth, {ages.oldest:g} at most."
            ),
            "",
        ]
    for notice in notices(writers, rules["minimum_per_class"]):
        lines += [f"**Warning**: {notice}.", ""]
    return lines


def _splits(rules: Mapping[str, Any]) -> list[str]:
    lines = [
        (
            f"- The holdout is {rules['holdout_share']:.0%} of the prompt groups, the same in every snapshot of the "
            "project; no prompt is on both sides, nor are two that say nearly the same."
        )
    ]
    if days := rules.get("holdout_days"):
        lines.append(
            f"- Held out apart, as later: rows of the last {days} days before the end of this feedback. A later "
            "snapshot may train on them."
        )
    if rules.get("disjoint_actors"):
        lines.append("- No actor is on both sides: training has no rows of those who have held-out ones.")
    return lines


def _conversations(report: Mapping[str, Any] | None) -> list[str]:
    if report is None:
        return []
    lines = [
        (
            f"- No conversation is on both sides: {report['several_groups']} conversations have several prompt groups, "
            f"with {report['rows']} rows in all; the largest one has {report['largest_rows']} rows."
        )
    ]
    moved = report["moved"]
    if not moved["groups"]:
        return lines
    lines += [
        "",
        "### Changed sides",
        "",
        (
            f"{moved['groups']} prompt groups of {moved['conversations']} conversations changed sides since the "
            f"previous snapshot ({moved['rows']} rows here): they turned out to belong to conversations that "
            "training has, and rows that a model was trained on cannot be held out."
        ),
        "",
        "| conversation | from | to | prompt groups | rows |",
        "|---|---|---|---|---|",
        *(
            f"| {entry['conversation']} | {entry['from']} | {entry['to']} | {entry['groups']} | {entry['rows']} |"
            for entry in moved["listed"]
        ),
    ]
    if (more := moved["conversations"] - len(moved["listed"])) > 0:
        lines += ["", f"{more} more are not listed."]
    return lines


def _reasons(by_split: Mapping[str, Mapping[str, int]], splits: Sequence[str]) -> list[str]:
    names = sorted({reason for counted in by_split.values() for reason in counted})
    table = [["reason", *splits], ["---"] * (1 + len(splits))]
    table += [[_cell(name), *(str(by_split.get(split, {}).get(name, 0)) for split in splits)] for name in names]
    return [f"| {' | '.join(row)} |" for row in table]


def _drops(drops: Mapping[str, int]) -> list[str]:
    return [f"- {count} {DROPS.get(reason, reason)}" for reason, count in drops.items() if count] or ["Nothing."]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _guards(manifest: Mapping[str, Any]) -> Iterable[str]:
    held = [
        f"- {count} actors whose signals do not count: {reason}" for reason, count in manifest["quarantine"].items()
    ]
    capped = [f"- {count} training rows weigh less: {cap}" for cap, count in manifest["capped"].items() if count]
    return [*held, *capped] or ["Nothing was held back."]
