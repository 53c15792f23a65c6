"""From the figures of every seed to means with intervals, and the table of them. Pure but for the machine's name.

An interval is Student's t over seeds, 95 %: mean ± t(n − 1) · s / √n. With three seeds t is 4.30, so it is wide, and
it takes the figures for normal. The difference from the baseline is taken seed by seed first: both started from the
same weights and votes.
"""

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from rich.table import Table

from benchmarks.kto_study.conditions import BASELINE, CLAIMS, Condition

#: 97.5 % quantiles of Student's t by degrees of freedom.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}

FIGURES = ("good_share", "invented_refund_share", "unclear_share", "kl_nats", "length_ratio", "auroc")

Results = Mapping[tuple[str, int], Mapping[str, Any]]  # (condition's name, seed) → figures of one trial


def document(conditions: Sequence[Condition], seeds: Sequence[int], results: Results) -> dict[str, Any]:
    """What was found, for a program: every seed's figures, and what they come to."""
    return {
        "conditions": {
            one.name: {
                "changes": {name: value for name, value in asdict(one).items() if name != "name"},
                "over_seeds": {figure: _over_seeds(one, figure, seeds, results) for figure in FIGURES},
                "difference_of_good_share": _difference(one, seeds, results),
                "seeds": {str(seed): results[one.name, seed] for seed in seeds},
            }
            for one in conditions
        },
        "claims": [
            {
                "about": claim.about,
                "says": claim.says,
                "source": f"arXiv 2402.01306, {claim.source}",
                "conditions": [one.name for one in claim.conditions],
            }
            for claim in CLAIMS
        ],
        "interval": "Student's t over seeds, 95 %",
    }


def interval(values: Sequence[float]) -> dict[str, float | None]:
    """Mean with its interval; no interval of one value, nothing of none."""
    if not values:
        return {"mean": None, "low": None, "high": None}
    mean = fmean(values)
    if len(values) == 1:
        return {"mean": mean, "low": None, "high": None}
    half = T[len(values) - 1] * stdev(values) / sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half}


def _over_seeds(one: Condition, figure: str, seeds: Sequence[int], results: Results) -> dict[str, float | None]:
    return interval([results[one.name, seed][figure] for seed in seeds if figure in results[one.name, seed]])


def _difference(one: Condition, seeds: Sequence[int], results: Results) -> dict[str, float | None]:
    """Good share minus the baseline's of the same seed."""
    pairs = [(results.get((BASELINE.name, seed), {}), results[one.name, seed]) for seed in seeds]
    return interval([it["good_share"] - base["good_share"] for base, it in pairs if "good_share" in base.keys() & it])


def table(found: Mapping[str, Any], desks: Mapping[int, Mapping[str, float]]) -> Table:
    """`desks`: the figures of each seed's base model."""
    rows = Table(title=f"KTO on the support desk, {len(desks)} seeds: mean ± half of the 95 % interval")
    rows.add_column("", no_wrap=True)
    for column in ("good, %", "vs baseline", "refunds, %", "unclear, %", "KL, nats", "length ×", "AUROC"):
        rows.add_column(column, justify="right", no_wrap=True)
    base_good = interval([figures["good_share"] for figures in desks.values()])
    base_refunds = interval([figures["invented_refund_share"] for figures in desks.values()])
    rows.add_row("base model", _said(base_good, 100, 1), "", _said(base_refunds, 100, 1), "", "", "", "")
    starts = {claim.conditions[0].name for claim in CLAIMS} | {BASELINE.name}
    for name, one in found["conditions"].items():
        if name in starts:
            rows.add_section()
        over = one["over_seeds"]
        failed = sum("failure" in figures for figures in one["seeds"].values())
        rows.add_row(
            name + (f" ({failed} failed)" if failed else ""),
            _said(over["good_share"], 100, 1),
            "" if name == BASELINE.name else _said(one["difference_of_good_share"], 100, 1, "+"),
            _said(over["invented_refund_share"], 100, 1),
            _said(over["unclear_share"], 100, 1),
            _said(over["kl_nats"], 1, 2),
            _said(over["length_ratio"], 1, 2),
            _said(over["auroc"], 1, 3),
        )
    return rows


def _said(figure: Mapping[str, float | None], times: float, digits: int, sign: str = "") -> str:
    if figure["mean"] is None:
        return "–"
    mean = f"{times * figure['mean']:{sign}.{digits}f}"
    return mean if figure["high"] is None else f"{mean} ± {times * (figure['high'] - figure['mean']):.{digits}f}"


def claims_of(names: Iterable[str]) -> list[str]:
    """The paper's sentences about the conditions that were tried."""
    tried = set(names)
    return [
        f"{claim.about}: {claim.says} ({claim.source})"
        for claim in CLAIMS
        if tried & {one.name for one in claim.conditions}
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
