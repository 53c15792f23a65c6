"""`thumbwheel compare | sweep | comparisons`, without a worker."""

import pytest

from app.cli.comparison_report import progress_line
from tests.cli.conftest import CommandLine


@pytest.fixture
def labelled(client) -> None:
    for number in range(20):
        value = "up" if number % 2 else "down"
        client.feedback(f"msg-{number}", "user-1", value, prompt=f"Question {number}?", completion=f"Answer {number}.")


def test_arms_are_compared_listed_shown_and_cancelled(cli: CommandLine, client, labelled) -> None:
    started = cli("compare", "--arms", "kto,sft,untouched", "--set", "sft.lora.rank=8", "--steps", "5", "--seeds", "2")
    assert started.code == 0, started.err
    job = started.document

    assert job["runs_planned"] == 4
    assert [arm["changes"] for arm in job["arms"]][1]["lora"]["rank"] == 8
    assert [item["id"] for item in cli("comparisons", "list").document] == [job["id"]]
    assert cli("comparisons", "show", job["id"][-6:]).document["id"] == job["id"]
    shown = client.comparisons.get(job["id"])
    assert progress_line(shown) == "comparison running: 0 of 4 runs have ended; kto, seed 42: queued"
    assert cli("comparisons", "cancel").document["state"] == "cancelled"
    assert cli("comparisons", "watch").code == 1


def test_a_sweep_takes_values_and_ranges(cli: CommandLine, labelled) -> None:
    random = cli(
        "sweep", "beta=0.1,0.3", "learning_rate=1e-5..1e-3", "--search", "random", "--points", "3", "--seed", "1"
    )
    halving = cli("sweep", "beta=0.1,0.3", "--search", "halving", "--rungs", "5,10")

    assert random.document["runs_planned"] == 3
    assert all(1e-5 <= arm["changes"]["learning_rate"] <= 1e-3 for arm in random.document["arms"])
    assert halving.document["request"]["rungs"] == [5, 10]


def test_examples_and_another_base_model_are_arms(cli: CommandLine, labelled) -> None:
    started = cli(
        "compare", "--arms", "kto,few_shots", "--base", "smaller=/models/small",
        "--set", "few_shots.evaluation.few_shots=8", "--set", "smaller.beta=0.4",
    )  # fmt: skip

    assert started.code == 0, started.err
    kto, few_shots, smaller = started.document["arms"]
    assert (kto["base_model"], smaller["base_model"], smaller["changes"]) == (None, "/models/small", {"beta": 0.4})
    assert few_shots["budget"] == ["no training: it is the reference with 8 examples before each prompt"]


BAD = [
    (["compare", "--arms", "kto", "--base", "smaller"], "expected ARM=FOLDER, got 'smaller'"),
    (["compare", "--arms", "kto", "--base", "smaller=small"], "arms/1/base_model: 'small' is a relative path"),
    (["compare", "--arms", "kto,kto"], "--arms: kto is there twice"),
    (["compare", "--arms", "kto,ppo2"], "there is no arm 'ppo2'"),
    (["compare", "--arms", "kto,sft", "--set", "dpo.beta=1"], "dpo is not one of the arms: kto, sft"),
    (["compare", "--arms", "kto,sft", "--set", "beta"], "expected ARM.FIELD=VALUE, got 'beta'"),
    (["sweep", "beta"], "expected FIELD=VALUES, got 'beta'"),
    (["sweep", "beta=0.1", "beta=0.2"], "beta is there twice"),
    (["sweep", "beta=0.1", "--rungs", "5,10"], "only halving has rungs"),
    (["comparisons", "show"], "no comparison yet"),
]


def test_bad_options_are_one_line_with_the_remedy(cli: CommandLine) -> None:
    for arguments, line in BAD:
        assert line in cli.refused(*arguments)
