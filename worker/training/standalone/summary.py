"""The summary of a training, as one document or as a table."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thumbwheel.row_checks import REASONS

from worker.training.files.sealed import DamagedFile, read
from worker.training.machine.process import TrainingRefusal
from worker.training.watch.journal import figures, lines

#: Figures of the scorer that the table shows → their names there.
SCORES = {"auroc": "AUROC", "accuracy": "accuracy", "margin": "margin", "ece": "calibration error"}


def summary_of(out: Path, work: Path, *, finished_before: bool) -> dict[str, Any]:
    """Returns the summary of the training in `out`; `finished_before` means that an earlier call had finished it."""
    training, recipe, manifest = (
        _document(path) for path in (work / "training.json", work / "recipe.json", work / "snapshot" / "manifest.json")
    )
    scores = _document(out / "scores.json") if (out / "scores.json").exists() else None
    warnings = work / "warnings.jsonl"
    messages = [line["message"] for line in lines(warnings)]
    if manifest["holdout_share"] > 0 and holdout_rows(work) == 0:
        messages.append("no prompt fell into the holdout: nothing was evaluated; raise --holdout or give --eval-data")
    return {
        "out": str(out),
        "finished_before": finished_before,
        **{name: training[name] for name in ("kind", "weights_sha256", "steps", "epochs", "seconds", "device")},
        **{name: recipe[name] for name in ("objective", "method", "lambda_desirable", "lambda_undesirable")},
        "rows": manifest["counts"],
        "pairs": {split: manifest["pairs"][split] for split in ("train", "holdout")} if "pairs" in manifest else None,
        "dropped": _dropped(manifest["drops"], training["dropped"]["reasons"]),
        "dropped_rows": training["dropped"]["rows"],
        **{name: training[name] for name in ("rows_trained", "rows_dropped", "rows_truncated", "tokens_cut")},
        "columns_ignored": manifest["columns_ignored"],
        "final": training["final"],
        "scores": scores,
        "warnings": messages,
    }


def _dropped(read: Mapping[str, int], checked: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Returns the dropped rows by reason, from reading the files and from the check against the model."""
    return dict(sum((Counter(counts) for counts in checked.values()), Counter(read)))


def holdout_rows(work: Path) -> int:
    shards = _document(work / "snapshot" / "manifest.json")["shards"]
    return sum(shard["rows"] for shard in shards if shard["split"] == "holdout")


def show(summary: Mapping[str, Any]) -> None:
    """Prints the summary as a table on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in _lines(summary).items():
        table.add_row(Text(name, style="bold"), Text(value))
    Console(highlight=False).print(table)


def _lines(summary: Mapping[str, Any]) -> dict[str, str]:
    up, down = (figure(summary[f"lambda_{kind}"]) for kind in ("desirable", "undesirable"))
    reasons = {reason: REASONS[reason].meaning if reason in REASONS else reason for reason in summary["dropped"]}
    dropped = ", ".join(f"{count:,} {reasons[reason]}" for reason, count in summary["dropped"].items())
    steps = f"{summary['steps']} steps in {summary['seconds']:.0f} s on {summary['device']}"
    cut = f"{summary['rows_truncated']:,} rows, {summary['tokens_cut']:,} tokens in all"
    lines = {
        summary["kind"]: summary["out"],
        "trained": f"{summary['objective']}, {summary['method']}, {steps}",
        "rows": f"{_counts(summary['rows']['train'])}; held out {_counts(summary['rows']['holdout'])}",
        "pairs": "{train:,}; held out {holdout:,}".format(**summary["pairs"]) if summary["pairs"] else "",
        "dropped": dropped,
        "cut": cut if summary["rows_truncated"] else "",
        "λ": "" if up == down == "1" else f"{up} desirable, {down} undesirable",
    }
    lines["last step"] = figures([summary["final"]])
    if scores := summary["scores"]:
        lines |= {f"held-out {title}": figure(scores[name]) for name, title in SCORES.items()}
        lines["held-out KL, nats a token"] = figure(scores["kl"]["nats_per_token"])
    lines["warnings"] = "\n".join(summary["warnings"])
    return {name: line for name, line in lines.items() if line}


def _counts(counts: Mapping[str, int]) -> str:
    return f"{counts['desirable']:,} desirable, {counts['undesirable']:,} undesirable"


def figure(value: Any) -> str:
    """Returns, as text, a number or a figure of the scorer with its interval, or the reason why there is none."""
    if not isinstance(value, Mapping):
        return f"{value:.3g}"
    if value["value"] is None:
        return f"– ({value.get('reason')})"
    middle, low, high = (value[name] for name in ("value", "low", "high"))
    return f"{middle:.3g}" + (f" ({low:.3g} … {high:.3g})" if low is not None else "")


def _document(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(read(path))
    except DamagedFile as damage:
        raise TrainingRefusal("out", f"{damage}: add --restart to train again") from None
    return content
