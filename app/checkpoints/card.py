"""Writes the model card, README.md of a checkpoint. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from thumbwheel import wire
from thumbwheel.row_checks import REASONS

from app.checkpoints import suite_section
from app.checkpoints.replay import section as replay
from app.checkpoints.samples.files import Row
from app.checkpoints.samples.section import section

#: Figures of the scores in the order of the card: path, name, meaning.
FIGURES = (
    (("auroc",), "AUROC", "separates desirable from undesirable held-out completions; 0.5 is chance"),
    (("auroc_per_token",), "AUROC per token", "as AUROC, of log-prob ratios per token"),
    (("accuracy",), "accuracy", "share of held-out rows on the right side of z0"),
    (("margin",), "margin", "mean reward of desirable rows minus that of undesirable ones"),
    (("ece",), "calibration error", "expected calibration error, 0 is perfect"),
    (("kl", "nats_per_token"), "drift, nats per token", "KL from the reference on own samples"),
    (("kl", "nats_per_completion"), "drift, nats per completion", "the drift summed over a completion"),
    (("auroc_vs_ancestor",), "AUROC against the base model", "as AUROC, measured from the first base model"),
    (("shipped_auroc_vs_ancestor",), "the shipped checkpoint's", "the same figure for the reference"),
    (("auroc_difference",), "difference of the two", "above 0: better than the shipped checkpoint"),
    (("dumb_readers", "bag_of_words"), "AUROC of a bag of words", "fitted to the training rows without the model"),
    (("dumb_readers", "length"), "AUROC of the length", "only by the number of the completion's tokens"),
    (("dumb_readers", "reference"), "AUROC of the reference's log-prob", "per token, before training"),
    (("dumb_readers", "auroc_over_best"), "AUROC above the best of these three", "above 0: learnt more than they show"),
)


#: The names of a recipe's objectives, with their sources.
OBJECTIVES = {
    "kto": "KTO (arXiv 2402.01306)",
    "apo_zero_unpaired": "APO-zero without pairs (arXiv 2408.06266)",
    "bco": "BCO (arXiv 2404.04656)",
    "ppo_clip": "offline PPO with a clipped ratio (arXiv 2402.01306)",
    "tkto": "token-weighted KTO (arXiv 2510.05799)",
    "mo_kto": "KTO (arXiv 2402.01306) on several labels at once",
    "sft": "supervised fine-tuning on the desirable completions",
    "dpo": "DPO (arXiv 2305.18290)",
    "ipo": "IPO (arXiv 2310.12036)",
    "slic": "SLiC's hinge on the margin (arXiv 2305.10425)",
    "simpo": "SimPO (arXiv 2405.14734)",
    "orpo": "ORPO (arXiv 2403.07691)",
}


def card(manifest: Mapping[str, Any], samples: Sequence[Mapping[str, Row]] = ()) -> str:
    """Returns the card, as Markdown, of a checkpoint's manifest (see `worker.registration.manifest_of`).

    samples  what candidate, shipped checkpoint and ancestor wrote, prompt by prompt
    """
    recipe, scores, snapshot, training = (manifest[name] for name in ("recipe", "scores", "snapshot", "training"))
    kind = "A LoRA adapter" if manifest["kind"] == "adapter" else "Full weights"
    origin_in_words = (
        f"{kind}, trained with {OBJECTIVES[recipe['objective']]} on the feedback of project {manifest['project']}, "
        f"starting from {_reference_in_words(manifest)}"
    )
    origin = [
        ("run", manifest["run_id"]),
        ("snapshot", f"{snapshot['id']} (sha256 {snapshot['sha256']})"),
        ("reference", manifest["reference_checkpoint_id"]),
        ("base model", manifest["base_model"]),
        ("weights, sha256", manifest["weights_sha256"]),
    ]
    trained = (
        f"Trained on {_number(training.get('rows_trained'))} rows{_in_pairs(training)} in "
        f"{_number(training.get('steps'))} steps; "
        f"{_number(training.get('rows_dropped'))} rows were dropped and "
        f"{_number(training.get('rows_truncated'))} cut to fit."
    )
    lengths = (
        f"Rows count by their weights. Intervals cover {scores.get('confidence', 0.95):.0%}, by bootstrap over "
        "prompts. Median length of sampled completions: "
        f"{_number(_at(scores, ('length', 'candidate_median')))} tokens, of the reference's "
        f"{_number(_at(scores, ('length', 'reference_median')))}."
    )
    figures = [(name, *_value_and_interval(_at(scores, path)), meaning) for path, name, meaning in FIGURES]
    parts = [
        "\n".join(_front_matter(manifest["kind"], recipe["objective"])),
        f"# {manifest['project']}: checkpoint of run {manifest['run_id']}",
        origin_in_words,
        _verdict_on_learning(scores),
        "## Gates",
        _gates(manifest),
        "## Where it comes from",
        _table(("item", "value"), origin),
        "## Data",
        _table(("count", "value"), sorted(_flat({**snapshot["counts"], "pairs": snapshot.get("pairs", {})}))),
        trained,
        *_off_policy(training),
        *_edits(training),
        *_dropped(training, scores),
        f"## Scores on {_number(scores.get('rows'))} held-out rows",
        _table(("figure", "value", "interval", "meaning"), figures),
        lengths,
        *section(scores, samples, recipe["seed"]),
        *replay.section(scores),
        *_suites(scores, manifest),
        *_judged(scores),
        "## Recipe",
        _table(("field", "value"), sorted(_flat(recipe))),
    ]
    return "\n\n".join(parts) + "\n"


def _suites(scores: Mapping[str, Any], manifest: Mapping[str, Any]) -> Sequence[str]:
    """Returns the section on the project's suites; none without suites, as in older manifests."""
    suites = scores.get("suites") or {}
    if not suites:
        return []
    notes = (
        "Share of passed tests, and its difference to the shipped checkpoint on the tests that were decided for both. "
        "The checkpoint's file suites.parquet has every output."
    )
    parts = ["## Suites", _table(suite_section.HEAD, suite_section.rows(suites)), notes]
    worst = manifest.get("suite_regressions") or []
    if worst:
        parts += [
            "### Tests that the shipped checkpoint passed and this one fails",
            f"The {len(worst)} with the lowest scores; of equal ones, the first in the order of suites and tests.",
            suite_section.regressions(worst),
        ]
    return parts


