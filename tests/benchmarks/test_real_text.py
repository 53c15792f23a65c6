"""`make real-text`: its labels and splits, its base model, a small study, and its figures."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from thumbwheel.wire.recipe import recipe_of
from transformers import AutoTokenizer

from benchmarks.real_text import __main__ as command
from benchmarks.real_text import ratings, trial
from benchmarks.real_text.base import train_base_model
from benchmarks.real_text.figures import READERS, document
from benchmarks.real_text.recipes import CHOSEN, RECIPES

SAID = ("Hi, do you like tea?", "Yes, I do!", "lol me too", "Green tea is from China.", "wow", "It is.", "ok bye")


def write_events(folder: Path, conversations: int) -> Path:
    """Writes conversations whose first speaker gives 5 if there is an exclamation mark, otherwise 4."""
    (folder / "events").mkdir()
    with gzip.open(folder / ratings.FILE, "wt", encoding="utf-8") as file:
        for number in range(conversations):
            kind = number % 2
            said = [f"{text}{'!' if kind else '.'} {number}" for text in SAID]
            for turn in range(1, len(said)):
                before = range(max(0, turn - 5), turn)
                roles = {index: "user" if (turn - index) % 2 else "assistant" for index in before}
                event = {
                    "id": f"topical:t_{number}-{turn}",
                    "prompt": [{"role": roles[index], "content": said[index]} for index in before],
                    "completion": said[turn],
                    "rating": 5 if kind else 4,
                    "meta": {"turn": turn},
                }
                file.write(json.dumps(event) + "\n")
    return folder


def test_the_threshold_of_the_policy_decides_which_ratings_are_undesirable(tmp_path: Path) -> None:
    data = write_events(tmp_path, 4)
    assert {message.label for message in ratings.read(data, undesirable=4)} == {True, False}
    assert {message.label for message in ratings.read(data, undesirable=3)} == {True, None}


def test_a_conversation_is_on_one_side_and_its_text_is_whole(tmp_path: Path) -> None:
    rated = ratings.read(write_events(tmp_path, 40), undesirable=4)
    train, held_out = ratings.split(rated, {0, 1, 2})
    assert len(train) + len(held_out) == len(rated)
    assert not {message.conversation for message in train} & {message.conversation for message in held_out}
    assert all(len(text) == len(SAID) for text in ratings.texts(rated))
    assert ratings.texts(rated)[0][0].startswith(SAID[0])


def test_the_base_model_has_a_chat_template_that_keeps_roles_apart(tmp_path: Path) -> None:
    train_base_model(tmp_path / "model", [list(SAID)] * 4, seed=1, epochs=1)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == "<|user|>Hi<|end|><|assistant|>Yes<|end|>"


def test_every_recipe_is_valid() -> None:
    for changes in RECIPES.values():
        recipe_of(trial.PRESET, changes)
    assert CHOSEN in RECIPES


def test_no_two_seeds_hold_out_the_same_conversations_and_the_sweep_has_its_own() -> None:
    parts = [part for held_out in (*command.PARTS.values(), command.SWEEP_PARTS) for part in held_out]
    assert len(set(parts)) == len(parts)
    assert max(parts) < ratings.PARTS


def held_out(seed: int, **scores: list[float]) -> dict[str, Any]:
    """Returns eight rows of four conversations, alternately desirable; readers without `scores` say nothing."""
    rows = {name: [0.0] * 8 for name in ("kto", *READERS)} | {"length": [1.0] * 8} | scores
    return {"conversation": [f"{seed}-{row // 2}" for row in range(8)], "desirable": [True, False] * 4, **rows}


def test_a_lead_is_kto_minus_the_reader_within_seeds() -> None:
    perfect, wrong = [1.0, 0.0] * 4, [0.0, 1.0] * 4
    figures = document({1: held_out(1, kto=perfect), 2: held_out(2, kto=perfect, bag_of_words=wrong)})
    assert figures["seeds"]["1"]["lead"]["bag_of_words"]["value"] == 0.5
    assert figures["seeds"]["2"]["lead"]["bag_of_words"]["value"] == 1.0
    assert figures["together"]["lead"]["bag_of_words"]["value"] == 0.75
    assert figures["together"]["auroc"]["kto"]["over_seeds"] == pytest.approx({"mean": 1.0, "low": 1.0, "high": 1.0})


def test_the_log_ratio_is_also_read_per_character_whichever_length_is_the_better_one() -> None:
    figures = document({1: held_out(1, kto=[-2.0, -1.5] * 4, length=[-4.0, -1.0] * 4)})
    assert figures["together"]["auroc"]["kto"]["value"] == 0.0
    assert figures["together"]["auroc"]["kto_per_character"]["value"] == 1.0


def test_without_the_data_a_sentence_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["real-text", "--data", str(tmp_path)])
    assert command.main() == 0
    assert "name the folder of the real feedback with --data" in " ".join(capsys.readouterr().err.split())


@pytest.mark.trial
def test_a_training_has_a_score_of_every_reader_for_each_held_out_message(tmp_path: Path) -> None:
    data = write_events(tmp_path, 40)
    size = trial.Size(undesirable=4, base_epochs=1)
    base = trial.base_figures(tmp_path / "base" / "work", data, (1, 2), size, seed=1)
    assert base["messages"] == base["conversations"] * len(SAID)
    changes = {**RECIPES[CHOSEN], "max_steps": 2, "micro_batch_size": 16}
    (tmp_path / "trial").mkdir()
    figures = trial.figures_of(
        tmp_path / "trial" / "work", data, tmp_path / "base" / trial.MODEL, (1, 2), size, changes
    )
    rows = figures["held_out"]
    expected = ratings.split(size.read(data), (1, 2))[1]
    assert figures["steps"] == 2
    assert sorted(rows["conversation"]) == sorted(message.conversation for message in expected)
    assert {len(values) for values in rows.values()} == {len(expected)}
    assert np.isfinite(rows["kto"]).all()
    kinds = {message.conversation: message.label for message in expected}
    assert [kinds[name] for name in rows["conversation"]] == rows["desirable"]
