"""What people read. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any


def lanes_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [
        [
            "configuration",
            "lane",
            "ms a step",
            "quartiles",
            "tokens/s",
            "padding",
            "reference s",
            "peak MB",
            "useful FLOPs",
        ]
    ]
    for name, figures in found.items():
        for lane, told in figures.get("lanes", {}).items():
            low, high = told["seconds_per_step_quartiles"]
            peak, share = told["peak_bytes_above_weights"], told.get("flop_utilisation")
            rows.append(
                [
                    name, lane, f"{1e3 * told['seconds_per_step']:,.0f}", f"{1e3 * low:,.0f}–{1e3 * high:,.0f}",
                    f"{told['tokens_per_second']:,.0f}", f"{told['padding_share_if_padded']:.0%}",
                    f"{told['reference_seconds']:.1f}", "" if peak is None else f"{peak / 1e6:,.0f}",
                    "" if share is None else f"{share:.0%}",
                ]
            )  # fmt: skip
    return aligned(rows)


RATIOS = {
    "step_ratio": "step", "step_ratio_of_cpu_time": "CPU time", "step_ratio_best_trl": "step, best TRL",
    "job_ratio_1_epoch": "job, 1 epoch", "job_ratio_3_epochs": "3 epochs", "job_ratio_1_epoch_best_trl": "1, best TRL",
    "job_ratio_3_epochs_best_trl": "3, best TRL", "memory_ratio": "memory", "memory_ratio_lean_trl": "memory, lean TRL",
}  # fmt: skip


def ratios_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [["configuration", *RATIOS.values(), "memory foretold", "losses differ by"]]
    failures = []
    for name, figures in found.items():
        if "failed" in figures:
            failures.append(f"{name} failed: {figures['failed']}")
            continue
        told = ["" if (value := figures.get(ratio)) is None else f"{value:.2f}" for ratio in RATIOS]
        foretold = figures.get("memory_foretold")
        told.append("" if foretold is None else f"{foretold['ratio']:.2f}")
        rows.append([name, *told, f"{figures['max_loss_difference']:.0e}"])
    return "\n".join([*([aligned(rows)] if len(rows) > 1 else []), *failures])


def ablation_table(name: str, found: Mapping[str, Mapping[str, Any]]) -> str:
    """How many times as long an epoch and the reference pass take without each."""
    whole = found["all"]
    rows = [[f"{name} without", "epoch", "reference pass"]]
    for switch, told in found.items():
        if switch != "all":
            share = [
                told[key] / whole[key] if whole[key] else 1.0 for key in ("seconds_per_epoch", "reference_seconds")
            ]
            rows.append([told["what"], *(f"{value:.2f} ×" for value in share)])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns: text to the left, figures to the right."""
    widths = [max(len(row[at]) for row in rows if at < len(row)) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
