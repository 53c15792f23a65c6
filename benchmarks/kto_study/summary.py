"""Computes means with intervals from the figures of all seeds, and their table. Pure except for `machine`.

Intervals are Student's t over seeds. The difference from the baseline is computed per seed first, since both started
from the same weights and votes.
"""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from benchmarks.desk_study.over_seeds import interval
from benchmarks.kto_study.conditions import BASELINE, CLAIMS, Condition

FIGURES = ("good_share", "invented_refund_share", "unclear_share", "kl_nats", "length_ratio", "auroc")

Results = Mapping[tuple[str, int], Mapping[str, Any]]  # (condition's name, seed) → figures of one trial


def document(conditions: Sequence[Condition], seeds: Sequence[int], results: Results) -> dict[str, Any]:
    """Returns the results for programs: the figures of each seed, and their means."""
    return {
        "conditions": {
            condition.name: {
                "changes": {name: value for name, value in asdict(condition).items() if name != "name"},
                "over_seeds": {figure: _over_seeds(condition, figure, seeds, results) for figure in FIGURES},
                "difference_of_good_share": _difference(condition, seeds, results),
                "seeds": {str(seed): results[condition.name, seed] for seed in seeds},
            }
            for condition in conditions
        },
        "claims": [
            {
                "about": claim.about,
                "says": claim.says,
                "source": f"arXiv 2402.01306, {claim.source}",
                "conditions": [condition.name for condition in claim.conditions],
            }
            for claim in CLAIMS
        ],
        "interval": "Student's t over seeds, 95 %",
    }


def _over_seeds(condition: Condition, figure: str, seeds: Sequence[int], results: Results) -> dict[str, float | None]:
    of_condition = [results[condition.name, seed] for seed in seeds]
    return interval([figures[figure] for figures in of_condition if figure in figures])


def _difference(condition: Condition, seeds: Sequence[int], results: Results) -> dict[str, float | None]:
    """Returns the interval of the good share minus the baseline's of the same seed."""
    pairs = [(results.get((BASELINE.name, seed), {}), results[condition.name, seed]) for seed in seeds]
    return interval(
        [own["good_share"] - base["good_share"] for base, own in pairs if "good_share" in base.keys() & own.keys()]
    )


def table(results: Mapping[str, Any], desks: Mapping[int, Mapping[str, float]]) -> Table:
    """Returns the table of the results. `desks` has the figures of each seed's base model."""
    rows = Table(title=f"KTO on the support desk, {len(desks)} seeds: mean ± half of the 95 % interval")
    rows.add_column("", no_wrap=True)
    for column in ("good, %", "vs baseline", "refunds, %", "unclear, %", "KL, nats", "length ×", "AUROC"):
        rows.add_column(column, justify="right", no_wrap=True)
    base_good = interval([figures["good_share"] for figures in desks.values()])
    base_refunds = interval([figures["invented_refund_share"] for figures in desks.values()])
    rows.add_row("base model", _cell(base_good, 100, 1), "", _cell(base_refunds, 100, 1), "", "", "", "")
    starts = {claim.conditions[0].name for claim in CLAIMS} | {BASELINE.name}
    for name, condition in results["conditions"].items():
        if name in starts:
            rows.add_section()
        over = condition["over_seeds"]
        failed = sum("failure" in figures for figures in condition["seeds"].values())
        rows.add_row(
            name + (f" ({failed} failed)" if failed else ""),
            _cell(over["good_share"], 100, 1),
            "" if name == BASELINE.name else _cell(condition["difference_of_good_share"], 100, 1, "+"),
            _cell(over["invented_refund_share"], 100, 1),
            _cell(over["unclear_share"], 100, 1),
            _cell(over["kl_nats"], 1, 2),
            _cell(over["length_ratio"], 1, 2),
            _cell(over["auroc"], 1, 3),
        )
    return rows


def _cell(figure: Mapping[str, float | None], times: float, digits: int, sign: str = "") -> str:
    if figure["mean"] is None:
        return "–"
    mean = f"{times * figure['mean']:{sign}.{digits}f}"
    return mean if figure["high"] is None else f"{mean} ± {times * (figure['high'] - figure['mean']):.{digits}f}"


def claims_of(names: Iterable[str]) -> list[str]:
    """Returns the paper's claims about the conditions of these names."""
    tried = set(names)
    return [
        f"{claim.about}: {claim.says} ({claim.source})"
        for claim in CLAIMS
        if tried & {condition.name for condition in claim.conditions}
    ]


def machine(jobs: int) -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "side_by_side": jobs,
        "threads_each": 1,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
