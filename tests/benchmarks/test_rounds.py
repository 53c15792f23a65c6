"""`make study-rounds`: its conditions, the rows and losses that they try, the chain of rounds, and the figures."""

import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from thumbwheel.wire.recipe import Recipe, recipe_of

from benchmarks.rounds import __main__ as command
from benchmarks.rounds.conditions import BEST, CONDITIONS, Condition, Way
from benchmarks.rounds.figures import by_round, document
from benchmarks.rounds.losses import anchored, clipped, loss_of
from benchmarks.rounds.table import table
from benchmarks.rounds.trial import PRESET, Size
from benchmarks.rounds.votes import VotedRow, audited, examples_of, keep, kept, spans_of
from worker.training.machine.process import TrainingRefusal
from worker.training.objectives import OBJECTIVES, LogProbs, TokenLogProbs
from worker.training.objectives.kto import kto

NO_MODEL: Any = None


def recipe() -> Recipe:
    return recipe_of(PRESET, {"lambda_desirable": 1.5, "lambda_undesirable": 1.0})


def row(
    *, desirable: bool = True, good: bool = True, completion: str = "Sorry.", edited: str | None = None
) -> VotedRow:
    return VotedRow("Ticket", completion, desirable, good, None, edited)


def log_probs(desirable: list[bool], *, far: float = 1.0) -> LogProbs:
    """Returns log-probs of rows of two tokens each; `far` scales the distance from the reference."""
    torch.manual_seed(0)
    rows = len(desirable)
    reference_N = -2 - torch.rand(2 * rows)
    policy_N = (reference_N + far * torch.randn(2 * rows)).requires_grad_()
    row_N = torch.arange(rows).repeat_interleave(2)
    tokens = TokenLogProbs(policy_N, reference_N, row_N, torch.ones(2 * rows))

    def sums(values: torch.Tensor) -> torch.Tensor:
        return values.reshape(rows, 2).sum(1)

    return LogProbs(
        policy_B=sums(policy_N), reference_B=sums(reference_N), tokens_B=torch.full((rows,), 2.0),
        desirable_B=torch.tensor(desirable), weight_B=torch.ones(rows), policy_mismatched_B=sums(policy_N),
        reference_mismatched_B=sums(reference_N), paired_B=torch.ones(rows, dtype=torch.bool), tokens=tokens,
        mismatched_tokens=tokens,
    )  # fmt: skip


def test_every_way_is_a_valid_recipe_and_every_condition_has_a_name_of_its_own() -> None:
    assert len({condition.name for condition in CONDITIONS}) == len(CONDITIONS)
    for condition in CONDITIONS:
        for way in (condition.first, condition.later):
            assert recipe_of(PRESET, way.recipe).epochs == way.recipe["epochs"]


def test_votes_of_earlier_rounds_count_by_their_age() -> None:
    rounds = [[row(completion=f"round {number}")] for number in (1, 2, 3)]

    def weights(way: Way) -> dict[str, float]:
        return {example.completion: example.weight for example in examples_of(way, rounds, NO_MODEL)}

    assert weights(Way()) == {"round 3": 1.0}
    assert weights(Way(votes="all")) == {"round 1": 1.0, "round 2": 1.0, "round 3": 1.0}
    assert weights(Way(votes="all_decayed")) == {"round 1": 0.25, "round 2": 0.5, "round 3": 1.0}


def test_the_words_that_an_edit_kept_weigh_less_and_the_others_as_before() -> None:
    edited = row(
        desirable=False, completion="Sorry. We refund it. Bye, friend.", edited="Sorry. We repair it now. Bye, friend."
    )

    [example] = examples_of(Way(kept=0.1), [[edited]], NO_MODEL)

    texts = [(edited.completion[start:end], weight) for start, end, weight in example.spans]
    assert texts == [("Sorry. We", 0.1), (" it. Bye, friend.", 0.1)]
    assert [*spans_of(row(completion="same text", edited="same text"), 0.1)] == [(0, 9, 0.1)]
    [whole] = examples_of(Way(kept=0.1), [[row()]], NO_MODEL)
    assert not whole.spans


def test_an_audit_gives_the_share_of_wrong_labels_of_each_class() -> None:
    rows = [row(good=number >= 10) for number in range(100)] + [
        row(desirable=False, good=number < 5) for number in range(50)
    ]

    assert audited(rows, seed=1) == (0.1, 0.1)


def test_the_anchor_adds_the_mean_token_loss_of_desirable_rows_alone() -> None:
    given = log_probs([True, False])

    added = anchored(given, recipe(), 0.5).loss_B - kto(given, recipe()).loss_B

    assert added.tolist() == pytest.approx([-0.5 * given.policy_B[0].item() / 2, 0])


def test_a_clipped_loss_is_that_of_kto_within_the_limit_and_has_no_gradient_beyond() -> None:
    near = log_probs([True, False], far=0.1)
    assert clipped(near, recipe(), 1.5).loss_B.tolist() == pytest.approx(kto(near, recipe()).loss_B.tolist())

    far = log_probs([True, False], far=1000)
    loss = clipped(far, recipe(), 1.5).loss_B.sum()
    torch.autograd.backward(loss)
    assert far.tokens is not None
    assert far.tokens.policy_N.grad is not None
    assert far.tokens.policy_N.grad.abs().max() == 0


def test_a_tried_loss_is_in_the_place_of_ktos_for_its_training_alone() -> None:
    with loss_of(Way(anchor=0.5)):
        assert OBJECTIVES["kto"].loss is not kto
    with loss_of(Way()):
        assert OBJECTIVES["kto"].loss is kto
    assert OBJECTIVES["kto"].loss is kto


