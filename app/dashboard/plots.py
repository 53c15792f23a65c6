"""Draws small plots as SVG: lines over steps, bars with intervals, points with two intervals. Pure.

A line with few points has a dot at each, since the line between them was not measured.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from markupsafe import Markup, escape

WIDTH, HEIGHT = 360, 140
#: Margins around the lines, for the numbers on the axes.
LEFT, RIGHT, TOP, BOTTOM = 52, 8, 8, 18
FEW = 20
SERIES = 4  # colours in page.css

Point = tuple[float, float]


def points_of(steps: Sequence[Mapping[str, object]], name: str) -> list[Point]:
    """Returns (step, value) of one metric, without the steps at which it is null or not finite."""
    points = []
    for values in steps:
        step, value = values.get("step"), values.get(name)
        if isinstance(step, int) and isinstance(value, int | float) and isfinite(value):
            points.append((float(step), float(value)))
    return points


def lines(title: str, series: Mapping[str, Sequence[Point]]) -> Markup:
    """Returns a plot of several lines on shared axes with their ranges, a line at zero if zero is in the range, and the
    last values as the legend. A plot without points shows "nothing yet".
    """
    drawn = {name: points for name, points in series.items() if points}
    heading = Markup("<figcaption>{}</figcaption>").format(title)
    if not drawn:
        return Markup('<figure class="plot">{}<p class="faint">nothing yet</p></figure>').format(heading)
    xs = [x for points in drawn.values() for x, _ in points]
    ys = [y for points in drawn.values() for _, y in points]
    low_x, high_x, low_y, high_y = min(xs), max(xs), min(ys), max(ys)
    span_x, span_y = high_x - low_x or 1.0, high_y - low_y or 1.0

    def to_pixels(point: Point) -> Point:
        x = LEFT + (point[0] - low_x) / span_x * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (point[1] - low_y) / span_y * (HEIGHT - TOP - BOTTOM)
        return x, y

    paths, legend = _axes((f"step {low_x:.0f}", f"{high_x:.0f}"), low_x, high_x, low_y, high_y, to_pixels), []
    for number, (name, points) in enumerate(drawn.items()):
        pixels = [to_pixels(point) for point in points]
        colour = f"series-{number % SERIES}"
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
        paths.append(f'<polyline class="{colour}" points="{joined}"/>')
        if len(pixels) <= FEW:
            paths += [f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in pixels]
        legend.append(f'<span class="{colour}">{escape(name)} {points[-1][1]:.3g}</span>')
    description = f"{title}: " + ", ".join(f"{name} ends at {points[-1][1]:.3g}" for name, points in drawn.items())
    return Markup(  # noqa: S704 - numbers and escaped names
        f'<figure class="plot">{heading}'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}">{"".join(paths)}</svg>'
        f'<p class="legend">{" ".join(legend)}</p></figure>'
    )


def _axes(
    ends: tuple[str, str],
    low_x: float,
    high_x: float,
    low_y: float,
    high_y: float,
    to_pixels: Callable[[Point], Point],
) -> list[str]:
    """Returns both axes with the ends of their ranges, and a line at zero if zero is between them. `ends`: the texts at
    the ends of the horizontal axis.
    """
    foot, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    marks = [
        f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{foot}"/>',
        f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{foot}" y2="{foot}"/>',
        f'<text x="{LEFT}" y="{HEIGHT - 5}">{ends[0]}</text>',
    ]
    if high_x > low_x:
        marks.append(f'<text x="{right}" y="{HEIGHT - 5}" text-anchor="end">{ends[1]}</text>')
    labels = {low_y, high_y}
    if low_y < 0 < high_y:
        _, zero = to_pixels((low_x, 0.0))
        marks.append(f'<line class="zero" x1="{LEFT}" x2="{right}" y1="{zero:.1f}" y2="{zero:.1f}"/>')
        far_from_both = min(zero - TOP, foot - zero) > 10  # in units of the drawing: the height of a number
        labels |= {0.0} if far_from_both else set()
    for value in sorted(labels):
        _, y = to_pixels((low_x, value))
        marks.append(f'<text x="{LEFT - 4}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    return marks


@dataclass(frozen=True)
class Cross:
    """A point with an interval in each direction: (low, value, high)."""

    x: tuple[float, float, float]
    y: tuple[float, float, float]


def crosses(title: str, points: Mapping[str, Cross], *, budget: float) -> Markup:
    """Returns a plot of named points with their intervals, and a line at the largest allowed x. A plot without points
    shows "nothing yet".
    """
    heading = Markup("<figcaption>{}</figcaption>").format(title)
    if not points:
        return Markup('<figure class="plot">{}<p class="faint">nothing yet</p></figure>').format(heading)
    low_x, high_x = (
        min(0.0, *(each.x[0] for each in points.values())),
        max(budget, *(each.x[2] for each in points.values())),
    )
    low_y, high_y = min(each.y[0] for each in points.values()), max(each.y[2] for each in points.values())
    span_x, span_y = high_x - low_x or 1.0, high_y - low_y or 1.0

    def to_pixels(point: Point) -> Point:
        x = LEFT + (point[0] - low_x) / span_x * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - (point[1] - low_y) / span_y * (HEIGHT - TOP - BOTTOM)
        return x, y

    marks, legend = _axes((f"{low_x:.2g} nats", f"{high_x:.2g}"), low_x, high_x, low_y, high_y, to_pixels), []
    limit, _ = to_pixels((budget, low_y))
    marks.append(f'<line class="zero" x1="{limit:.1f}" x2="{limit:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    for number, (name, point) in enumerate(points.items()):
        colour = f"series-{number % SERIES}"
        (left, low), (right, high) = to_pixels((point.x[0], point.y[0])), to_pixels((point.x[2], point.y[2]))
        x, y = to_pixels((point.x[1], point.y[1]))
        marks += [
            f'<line class="{colour}" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<line class="{colour}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>',
            f'<circle class="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{escape(name)}</title></circle>',
            f'<text x="{min(x + 5, WIDTH - 60):.1f}" y="{max(y - 4, 9):.1f}">{escape(name)}</text>',
        ]
        legend.append(f'<span class="{colour}">{escape(name)} {point.y[1]:.3g}</span>')
    described = (f"{name} {point.y[1]:.3g} at {point.x[1]:.3g}" for name, point in points.items())
    description = f"{title}: {', '.join(described)}; the limit is {budget:.3g}"
    return Markup(  # noqa: S704 - numbers and escaped names
        f'<figure class="plot">{heading}'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(description)}">{"".join(marks)}</svg>'
        f'<p class="legend">{" ".join(legend)}</p></figure>'
    )


def interval_bar(value: float | None, low: float | None, high: float | None) -> Markup:
    """Returns a share from 0 to 1 as a bar with its interval as a whisker, or a dash without one."""
    if value is None or low is None or high is None:
        return Markup('<span class="faint">–</span>')
    return Markup(  # noqa: S704 - only numbers
        f'<svg class="bar" viewBox="0 0 100 12" role="img" aria-label="{value:.0%}, {low:.0%} to {high:.0%}">'
        f'<rect width="100" height="12" class="empty"/><rect width="{100 * value:.1f}" height="12" class="full"/>'
        f'<line x1="{100 * low:.1f}" x2="{100 * high:.1f}" y1="6" y2="6" class="whisker"/></svg>'
        f" {value:.0%} <span class='faint'>{low:.0%}–{high:.0%}</span>"
    )
