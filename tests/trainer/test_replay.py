"""Replayed answers: which rows they are, and what a scored WORKDIR says of them."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from app.labels.policy import EDITED_TEXT
from tests.trainer import tiny
from worker.evaluation.replay import replayed_prompts
from worker.evaluation.sampled_prompts import SampledPrompt
from worker.evaluation.score import score
from worker.training.job import read_job
from worker.training.models import policy
from worker.training.train import train

EVALUATION = {"kl_prompts": 2, "kl_max_new_tokens": 12, "bootstrap": 100}


def row(prompt: Any, completion: str, *, label: bool, **more: Any) -> dict[str, Any]:
    text = [{"role": "assistant", "content": completion}] if not isinstance(prompt, str) else completion
    return {"prompt": prompt, "completion": text, "label": label, **more}


def chosen(workdir: Path, base: Path, count: int) -> list[SampledPrompt]:
    tokens, vocabulary = policy.load_tokens(base), policy.vocabulary(base)
    return replayed_prompts(read_job(workdir), tokens, 64, vocabulary, count)


def shown(prompts: list[SampledPrompt]) -> list[tuple[str, str, str]]:
    return [(item.source, item.answer.split, item.answer.text) for item in prompts if item.answer is not None]


def test_the_newest_answers_are_replayed_those_of_the_holdout_first_and_classes_take_turns(
    tmp_path: Path, base: Path
) -> None:
    # given rows in the order of time, with some that are no answers of a model, do not count, or cannot be read
    train_rows = [row(f"train {n}:", f" old {n}", label=n % 2 == 0) for n in range(8)]
    holdout = [
        row("a:", " first", label=False),
        row("b:", " liked b", label=True),
        row("b:", " newer liked b", label=True),
        row("b:", " disliked b", label=False),
        row("c:", " written by a user", label=True, reason=EDITED_TEXT),
        row("d:", " without weight", label=False, weight=0.0),
        row("e:", "", label=False),
        row("f:", " last", label=False),
    ]
    workdir = tiny.stage(tmp_path / "w", base, train_rows, holdout)

    prompts = chosen(workdir, base, 5)

    assert shown(prompts) == [
        ("disliked", "holdout", " last"),
        ("liked", "holdout", " newer liked b"),
        ("disliked", "holdout", " disliked b"),
        ("liked", "train", " old 6"),
        ("disliked", "holdout", " first"),
        ("liked", "train", " old 4"),
        ("disliked", "train", " old 7"),
        ("liked", "train", " old 2"),
        ("disliked", "train", " old 5"),
        ("liked", "train", " old 0"),
    ]
    assert [json.loads(item.text) for item in prompts[:2]] == ["f:", "b:"]
    assert shown(chosen(workdir, base, 1)) == shown(prompts)[:2]
    assert chosen(workdir, base, 0) == []


def test_chats_and_texts_of_a_split_are_ordered_by_time_together(tmp_path: Path, base: Path) -> None:
    chat = [{"role": "user", "content": "Hello?"}]
    workdir = tiny.stage(tmp_path / "w", base, [row("old:", " a", label=False), row("new:", " c", label=False)])
    path = workdir / "snapshot" / "train-1.parquet"
    shard = tiny.write_shard(path, [row(chat, "b", label=False)], start=1)
    table = pq.read_table(workdir / "snapshot" / "train-0.parquet").to_pylist()
    table[1]["position"] = 2
    texts = tiny.write_shard(workdir / "snapshot" / "train-0.parquet", table)
    shards = [{**entry, "split": "train"} for entry in (texts, shard)]
    (workdir / "snapshot" / "manifest.json").write_text(json.dumps({"shards": shards, "counts": {}}))

    prompts = chosen(workdir, base, 3)

    assert [text for _, _, text in shown(prompts)] == [" c", "b", " a"]
    assert json.loads(prompts[1].text) == chat


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """The WORKDIR of a model that was trained on a shipped base model and scored with a replay of six answers."""
    rows = tiny.text_rows()
    workdir = tiny.stage(
        tmp_path_factory.mktemp("replayed") / "w",
        base,
        rows,
        rows[:4],
        epochs=1,
        evaluation={**EVALUATION, "replay": 3},
    )
    train(workdir)
    score(workdir)
    return workdir


@pytest.mark.xdist_group("replayed")
def test_replies_to_replayed_prompts_are_kept_with_the_answers_and_counted(replayed: Path) -> None:
    rows = [row for row in pq.read_table(replayed / "samples.parquet").to_pylist() if row["answer"] is not None]
    replay = tiny.document(replayed / "scores.json")["replay"]

    # the holdout has the first four rows, of which the first and the last are liked
    staged = {row["prompt"]: row["completion"] for row in tiny.text_rows()}
    assert [(row["source"], row["split"]) for row in rows[::3]] == [
        ("disliked", "holdout"), ("liked", "holdout"), ("disliked", "holdout"), ("liked", "holdout"),
        ("disliked", "train"), ("liked", "train"),
    ]  # fmt: skip
    assert [row["model"] for row in rows[:3]] == ["candidate", "shipped", "ancestor"]
    assert all(staged[json.loads(row["prompt"])] == row["answer"] for row in rows)
    assert {row["decoding"] for row in rows} == {"greedy"}
    assert replay["answers"] == {"disliked": 3, "liked": 3}
    assert replay["held_out"] == {"disliked": 2, "liked": 2}
    for name, source in (("repeated", "disliked"), ("kept", "liked")):
        for model in ("candidate", "shipped"):
            of_model = [row for row in rows if (row["source"], row["model"]) == (source, model)]
            texts = [(" ".join(row["completion"].split()), " ".join(row["answer"].split())) for row in of_model]
            known = [
                (reply, answer)
                for row, (reply, answer) in zip(of_model, texts, strict=True)
                if row["finished"] or reply == answer or not answer.startswith(reply)
            ]
            assert replay[name][model]["groups"] == len(known) > 0
            assert replay[name][model]["value"] == pytest.approx(sum(a == b for a, b in known) / len(known))


@pytest.mark.xdist_group("replayed")
def test_a_replay_changes_no_other_figure_and_no_identity(replayed: Path, tmp_path: Path, base: Path) -> None:
    rows = tiny.text_rows()
    without = tiny.stage(tmp_path / "w", base, rows, rows[:4], epochs=1, evaluation={**EVALUATION, "replay": 0})
    assert read_job(without).identity == read_job(replayed).identity
    train(without)
    score(without)

    first, second = (tiny.document(workdir / "scores.json") for workdir in (replayed, without))
    samples = pq.read_table(replayed / "samples.parquet").to_pylist()
    assert pq.read_table(without / "samples.parquet").to_pylist() == samples[: 2 * 2 * 3]
    for name in ("candidate", "against_shipped", "prompts"):
        assert first["samples"][name] == second["samples"][name]
    assert {**first, "samples": 0, "replay": 0, "seconds": 0} == {**second, "samples": 0, "replay": 0, "seconds": 0}
    assert second["replay"]["answers"] == {"disliked": 0, "liked": 0}
    assert second["replay"]["repeated"]["candidate"]["reason"] == "no such answer was replayed"
