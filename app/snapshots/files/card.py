"""The card of a dataset: its manifest in sentences and bars. Pure.

Of what a manifest may lack, as those of older snapshots do, the card says nothing: plan, leakage.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.snapshots.files.plot import Bar, diverging

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
    "never_train": "labelled completions of which an event says that they are never to be trained on",
    "actor_on_both_sides": "training rows of actors who have held-out rows, too (disjoint_actors)",
    "conversation_on_other_side": (
        "rows of prompts that many conversations share, whose own conversation is on the other side"
    ),
    "between_times": "rows of the days that are held out whose prompts training has from before (holdout_days)",
}
_SPLITS = {
    "train": "for training",
    "holdout": "held out for ever: the prompt decides",
    "later": "held out for now: the latest days, with prompts that training has not",
}
_SOURCES = {
    "compared": "compared: the majority prefers the chosen one",
    "edit": "edit: somebody wrote the chosen one in place of the rejected one",
    "derived": "derived: a desirable and an undesirable completion of one prompt, which nobody compared",
}
_SIDES = {
    "prompts": "Prompts (without what the system says)",
    "completions": "Completions",
}
#: Held-out prompts with words of training in a row, above which share the card warns.
_MANY = 0.05
#: Held-out rows with an answer of training, above which share the card warns.
_MANY_ANSWERS = 0.2


def card(manifest: Mapping[str, Any]) -> str:
    """Markdown."""
    counts = {split: tally for split, tally in manifest["counts"].items() if split != "later" or _rows(tally)}
    plan = manifest.get("plan")
    lines = [
        f"# Snapshot of {manifest['project']}",
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
            f"| {split} | {_SPLITS.get(split, '')} | {tally['desirable']} | {tally['undesirable']} "
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
        "## Splits",
        "",
        *_splits(manifest["rules"]),
        *_conversations(manifest.get("conversations")),
        *_leakage(manifest.get("leakage"), manifest.get("equal_answers")),
        "",
        "## Why the rows have their labels",
        "",
        *_reasons(manifest["reasons"], list(counts)),
        "",
        "## What is not in it",
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
    """Splits, then what the training rows are made of, each part on a scale of its own."""
    parts = [[Bar(split, tally["desirable"], tally["undesirable"]) for split, tally in counts.items()]]
    for by, unknown in (("reason", "unknown"), ("checkpoint", "no checkpoint known")):
        own = [one for one in plan["segments"] if one["by"] == by] if plan else []
        if by == "reason" or any(one["name"] for one in own):
            parts.append([Bar(one["name"] or unknown, one["desirable"], one["undesirable"]) for one in own])
    return ["```text", *diverging("desirable", "undesirable", parts), "```"]


def _balance(lambdas: Mapping[str, float] | None, plan: Mapping[str, Any] | None) -> list[str]:
    if lambdas is None:
        return ["Balanced weights: none, the training rows are of one class."]
    said = [
        (
            f"Balanced weights: λ desirable {lambdas['desirable']:.4g}, λ undesirable {lambdas['undesirable']:.4g}, "
            "where the recipe says `auto`."
        )
    ]
    if plan is None:
        return said
    up, down = plan["desirable"], plan["undesirable"]
    if plan["balance_by_weights"] is not None:
        said[0] += (
            f" Desirable to undesirable then weighs {plan['balance_by_weights']:.2f}; 1 to 4/3 is sound. In batches of "
            f"half and half (`balance: batch`) it would be {plan['balance_by_batch']:.2f}."
        )
    if plan["advised"] is not None:
        said += ["", f"Advised: `balance: {plan['advised']}`, as {plan['because']}."]
    said += [
        "",
        (
            f"After the caps on influence the {up['rows']} desirable training rows say as much as "
            f"{up['effective']:.0f} of equal weight, the {down['rows']} undesirable ones as much as "
            f"{down['effective']:.0f}."
        ),
    ]
    return said


def _pairs(pairs: Mapping[str, Any]) -> list[str]:
    said = f"Pairs: {pairs['train']} for training, {pairs['holdout']} held out."
    if "sources" not in pairs:
        return [
            (
                f"{said} A pair is a desirable and an undesirable completion of one prompt; pairs.parquet names them "
                "by shard and row."
            )
        ]
    sources = pairs["sources"]
    for_pairs = sum(shard["rows"] for shard in pairs["shards"])
    return [
        f"{said} pairs.parquet names them by shard and row, with their votes.",
        "",
        "| pairs | for training | held out |",
        "|---|---|---|",
        *(f"| {name} | {sources['train'][key]} | {sources['holdout'][key]} |" for key, name in _SOURCES.items()),
        "",
        f"- Compared with as many votes each way, and no pair: {pairs['tied']}",
        f"- Completions without a label that are there for pairs alone: {for_pairs}",
    ]


def _splits(rules: Mapping[str, Any]) -> list[str]:
    said = [
        (
            f"- The holdout is {rules['holdout_share']:.0%} of the prompt groups, the same in every snapshot of the "
            "project; no prompt is on both sides, nor are two that say nearly the same."
        )
    ]
    if days := rules.get("holdout_days"):
        said.append(
            f"- Held out apart, as later: rows of the last {days} days before the end of this feedback. A later "
            "snapshot may train on them."
        )
    if rules.get("disjoint_actors"):
        said.append("- No actor is on both sides: training has no rows of those who have held-out ones.")
    return said


def _conversations(found: Mapping[str, Any] | None) -> list[str]:
    if found is None:
        return []
    lines = [
        (
            f"- No conversation is on both sides: {found['several_groups']} conversations have several prompt groups, "
            f"with {found['rows']} rows in all; the largest one has {found['largest_rows']} rows."
        )
    ]
    moved = found["moved"]
    if not moved["groups"]:
        return lines
    lines += [
        "",
        "### What changed sides",
        "",
        (
            f"{moved['groups']} prompt groups of {moved['conversations']} conversations are on another side than in "
            f"the snapshot before ({moved['rows']} rows here): they turned out to belong to conversations that "
            "training has, and what a model was trained on cannot be held out."
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


def _leakage(found: Mapping[str, Any] | None, answers: Mapping[str, int] | None) -> list[str]:
    if found is None:
        return []
    actors, sample = found["actors"], found["sample"]
    said = [
        "",
        "## What both sides share",
        "",
        f"- Groups of prompts: {found['groups_on_both_sides']}",
        *_same_texts(found, answers),
        (
            f"- Actors: {actors['on_both_sides']} of {actors['holdout']} with held-out rows have training rows, too: "
            f"{actors['share_of_training_weight']:.0%} of the training weight"
        ),
    ]
    for side, name in _SIDES.items():
        words = found[side]
        if not words["longest_shared_words"]:
            said.append(f"- {name}: not a word")
            continue
        said.append(
            f"- {name}: at most {words['longest_shared_words']} words in a row; "
            f"{words['holdout_overlapping']} held-out ones share {words['overlapping_from_words']} or more"
        )
    said += [
        "",
        (
            f"Words were looked for in {sample['holdout']} held-out and {sample['train']} training prompts with a "
            f"completion each, {sample['characters']} characters of each."
        ),
    ]
    overlapping = found["prompts"]["holdout_overlapping"]
    if overlapping > _MANY * sample["holdout"]:
        said += [
            "",
            (
                f"{overlapping / sample['holdout']:.0%} of these held-out prompts share long runs of words with "
                "training: the evaluation may flatter. A template that all prompts share is the harmless cause."
            ),
        ]
    return said


def _same_texts(found: Mapping[str, Any], answers: Mapping[str, int] | None) -> list[str]:
    """Conversations, prompts within prompts, and equal answers, with a warning where they are many."""
    lines = []
    if "conversations_on_both_sides" in found:
        lines.append(f"- Conversations: {found['conversations_on_both_sides']}")
    if prompts := found.get("contained"):
        lines.append(
            f"- Held-out prompts that stand whole in a training prompt: {prompts['contained']} of "
            f"{prompts['looked_for']} that are long enough to be looked for"
        )
        if prompts["contained"] > _MANY * prompts["looked_for"]:
            lines.append(
                "- **Warning**: training has seen these prompts. Send `conversation_id` with chats whose turns do not "
                "begin with each other."
            )
    if answers is not None:
        lines.append(f"- Held-out rows with the answer of a training row: {answers['equal']} of {answers['holdout']}")
        if answers["equal"] > _MANY_ANSWERS * answers["holdout"]:
            lines.append(
                "- **Warning**: training has seen many of the held-out answers: the evaluation shows whether answers "
                "are remembered, not whether prompts are understood."
            )
    return lines


def _reasons(by_split: Mapping[str, Mapping[str, int]], splits: Sequence[str]) -> list[str]:
    names = sorted({reason for counted in by_split.values() for reason in counted})
    table = [["reason", *splits], ["---"] * (1 + len(splits))]
    table += [[_cell(name), *(str(by_split.get(split, {}).get(name, 0)) for split in splits)] for name in names]
    return [f"| {' | '.join(row)} |" for row in table]


def _drops(drops: Mapping[str, int]) -> list[str]:
    return [f"- {count} {_DROPS.get(reason, reason)}" for reason, count in drops.items() if count] or ["Nothing."]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _guards(manifest: Mapping[str, Any]) -> Iterable[str]:
    held = [
        f"- {count} actors whose signals do not count: {reason}" for reason, count in manifest["quarantine"].items()
    ]
    capped = [f"- {count} training rows weigh less: {cap}" for cap, count in manifest["capped"].items() if count]
    return [*held, *capped] or ["Nothing was held back."]
