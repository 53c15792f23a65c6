"""Plots are markup made of numbers alone."""

from app.dashboard import plots


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
    assert points[0] == (plots.PAD, plots.PAD)
    assert points[-1] == (plots.WIDTH - plots.PAD, plots.HEIGHT - plots.PAD)
    assert all(0 <= x <= plots.WIDTH and 0 <= y <= plots.HEIGHT for x, y in points)
    assert "all 0.25" in plot


def test_one_point_and_equal_values_are_no_division_by_zero() -> None:
    assert "<polyline" in plots.lines("z0", {"z0": [(5, 0.0)]})
    assert "<polyline" in plots.lines("z0", {"z0": [(5, 1.0), (6, 1.0)]})


def test_names_are_escaped() -> None:
    assert "<script>" not in plots.lines("<script>", {"<script>": [(1, 1)]})


def test_a_share_without_an_interval_is_a_dash() -> None:
    assert "–" in plots.interval_bar(None, None, None)
    assert "50%" in plots.interval_bar(0.5, 0.4, 0.6)
