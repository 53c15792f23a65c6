"""Plots are markup that contains only numbers."""

import re

from app.dashboard import plots
from app.dashboard.page import curves


def test_steps_without_a_figure_are_left_out() -> None:
    steps = [
        {"step": 1, "loss": 0.5},
        {"step": 2, "loss": None},
        {"step": 3, "loss": float("nan")},
        {"step": 4, "loss": 1},
    ]

    assert plots.points_of(steps, "loss") == [(1.0, 0.5), (4.0, 1.0)]


def test_a_plot_of_nothing_says_so() -> None:
    assert "nothing yet" in plots.lines("Loss", {"all": []})


def test_a_line_stays_inside_its_frame_and_names_its_last_value() -> None:
    plot = plots.lines("Loss", {"all": [(1, 0.9), (2, 0.5), (3, 0.25)]})

    points = [tuple(map(float, point.split(","))) for point in plot.split('points="')[1].split('"')[0].split()]
    assert points[0] == (plots.LEFT, plots.TOP)
    assert points[-1] == (plots.WIDTH - plots.RIGHT, plots.HEIGHT - plots.BOTTOM)
    assert all(0 <= x <= plots.WIDTH and 0 <= y <= plots.HEIGHT for x, y in points)
    assert "all 0.25" in plot


def test_axes_name_their_ranges_and_zero_has_a_line_where_it_is_crossed() -> None:
    crossed = plots.lines("Reward", {"a": [(1, -2.0), (40, 2.0)]})

    assert all(f">{label}</text>" in crossed for label in ("-2", "0", "2", "step 1", "40"))
    assert crossed.count('class="zero"') == 1
    assert 'class="zero"' not in plots.lines("Loss", {"a": [(1, 0.5), (40, 0.25)]})


def test_one_point_and_equal_values_are_no_division_by_zero() -> None:
    assert "<polyline" in plots.lines("z0", {"z0": [(5, 0.0)]})
    assert "<polyline" in plots.lines("z0", {"z0": [(5, 1.0), (6, 1.0)]})


def test_few_points_are_seen_each_even_a_single_one() -> None:
    assert plots.lines("KL", {"KL": [(5, 0.1)]}).count("<circle") == 1
    assert plots.lines("KL", {"KL": [(5, 0.1), (10, 0.2)]}).count("<circle") == 2
    assert "<circle" not in plots.lines("Loss", {"all": [(step, 0.5) for step in range(plots.FEW + 1)]})


def test_drift_and_reference_point_are_plotted_where_a_run_has_them() -> None:
    steps: list[dict[str, float | None]] = [{"step": step, "loss": 0.5, "z0": None} for step in range(1, 9)]
    assert list(curves(steps)) == ["loss", "rewards"]

    measured = [{**steps[3], "kl_nats_per_token": 0.02}, {**steps[7], "kl_nats_per_token": 0.05, "z0": 1.5}]

    assert list(curves([*steps[:3], measured[0], *steps[4:7], measured[1]])) == ["loss", "rewards", "z0", "drift"]
    assert curves(measured)["drift"].count("<circle") == 2


def test_names_are_escaped() -> None:
    assert "<script>" not in plots.lines("<script>", {"<script>": [(1, 1)]})


def test_a_share_without_an_interval_is_a_dash() -> None:
    assert "–" in plots.interval_bar(None, None, None)
    assert "50%" in plots.interval_bar(0.5, 0.4, 0.6)


def test_a_cross_stays_inside_its_frame_with_both_intervals_and_the_limit_is_drawn() -> None:
    points = {"<kto>": plots.Cross((0.1, 0.2, 0.3), (0.6, 0.7, 0.8)), "sft": plots.Cross((0, 0, 0), (0.5, 0.5, 0.5))}

    plot = plots.crosses("AUROC against drift", points, budget=0.5)

    places = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', plot)]
    assert len(places) == 2
    assert all(plots.LEFT <= x <= plots.WIDTH - plots.RIGHT for x, _ in places)
    assert all(plots.TOP <= y <= plots.HEIGHT - plots.BOTTOM for _, y in places)
    assert plot.count('class="zero"') == 1
    assert "&lt;kto&gt; 0.7" in plot
    assert "nothing yet" in plots.crosses("AUROC against drift", {}, budget=0.5)