def card_of_overrides(overrides: Sequence[wire.Override]) -> str:
    """Returns the section about releases despite the gates, for the end of a card; empty if there were none."""
    if not overrides:
        return ""
    rows = [
        (
            item.number,
            f"{item.created_at:%Y-%m-%d %H:%M UTC}",
            item.by,
            ", ".join(item.override_scope),
            item.override_reason,
        )
        for item in overrides
    ]
    about = "This checkpoint was shipped although its gates did not pass, as the ledger of releases records:"
    return "\n".join(["", "## Overrides", "", about, "", _table(("release", "at", "by", "rules", "reason"), rows), ""])


def _gates(manifest: Mapping[str, Any]) -> str:
    """Returns the verdict with its reasons, and the gates that gave it; older manifests do not name these."""
    gates = manifest.get("gates") or {}
    by = f" by gates {gates['document']['name']}, version {gates['version']}" if "document" in gates else ""
    lines = [f"**{manifest['verdict']}**{by}", "", *(f"- {reason}" for reason in manifest["reasons"])]
    return "\n".join(lines).rstrip()


def _off_policy(training: Mapping[str, Any]) -> Sequence[str]:
    """Returns how far the reference is from the models that wrote the rows, as a paragraph; nothing if no row has the
    log-probs of its writer, and for older manifests."""
    report = training.get("off_policy")
    if not isinstance(report, Mapping):
        return []
    known, unknown = report["rows_with_log_probs"], report["rows_without"]
    share = report["effective_share"]
    used = (
        f"Rows were weighed by who wrote them (behaviour_correction); they are worth {share:.0%} of as many equal ones."
        if report["corrected"]
        else f"Weights that correct for it would leave {share:.0%} of the rows' worth; behaviour_correction was off."
    )
    paragraph = (
        f"Of the rows, {known:,} have the log-probs with which they were sampled, {unknown:,} have none. The reference "
        f"gives the former log-probs that differ by {_number(report['mean_absolute_difference'])} nats per token on "
        f"average; over 0.5 is far. {used}"
    )
    return [paragraph]


def _edits(training: Mapping[str, Any]) -> Sequence[str]:
    """Returns how many rows were weighed by what an edit kept, as a paragraph; nothing if the recipe weighed none."""
    report = training.get("edits")
    if not isinstance(report, Mapping):
        return []
    if not report["rows"]:
        return ["No undesirable row had what an edit kept of it, so edit_kept_weight changed nothing."]
    weight = _number(_at(training, ("recipe", "edit_kept_weight")))
    paragraph = (
        f"Of the undesirable rows, {report['rows']:,} were edited by users, who kept {report['kept_share']:.0%} of the "
        f"{report['tokens']:,} tokens. A kept token weighed {weight}, a changed one 1 (edit_kept_weight)."
    )
    return [paragraph]