def test_votes_are_kept_with_everything_that_is_known_of_them(tmp_path: Path) -> None:
    rows = [row(edited="Better."), VotedRow("p", "c", False, True, -1.5)]

    keep(tmp_path / "votes.json", rows)

    assert kept(tmp_path / "votes.json") == rows


def _base_figures(_workdir: Path, _seed: int, size: Size) -> dict[str, Any]:
    return {**dict.fromkeys(("invented_refund_share", "unclear_share"), 0.1), "good_share": 0.4, "words": 100,
            "tickets": size.tickets}  # fmt: skip


def _round_figures(workdir: Path, way: Way, number: int, before: list[Path], seed: int, size: Size) -> dict[str, Any]:
    assert len(before) == number
    with (workdir.parents[1] / "log").open("a") as log:
        log.write(f"{seed}:{number}\n")
    if way.recipe.get("beta") == 9:
        raise TrainingRefusal("rows", "too few rows")
    return {**_base_figures(workdir, seed, size), "good_share": 0.4 + 0.1 * number + 0.01 * seed, "kl_base": 1.0,
            "kl_previous": 0.5, "words": 110}  # fmt: skip


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces the work of the trials, which takes minutes."""
    monkeypatch.setattr(command, "base_figures", _base_figures)
    monkeypatch.setattr(command, "round_figures", _round_figures)


@pytest.mark.usefixtures("trials")
def test_conditions_share_their_common_rounds_and_a_failed_round_ends_its_chain(tmp_path: Path) -> None:
    first = Way({"epochs": 2})
    conditions = [
        Condition(BEST.name, "", first, Way({"epochs": 4}), rounds=2),
        Condition("other", "", first, Way({"epochs": 2}), rounds=3, seeds=1),
        Condition("broken", "", Way({"epochs": 2, "beta": 9}), first, rounds=2, seeds=1),
    ]
    study = command.Study(conditions, [1, 2], 3, Size(), tmp_path)

    with ThreadPoolExecutor(1) as pool:
        results = study.run(pool, Console(file=io.StringIO()))
        again = study.run(pool, Console(file=io.StringIO()))

    assert again == results
    # the first round of both sound conditions is one trial a seed
    assert sorted((tmp_path / "log").read_text().split()) == ["1:1", "1:1", "1:2", "1:2", "1:3", "2:1", "2:2"]
    assert {(name, number) for name, seed, number in results if seed == 1} == {
        (BEST.name, 0), (BEST.name, 1), (BEST.name, 2), ("other", 0), ("other", 1), ("other", 2), ("other", 3),
        ("broken", 0), ("broken", 1),
    }  # fmt: skip

    figures = document(conditions, study.seeds, results)
    assert by_round(figures[BEST.name], "good_share") == pytest.approx([0.4, 0.515, 0.615])
    assert by_round(figures[BEST.name], "kl_base") == [0.0, 1.0, 1.0]
    assert figures[BEST.name]["rounds"][2]["better_than_before"]["mean"] == pytest.approx(0.1)
    assert figures["other"]["rounds"][2]["better_than_best"]["mean"] == 0
    assert figures["broken"]["rounds"][1]["failures"] == {"1": "too few rows"}
    assert 0 < figures["other"]["rounds"][1]["good_share"]["low"] < 0.51
    out = Console(file=io.StringIO(), width=200)
    out.print(table(figures))
    assert "1 (1 failed)" in out.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("trials")
def test_the_finished_trials_of_a_study_in_pieces_are_reported_and_plotted_without_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "rounds.json"
    monkeypatch.setattr(sys, "argv", ["study-rounds", "--finished", "--cache", str(tmp_path), "--out", str(out)])
    assert command.main() == 2
    assert "no round of longer-capped is finished" in capsys.readouterr().err

    with ThreadPoolExecutor(1) as pool:
        command.Study([BEST, *CONDITIONS[-1:]], [1, 2], 2, Size(), tmp_path).run(pool, Console(file=io.StringIO()))
    trained = (tmp_path / "log").read_text()

    assert command.main() == 0

    assert (tmp_path / "log").read_text() == trained
    report = json.loads(out.read_bytes())
    assert report["good_share"] == pytest.approx([0.4, 0.515, 0.615])
    assert report["conditions"][BEST.name]["seeds"] == [1, 2]
    assert "one-large-run" in report["conditions"]
    assert "lora" not in report["conditions"]
    plot = out.with_suffix(".svg").read_text("utf-8")
    assert "longer-capped" in plot
    assert "one-large-run" in plot


@pytest.mark.usefixtures("trials")
def test_a_quick_study_runs_the_best_condition_for_three_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "pool_of", ThreadPoolExecutor)
    monkeypatch.setattr(
        sys, "argv", ["study-rounds", "--quick", "--cache", str(tmp_path), "--out", str(tmp_path / "o")]
    )

    assert command.main() == 0

    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["seeds"] == 1
    assert report["good_share"] == pytest.approx([0.4, 0.51, 0.61, 0.71])
    assert report["length_ratio"] == pytest.approx([1.0, 1.1, 1.1, 1.1])
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--only", "magic"], "unknown name 'magic'"), (["--rounds", "-1"], "expected 1 or more"),
     (["--seeds", "1,1"], "each once")],
)  # fmt: skip
def test_invalid_arguments_end_with_2_and_name_the_option(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["study-rounds", *arguments])

    with pytest.raises(SystemExit) as ended:
        command.main()

    assert ended.value.code == 2
    assert message in capsys.readouterr().err
