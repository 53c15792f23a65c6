"""Draws the share of good replies by round, a line for each condition, as an SVG.

No display is needed, and the same figures give the same bytes.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

from benchmarks.rounds.conditions import BEST, CONDITIONS

#: Okabe and Ito (2008), distinguishable with any of the common forms of colour-blindness.
COLOURS = ("#D55E00", "#E69F00", "#CC79A7", "#0072B2", "#009E73", "#56B4E9")
LINES = ("-", "--", ":")
MARKERS = "os^vDPX"
INCHES = (9, 6)
#: Lines lie beside each other by this share of a round, so that their intervals can be told apart.
APART = 0.02


def svg(conditions: Mapping[str, Any]) -> bytes:
    """Returns the plot. The best condition is black. A single run on the votes of several rounds is a marker there.

    A condition that shares its only round so far with the best one is left out.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    chosen = {condition.name: condition for condition in CONDITIONS}
    drawn = {
        name: condition
        for name, condition in conditions.items()
        if name == BEST.name or len(condition["rounds"]) > 2 or chosen[name].first != BEST.first
    }
    with matplotlib.rc_context({"svg.hashsalt": "rounds", "svg.fonttype": "none"}):
        figure = Figure(figsize=INCHES, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title("Support desk, round after round: mean and 95 % interval over seeds")
        axes.set_xlabel("rounds of votes")
        axes.set_ylabel("good replies, %")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True, linewidth=0.4)
        for number, (name, condition) in enumerate(drawn.items()):
            points = [
                (place * chosen[name].first.times_votes, figures["good_share"])
                for place, figures in enumerate(condition["rounds"])
                if place and figures["good_share"]["mean"] is not None
            ]
            means = [100 * share["mean"] for _, share in points]
            axes.errorbar(
                [place + (0 if name == BEST.name else APART * (number - len(drawn) / 2)) for place, _ in points],
                means,
                yerr=[
                    [100 * abs((share[end] if share[end] is not None else share["mean"]) - share["mean"])
                     for _, share in points]
                    for end in ("low", "high")
                ],
                color="black" if name == BEST.name else COLOURS[number % len(COLOURS)],
                linestyle="-" if name == BEST.name else LINES[number // len(COLOURS) % len(LINES)],
                marker=MARKERS[number % len(MARKERS)],
                markersize=4,
                linewidth=2.5 if name == BEST.name else 1,
                elinewidth=0.6,
                label=name,
            )  # fmt: skip
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
        content = BytesIO()
        FigureCanvasSVG(figure).print_svg(content, metadata={"Date": None})
    return content.getvalue()
