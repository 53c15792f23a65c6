"""Draws the curves of a training, from metrics.jsonl, into one PNG.

No display is needed, and the same figures give the same bytes. The two classes differ in colour and in line style. The
colours are those of Okabe and Ito (2008, "Color Universal Design"), which people with any of the common forms of
colour-blindness can distinguish; they differ in brightness too.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from app.durable import write_atomically

BLACK, BLUE, VERMILION, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"

#: Largest number of points; with more steps, a point is the mean of neighbouring ones. More are invisible at this size.
POINTS = 400
#: Share of the run over which the bold line averages noisy steps.
SMOOTHED_OVER = 1 / 25
INCHES, DOTS_PER_INCH = (11, 10), 100


@dataclass(frozen=True)
class Curve:
    field: str  # of metrics.jsonl
    name: str
    colour: str = BLACK
    style: str = "-"
    sparse: bool = False  # few points, drawn with markers
    exact: bool = False  # without noise, so not smoothed


@dataclass(frozen=True)
class Panel:
    title: str
    unit: str
    curves: tuple[Curve, ...]
    logarithmic: bool = False
    zero: bool = False  # a line at 0
    absent: str = "not measured in this run"


PANELS = (
    Panel(
        "Loss", "per row, as the objective defines it",
        (
            Curve("loss", "all rows"),
            Curve("loss_desirable", "desirable", BLUE, "--"),
            Curve("loss_undesirable", "undesirable", VERMILION, ":"),
        ),
    ),
    Panel(
        "Implicit reward", "β · log-ratio to the reference",
        (
            Curve("margin", "margin"),
            Curve("reward_desirable", "desirable", BLUE, "--"),
            Curve("reward_undesirable", "undesirable", VERMILION, ":"),
        ),
        zero=True,
    ),
    Panel(
        "Reference point", "nats",
        (
            Curve("z0_raw", "before the clamp at 0", GREEN, ":"),
            Curve("z0", "z0"),
            Curve("delta", "δ, in β · nats", VERMILION, "--"),
        ),
        zero=True,
        absent="this objective has none",
    ),
    Panel(
        "Gradient norm", "before clipping, logarithmic",
        (
            Curve("gradient_norm", "all rows"),
            Curve("gradient_norm_desirable", "desirable", BLUE, "--", sparse=True),
            Curve("gradient_norm_undesirable", "undesirable", VERMILION, ":", sparse=True),
        ),
        logarithmic=True,
    ),
    Panel("Learning rate", "at each step", (Curve("learning_rate", "learning rate", exact=True),)),
    Panel(
        "Drift from the reference", "KL, nats a token, on own samples",
        (Curve("kl_nats_per_token", "KL", GREEN, sparse=True),),
        zero=True,
    ),
)  # fmt: skip


def draw(metrics: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws the lines of metrics.jsonl into the PNG `path`, completely or not at all.

    Fields that are missing, null or not finite are left out. Raises OSError if `path` cannot be written.
    """
    # matplotlib prints warnings about its caches if the home folder cannot be written.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()  # a user's matplotlibrc must not change the bytes
        mpl.rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10})
        figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        for number, (panel, axes) in enumerate(zip(PANELS, figure.subplots(3, 2, sharex=True).flat, strict=True)):
            _draw_panel(axes, panel, metrics)
            if number >= len(PANELS) - 2:
                axes.set_xlabel("optimizer step")
        figure.suptitle(_title(metrics), fontsize=13)
        content = BytesIO()
        canvas.print_png(content, metadata={"Software": None})
    write_atomically(path, content.getvalue())


def _draw_panel(axes: Any, panel: Panel, metrics: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_title(panel.title, loc="left", fontsize=11, fontweight="bold")
    axes.set_ylabel(panel.unit, fontsize=9)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    drawn = [curve for curve in panel.curves if _draw_curve(axes, curve, *points(metrics, curve.field))]
    if not drawn:
        axes.text(0.5, 0.5, panel.absent, transform=axes.transAxes, ha="center", va="center", color="0.4")
        axes.set_yticks([])
        return
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    if panel.logarithmic:
        _count_in_powers(axes, [value for curve in drawn for value in points(metrics, curve.field)[1] if value > 0])
    if panel.zero:
        axes.axhline(0, color="0.5", linewidth=0.8, zorder=1)
    if len(drawn) > 1:
        # Above the lines, so that it hides none of them.
        axes.legend(
            frameon=False, fontsize=8, ncols=len(drawn), loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2,
            columnspacing=1.2, handlelength=2.2,
        )  # fmt: skip


def _count_in_powers(axes: Any, values: Sequence[float]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if not values:
        return
    axes.set_yscale("log", nonpositive="mask")
    few_powers = max(values) < 30 * min(values)
    axes.yaxis.set_major_formatter(FuncFormatter(_plain))
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 3, 5)))
    axes.yaxis.set_minor_formatter(FuncFormatter(_plain) if few_powers else NullFormatter())


def _plain(value: float, _position: int | None = None) -> str:
    return f"{value:g}"


def _draw_curve(axes: Any, curve: Curve, steps: list[float], values: list[float]) -> bool:
    if not values:
        return False
    if curve.sparse:
        marker = {"-": "o", "--": "s", ":": "^"}[curve.style]
        axes.plot(steps, values, curve.style, color=curve.colour, label=curve.name, marker=marker, markersize=4)
        return True
    smooth = values if curve.exact else smoothed(values)
    if smooth != values:
        axes.plot(steps, values, "-", color=curve.colour, alpha=0.25, linewidth=0.8)
    axes.plot(steps, smooth, curve.style, color=curve.colour, label=curve.name, linewidth=1.8)
    return True


def points(metrics: Sequence[Mapping[str, Any]], field: str) -> tuple[list[float], list[float]]:
    """Returns the steps and values of `field` that are finite numbers.

    If there are more than `POINTS`, neighbours are averaged.
    """
    pairs = [
        (float(line["step"]), float(value))
        for line in metrics
        if (value := line.get(field)) is not None and math.isfinite(value)
    ]
    width = -(-len(pairs) // POINTS) or 1
    groups = [pairs[start : start + width] for start in range(0, len(pairs), width)]
    steps, values = ([math.fsum(pair[i] for pair in group) / len(group) for group in groups] for i in (0, 1))
    return steps, values


def smoothed(values: Sequence[float]) -> list[float]:
    """Returns for each point the mean over a window of `SMOOTHED_OVER` of all points, cut off at the ends."""
    reach = int(len(values) * SMOOTHED_OVER / 2)
    windows = (values[max(0, index - reach) : index + reach + 1] for index in range(len(values)))
    return [math.fsum(window) / len(window) for window in windows]


def _title(metrics: Sequence[Mapping[str, Any]]) -> str:
    if not metrics:
        return "Training: no steps yet"
    last = metrics[-1]
    done, total, epochs = last["step"], last.get("total_steps"), last.get("epoch")
    steps = f"{done} of {total} steps" if total and total != done else f"{done} steps"
    return f"Training: {steps}" + (f", epoch {epochs}" if epochs else "")
