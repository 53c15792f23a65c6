"""The curves of a training, and the figures that its bar shows."""

import math
from typing import Any

import pytest

from worker.training.watch.curves import PANELS, draw, points, smoothed
from worker.training.watch.journal import figures, tokens_per_second

pytestmark = pytest.mark.xdist_group("training alone")  # which draws too


def line(step: int, **changes: Any) -> dict[str, Any]:
    return {
        "step": step, "total_steps": 9, "epoch": 1, "loss": 0.5, "loss_desirable": 0.6, "loss_undesirable": 0.4,
        "reward_desirable": 0.25, "reward_undesirable": -0.5, "margin": 0.75, "z0": 0.1, "z0_raw": -0.1,
        "gradient_norm": 2.0, "gradient_norm_desirable": None, "gradient_norm_undesirable": None,
        "learning_rate": 1e-5, "tokens_per_second": 100.0, "seconds": 1.0, **changes,
    }  # fmt: skip


def test_the_same_figures_give_the_same_picture_whatever_is_set_at_home(tmp_path, monkeypatch):
    metrics = [line(step, loss=0.5 / step, kl_nats_per_token=0.01 if step == 9 else None) for step in range(1, 10)]
    draw(metrics, tmp_path / "one.png")
    import matplotlib as mpl

    monkeypatch.setitem(mpl.rcParams, "font.size", 30.0)

    draw(metrics, tmp_path / "two.png")

    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]


@pytest.mark.parametrize(
    "metrics",
    [
        pytest.param([], id="no step"),
        pytest.param([line(1)], id="one step"),
        pytest.param(
            [line(step, loss=math.nan, gradient_norm=0.0, **dict.fromkeys(("z0", "z0_raw", "margin")))
             for step in (1, 2)],
            id="holes",
        ),
    ],
)  # fmt: skip
def test_there_is_a_picture_of_whatever_was_measured(metrics, tmp_path):
    draw(metrics, tmp_path / "curves.png")

    content = (tmp_path / "curves.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert int.from_bytes(content[16:20], "big") == 1100
    assert len(content) < 400_000


def test_a_folder_that_is_not_there_is_an_error_of_the_file_system(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        draw([line(1)], tmp_path / "none" / "curves.png")


def test_every_line_has_a_style_of_its_own_in_its_panel():
    for panel in PANELS:
        styles = [(curve.colour, curve.style) for curve in panel.curves]
        assert len(set(styles)) == len(styles)
        assert len({style for _, style in styles}) == len(styles), "lines must differ by more than colour"


def test_long_runs_are_drawn_as_means_of_neighbours():
    steps, values = points([line(step, loss=float(step % 2)) for step in range(1, 4001)], "loss")

    assert len(steps) == 400
    assert set(values) == {0.5}


def test_a_smoothed_line_keeps_constant_values_and_averages_noise():
    assert smoothed([2.0] * 100) == [2.0] * 100
    assert max(abs(value) for value in smoothed([(-1.0) ** step for step in range(200)])) <= 0.5
    assert smoothed([1.0, 5.0]) == [1.0, 5.0]


def test_the_bar_shows_the_newest_step_and_the_newest_drift():
    metrics = [line(1, kl_nats_per_token=0.02), line(2, z0=0.25)]

    assert figures(metrics) == "loss 0.5  rewards 0.25 desirable, -0.5 undesirable  z0 0.25  KL 0.02"


def test_the_bar_leaves_out_what_an_objective_does_not_have():
    assert figures([]) == ""
    assert figures([line(1, z0=None, reward_desirable=None)]) == "loss 0.5  rewards – desirable, -0.5 undesirable"
    assert figures([line(1, z0=None, reward_desirable=None, reward_undesirable=None)]) == "loss 0.5"


def test_speed_is_that_of_the_last_steps_together():
    metrics = [line(1, tokens_per_second=9e9)] + [line(step, tokens_per_second=100.0) for step in range(2, 11)]

    assert tokens_per_second([*metrics, line(11, tokens_per_second=400.0, seconds=3.0)]) == 175.0


def test_the_bar_fits_into_a_terminal_of_eighty_columns(monkeypatch, capsys):
    from worker.training.watch.journal import ProgressBar

    monkeypatch.setenv("COLUMNS", "80")
    bar = ProgressBar()
    bar.show("training", 99_999, 100_000, [line(1, kl_nats_per_token=0.0123, z0=1.234, tokens_per_second=98_765.0)])
    bar.close()

    shown = capsys.readouterr().out.splitlines()
    assert all(len(text) <= 80 for text in shown)
    assert "98,765 tokens/s" in shown[0]
    assert "KL 0.0123" in shown[1]
