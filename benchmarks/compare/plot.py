"""Draws the share of good replies against the KL from the base model, with intervals, as an SVG.

No display is needed, and the same figures give the same bytes. The KL axis is linear up to one nat and logarithmic
beyond, because the models range from 0 to dozens of nats.
"""

from io import BytesIO
from typing import Any

from benchmarks.compare.table import Arms, lines

#: Okabe and Ito (2008), distinguishable with any of the common forms of colour-blindness.
COLOURS = ("#000000", "#D55E00", "#E69F00", "#CC79A7", "#0072B2", "#009E73", "#56B4E9", "#8C8C8C")
MARKERS = "osD^vPX*<>h"
INCHES = (9, 6)


def svg(arms: Arms, title: str) -> bytes:
    """Returns the plot. A filled marker is at equal votes, a hollow one at KTO's number of steps."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "compare", "svg.fonttype": "none"}):
        figure = Figure(figsize=INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        axes.set_xscale("symlog", linthresh=1.0)
        axes.set_xlabel("KL from the base model, nats per reply")
        axes.set_ylabel("good replies, %")
        axes.grid(visible=True, linewidth=0.4)
        names = list(arms)
        for arm, budget, figures in lines(arms):
            if figures["good_share"] is None:
                continue
            number = names.index(arm)
            colour = COLOURS[number % len(COLOURS)]
            axes.errorbar(
                figures["kl_nats"],
                100 * figures["good_share"],
                xerr=_errors(figures, "kl_nats", 1),
                yerr=_errors(figures, "good_share", 100),
                fmt=MARKERS[number % len(MARKERS)],
                color=colour,
                markerfacecolor="white" if budget == "steps" else colour,
                linewidth=1,
                label=arm + (" at KTO's steps" if budget == "steps" else ""),
            )
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
        content = BytesIO()
        FigureCanvasSVG(figure).print_svg(content, metadata={"Date": None})
    return content.getvalue()


def _errors(figures: Any, name: str, times: float) -> list[list[float]] | None:
    value, interval = figures[name], figures["intervals"][name]
    if interval["low"] is None:
        return None
    return [[times * max(0.0, value - interval["low"])], [times * max(0.0, interval["high"] - value)]]