def _dropped(training: Mapping[str, Any], scores: Mapping[str, Any]) -> Sequence[str]:
    """Returns the reasons why rows of each split were dropped, as a table; older manifests have no reasons."""
    dropped = training.get("dropped") or {}
    splits = dict(dropped.get("reasons") or {})
    splits.setdefault("holdout", scores.get("dropped") or {})
    rows = [
        (f"{count:,}", split, REASONS[reason].meaning, REASONS[reason].remedy)
        for split, counts in splits.items()
        for reason, count in counts.items()
    ]
    parts = [_table(("dropped rows", "split", "reason", "remedy"), rows)] if rows else []
    named = [f"- {row['completion_id']} ({row['split']}): {row['reason']}" for row in dropped.get("rows") or ()]
    parts += ["The first of them:", "\n".join(named)] if named else []
    prompts = sum((dropped.get("control_tokens_in_prompts") or {}).values())
    parts += (
        [f"{prompts:,} prompts have control tokens, which are read as the serving stack reads them."] if prompts else []
    )
    trimmed = sum((dropped.get("prompts_trimmed") or {}).values())
    parts += [f"The chat template trims the white space at the ends of {trimmed:,} prompts."] if trimmed else []
    return parts


def _judged(scores: Mapping[str, Any]) -> Sequence[str]:
    """Returns what a judge preferred, as a paragraph; nothing if no judge was configured."""
    judge = scores.get("judge")
    if not isinstance(judge, Mapping):
        return []
    (wins, interval), (consistency, _) = (
        _value_and_interval(judge.get(name)) for name in ("win_share", "position_consistency")
    )
    known = f"{wins} ({interval})" if wins != "none" else f"unknown ({interval})"
    spent = " Its budget was spent." if judge.get("budget_spent") else ""
    paragraph = (
        f"The judge {judge.get('model')} compared {_number(judge.get('pairs'))} outputs for held-out prompts with "
        f"those of the shipped checkpoint, each pair in both orders. Share of wins, a tie as half: {known}. "
        f"Share of pairs that it judged the same in both orders: {consistency}. Unchanged outputs: "
        f"{_number(judge.get('unchanged'))}; without a judgement: {_number(judge.get('missing'))}.{spent}"
    )
    return [paragraph]


def _front_matter(kind: str, objective: str) -> Sequence[str]:
    library = "peft" if kind == "adapter" else "transformers"
    return ["---", f"library_name: {library}", f"tags: [{objective}, thumbwheel]", "---"]


def _reference_in_words(manifest: Mapping[str, Any]) -> str:
    reference = manifest["reference_checkpoint_id"]
    if manifest.get("shipped_checkpoint_id", reference) == reference:
        return "the checkpoint that was shipped when the run was requested, and measured against it."
    return (
        "a base model of its own for a comparison, and measured against it: where this card says shipped, it means "
        "that base model."
    )


def _in_pairs(training: Mapping[str, Any]) -> str:
    pairs = training.get("pairs_trained")
    return "" if pairs is None else f" ({_number(pairs)} pairs)"


def _verdict_on_learning(scores: Mapping[str, Any]) -> str:
    auroc = _at(scores, ("auroc",))
    low, value = auroc.get("low"), auroc.get("value")
    if low is None or value is None:
        reason = auroc.get("reason") or "the holdout does not give it"
        return f"Whether the model learnt anything is unknown: AUROC has no value ({reason})."
    if not low > 0.5:
        return (
            f"The model learnt little: on held-out feedback it does not tell good from bad completions better than "
            f"chance (AUROC {value:.2f}, at its lower bound {low:.2f})."
        )
    if not low > 0.6:
        return (
            f"The model learnt something, not much: on held-out feedback it tells good from bad completions a little "
            f"better than chance (AUROC {value:.2f}, at its lower bound {low:.2f})."
        )
    return (
        f"The model learnt to tell good from bad completions on held-out feedback (AUROC {value:.2f}, at its lower "
        f"bound {low:.2f})."
    )


def _at(document: Mapping[str, Any], path: Sequence[str]) -> Any:
    value: Any = document
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return {} if value is None else value


def _value_and_interval(figure: Any) -> tuple[str, str]:
    if not isinstance(figure, Mapping) or figure.get("value") is None:
        reason = figure.get("reason") if isinstance(figure, Mapping) else None
        return "none", reason or ""
    return _number(figure["value"]), f"{_number(figure.get('low'))} … {_number(figure.get('high'))}"


def _number(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "unknown"
    return str(value) if isinstance(value, int) else f"{value:.4g}"


def _flat(document: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in document.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, str(value)))
    return rows


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
