"""The demo's model: its folder loads in transformers, its tokenizer keeps text, its samples are its own."""

import sys
from pathlib import Path
from random import Random

import pytest
import torch

from worker.demo.__main__ import main
from worker.demo.base_model import desk_tokenizer, train_base_model
from worker.demo.language import new_ticket, typical_reply
from worker.demo.measure import kl_nats, measured, share
from worker.demo.sampling import Desk, load, log_probabilities, sample
from worker.training.files.fingerprint import weights_fingerprint


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folders of three models after two steps: two with the same seed, one with another."""
    folders = [tmp_path_factory.mktemp("desk") / name for name in ("one", "again", "other")]
    for folder, seed in zip(folders, (1, 1, 2), strict=True):
        train_base_model(folder, seed, steps=2)
    return folders


@pytest.fixture(scope="module")
def desk(folders: list[Path]) -> Desk:
    return load(folders[0])


def test_every_ticket_and_reply_survives_the_tokenizer() -> None:
    tokenizer, rng = desk_tokenizer(), Random(1)

    for _ in range(500):
        ticket = new_ticket(rng)
        text = ticket.prompt + typical_reply(ticket, rng)
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == text
        prompt_ids = tokenizer(ticket.prompt)["input_ids"]
        assert ids[: len(prompt_ids)] == prompt_ids


@pytest.mark.trial
def test_the_same_seed_makes_the_same_weights_and_another_seed_others(folders: list[Path]) -> None:
    one, again, other = map(weights_fingerprint, folders)

    assert one == again != other


@pytest.mark.trial
def test_samples_are_equal_for_equal_seeds_and_differ_between_seeds(desk: Desk) -> None:
    prompts = [new_ticket(Random(seed)).prompt for seed in range(12)]

    first, again, other = (sample(desk, prompts, seed) for seed in (1, 1, 2))

    assert first == again != other
    assert [draft.prompt_ids for draft in first] == desk.tokenizer(prompts)["input_ids"]


@pytest.mark.trial
def test_log_probabilities_are_those_of_the_model_itself(desk: Desk) -> None:
    draft = sample(desk, [new_ticket(Random(1)).prompt], 1)[0]
    ids = torch.tensor([[*draft.prompt_ids, *draft.token_ids]])

    with torch.no_grad():
        log_p = desk.model(ids).logits[0].float().log_softmax(-1)
    start = len(draft.prompt_ids)
    expected = sum(float(log_p[position - 1, ids[0, position]]) for position in range(start, ids.shape[1]))

    assert float(log_probabilities(desk, [draft])[0]) == pytest.approx(expected, abs=1e-3)


@pytest.mark.trial
def test_a_model_does_not_drift_from_itself_but_from_another(desk: Desk, folders: list[Path]) -> None:
    rng = Random(7)
    figures = measured(desk, [new_ticket(rng) for _ in range(24)], seed=1)

    assert kl_nats(desk, desk, figures.replies).value == 0
    assert kl_nats(desk, load(folders[2]), figures.replies).low > 0


def test_a_share_has_wilsons_interval() -> None:
    figure = share([True] * 8 + [False] * 2)

    assert figure.value == 0.8
    assert (figure.low, figure.high) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # 8 of 10, Wilson 95 %
    assert share([True] * 5).high == pytest.approx(1)
    assert share([]).low == 0


def test_a_folder_that_takes_no_model_ends_the_story_in_one_line_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_file = tmp_path / "file"
    a_file.write_text("")
    monkeypatch.setattr(sys, "argv", ["demo", "--cache", str(a_file / "demo")])
    monkeypatch.setenv("THUMBWHEEL_API_KEY", "tw_unasked")

    assert main() == 2

    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("The demo stopped: ")
    assert str(a_file) in last
