"""Formats the figures as tables for people. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any


def lanes_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [
            "configuration",
            "lane",
            "ms per step",
            "quartiles",
            "tokens/s",
            "padding",
            "reference s",
            "peak MB",
            "useful FLOPs",
        ]
    ]
    for name, figures in results.items():
        for name_of_lane, lane in figures.get("lanes", {}).items():
            low, high = lane["seconds_per_step_quartiles"]
            peak, share = lane["peak_bytes_above_weights"], lane.get("flop_utilisation")
            rows.append(
                [
                    name, name_of_lane, f"{1e3 * lane['seconds_per_step']:,.0f}", f"{1e3 * low:,.0f}–{1e3 * high:,.0f}",
                    f"{lane['tokens_per_second']:,.0f}", f"{lane['padding_share_if_padded']:.0%}",
                    f"{lane['reference_seconds']:.1f}", "" if peak is None else f"{peak / 1e6:,.0f}",
                    "" if share is None else f"{share:.0%}",
                ]
            )  # fmt: skip
    return aligned(rows)


RATIOS = {
    "step_ratio": "step", "step_ratio_of_cpu_time": "CPU time", "step_ratio_best_trl": "step, best TRL",
    "job_ratio_1_epoch": "job, 1 epoch", "job_ratio_3_epochs": "3 epochs", "job_ratio_1_epoch_best_trl": "1, best TRL",
    "job_ratio_3_epochs_best_trl": "3, best TRL", "memory_ratio": "memory", "memory_ratio_lean_trl": "memory, lean TRL",
}  # fmt: skip


def ratios_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [["configuration", *RATIOS.values(), "predicted memory", "loss difference"]]
    failures = []
    for name, figures in results.items():
        if "failed" in figures:
            failures.append(f"{name} failed: {figures['failed']}")
            continue
        cells = ["" if (value := figures.get(ratio)) is None else f"{value:.2f}" for ratio in RATIOS]
        prediction = figures.get("memory_foretold")
        cells.append("" if prediction is None else f"{prediction['ratio']:.2f}")
        rows.append([name, *cells, f"{figures['max_loss_difference']:.0e}"])
    return "\n".join([*([aligned(rows)] if len(rows) > 1 else []), *failures])


def ablation_table(name: str, results: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns a table of the time of an epoch and of the reference pass without each feature, as multiples."""
    whole = results["all"]
    rows = [[f"{name} without", "epoch", "reference pass"]]
    for switch, times in results.items():
        if switch != "all":
            share = [
                times[key] / whole[key] if whole[key] else 1.0 for key in ("seconds_per_epoch", "reference_seconds")
            ]
            rows.append([times["what"], *(f"{value:.2f} ×" for value in share)])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Returns the rows as aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
