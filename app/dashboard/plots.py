"""Small plots as SVG, made on the server: lines over steps, bars with intervals. Pure: numbers in, markup out.

A line of few points gets a dot at each: what is measured only now and then is not what lies between.
"""

from collections.abc import Mapping, Sequence
from math import isfinite

from markupsafe import Markup, escape

WIDTH, HEIGHT, PAD = 360, 110, 6
FEW = 20
COLOURS = ("#2563eb", "#dc2626", "#059669", "#9333ea")

Point = tuple[float, float]


def points_of(steps: Sequence[Mapping[str, object]], name: str) -> list[Point]:
    """(step, value) of one metric, without the steps at which it is null or not finite."""
    points = []
    for values in steps:
        step, value = values.get("step"), values.get(name)
        if isinstance(step, int) and isinstance(value, int | float) and isfinite(value):
            points.append((float(step), float(value)))
    return points


def lines(title: str, series: Mapping[str, Sequence[Point]]) -> Markup:
    """Several lines on shared axes, their last values as the legend; an empty plot says that nothing is there yet."""
    drawn = {name: points for name, points in series.items() if points}
    heading = Markup("<figcaption>{}</figcaption>").format(title)
    if not drawn:
        return Markup('<figure class="plot">{}<p class="faint">nothing yet</p></figure>').format(heading)
    xs = [x for points in drawn.values() for x, _ in points]
    ys = [y for points in drawn.values() for _, y in points]
    low_x, low_y = min(xs), min(ys)
    span_x, span_y = max(xs) - low_x or 1.0, max(ys) - low_y or 1.0

    def place(point: Point) -> Point:
        x = PAD + (point[0] - low_x) / span_x * (WIDTH - 2 * PAD)
        y = HEIGHT - PAD - (point[1] - low_y) / span_y * (HEIGHT - 2 * PAD)
        return x, y

    paths, legend = [], []
    for colour, (name, points) in zip(COLOURS, drawn.items(), strict=False):
        placed = [place(point) for point in points]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        paths.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{joined}"/>')
        if len(placed) <= FEW:
            paths += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in placed]
        legend.append(f'<span style="color:{colour}">{escape(name)} {points[-1][1]:.3g}</span>')
    described = f"{title}: " + ", ".join(f"{name} ends at {points[-1][1]:.3g}" for name, points in drawn.items())
    return Markup(  # noqa: S704 - numbers, and names that were escaped
        f'<figure class="plot">{heading}'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(described)}">{"".join(paths)}</svg>'
        f'<p class="legend">{" ".join(legend)} <span class="faint">{min(ys):.3g} … {max(ys):.3g}</span></p></figure>'
    )


def interval_bar(value: float | None, low: float | None, high: float | None) -> Markup:
    """A share from 0 to 1 as a bar, with its interval as a whisker; a dash where there is none."""
    if value is None or low is None or high is None:
        return Markup('<span class="faint">–</span>')
    return Markup(  # noqa: S704 - numbers alone
        f'<svg class="bar" viewBox="0 0 100 12" role="img" aria-label="{value:.0%}, {low:.0%} to {high:.0%}">'
        f'<rect width="100" height="12" class="empty"/><rect width="{100 * value:.1f}" height="12" class="full"/>'
        f'<line x1="{100 * low:.1f}" x2="{100 * high:.1f}" y1="6" y2="6" class="whisker"/></svg>'
        f" {value:.0%} <span class='faint'>{low:.0%}–{high:.0%}</span>"
    )
