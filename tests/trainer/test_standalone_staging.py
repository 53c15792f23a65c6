"""A request becomes a WORKDIR, or is refused before any model is loaded."""

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.trainer import asking, tiny
from tests.trainer.asking import pairs, written
from worker.training.job import read_job
from worker.training.machine.process import StopRequest, TrainingRefusal
from worker.training.standalone.folder import Folder
from worker.training.standalone.request import TrainingRequest
from worker.training.standalone.training import stage

Ask = Callable[..., TrainingRequest]


@pytest.fixture
def ask(tmp_path: Path, base: Path) -> Ask:
    return lambda rows=None, **options: asking.request(tmp_path, base, rows, **options)


def staged(request: TrainingRequest) -> Path:
    """Stages a request and returns its WORKDIR, which the trainer accepts."""
    folder = Folder(request.out)
    with folder.alone():
        stage(folder, request, StopRequest())
    read_job(folder.work)
    return folder.work


def refused(request: TrainingRequest) -> str:
    with pytest.raises(TrainingRefusal) as refusal:
        staged(request)
    return refusal.value.message


def manifest(work: Path) -> dict[str, Any]:
    return tiny.document(work / "snapshot" / "manifest.json")


def shard(work: Path, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(work / "snapshot" / name).to_pylist()
    return rows


def pairs_in(work: Path) -> list[tuple[str, str]]:
    """Returns the (chosen, rejected) completions of every pair of the snapshot."""
    table = shard(work, "pairs.parquet")
    texts = {name: shard(work, name) for name in {pair["shard"] for pair in table}}
    return [tuple(texts[pair["shard"]][pair[side]]["completion"] for side in ("chosen", "rejected")) for pair in table]


def test_rows_are_staged_in_order_with_where_they_came_from(ask):
    work = staged(ask(holdout=0))

    rows = shard(work, "train-text.parquet")
    assert [row["completion"] for row in rows] == [row["completion"] for row in tiny.text_rows(40)]
    assert (rows[4]["completion_id"], rows[4]["position"]) == ("rows.jsonl line 5", 4)
    assert manifest(work)["counts"]["train"]["desirable"] == 14


def test_a_prompt_is_wholly_on_one_side_and_in_every_call_on_the_same(ask):
    rows = [{**row, "prompt": f"  Question {n // 4} ?"} for n, row in enumerate(tiny.text_rows(80))]

    work, turned = staged(ask(rows, holdout=0.3)), staged(ask(rows[::-1], out="turned", holdout=0.3))

    train, held = ({row["prompt"] for row in shard(work, f"{side}-text.parquet")} for side in ("train", "holdout"))
    assert held
    assert not train & held
    assert held == {row["prompt"] for row in shard(turned, "holdout-text.parquet")}


def test_prompts_of_the_eval_data_are_not_trained_on(ask, tmp_path):
    rows = tiny.text_rows(40)
    held = written(tmp_path / "held.jsonl", [{**row, "prompt": row["prompt"].upper()} for row in rows[:6]])

    work = staged(ask(rows, eval_data=[held]))

    assert manifest(work)["drops"] == {"the prompt is in the eval data": 6}
    assert len(shard(work, "train-text.parquet")) == 34
    assert len(shard(work, "holdout-text.parquet")) == 6


def test_several_files_of_several_kinds_are_one_training(ask, tmp_path):
    data = [
        written(tmp_path / "a.jsonl.gz", tiny.text_rows(20)),
        written(tmp_path / "b.parquet", tiny.chat_rows(12)),
        written(tmp_path / "c.json", pairs(8)),
    ]

    work = staged(ask(data=data, holdout=0))

    shards = [(part["path"], part["rows"]) for part in manifest(work)["shards"]]
    assert shards == [("train-text.parquet", 36), ("train-chat.parquet", 12)]
    assert shard(work, "train-chat.parquet")[0]["completion_id"] == "b.parquet row 1"


def test_the_same_rows_give_the_same_snapshot_wherever_they_lie(ask, base, tmp_path):
    (tmp_path / "elsewhere").mkdir()

    one, other = staged(ask()), staged(asking.request(tmp_path / "elsewhere", base, None))

    assert manifest(one) == manifest(other)


def test_pairs_are_two_labelled_rows_to_an_objective_without_pairs(ask):
    work = staged(ask(pairs(), holdout=0))

    assert "pairs" not in manifest(work)
    assert Counter(row["label"] for row in shard(work, "train-text.parquet")) == {True: 24, False: 24}


def test_an_objective_of_pairs_gets_the_pairs_as_they_were_given(ask):
    given = [{**pair, "prompt": "the same for all"} for pair in pairs()]

    work = staged(ask(given, objective="dpo", holdout=0))

    assert pairs_in(work) == [(pair["chosen"], pair["rejected"]) for pair in given]
    assert manifest(work)["pairs"]["train"] == 24


def test_where_the_recipe_asks_for_it_pairs_are_made_of_labelled_rows_with_one_prompt(ask):
    rows = [
        {"prompt": f"q{n}", "completion": f" {word} {n}", "label": word == "good"}
        for n in range(10)
        for word in ("good", "bad")
    ]

    assert pairs_in(staged(ask(rows, objective="dpo", pairs="derived", holdout=0))) == [
        (f" good {n}", f" bad {n}") for n in range(10)
    ]


def test_labels_by_name_and_spans_are_staged_for_the_objectives_that_ask_for_them(ask):
    spans = [{"start": 0, "end": 2, "weight": 0.5}]
    rows = [{**row, "labels": {"kind": row["label"]}, "spans": spans} for row in tiny.text_rows(40)]

    first = shard(staged(ask(rows, holdout=0)), "train-text.parquet")[0]

    assert first["labels"] == [{"name": "kind", "value": True}]
    assert first["spans"] == spans


def test_rows_without_an_answer_are_left_out_and_counted(ask):
    empty = [{"prompt": "a", "completion": " ", "label": True}, {"prompt": "c", "chosen": " d", "rejected": ""}]
    same = [{"prompt": "b", "chosen": " same", "rejected": " same"}]

    work = staged(ask([*tiny.text_rows(40), *empty, *same], holdout=0))

    assert manifest(work)["drops"] == {"empty completion": 2, "chosen and rejected are equal": 2}
    assert len(shard(work, "train-text.parquet")) == 41


def test_columns_that_mean_nothing_here_are_named(ask):
    work = staged(ask([{**row, "user_id": 7} for row in tiny.text_rows(40)]))

    assert manifest(work)["columns_ignored"] == ["user_id"]


def test_the_shipped_adapter_is_staged_without_what_else_lies_in_its_folder(ask, adapter, tmp_path):
    shutil.copytree(adapter, tmp_path / "shipped")
    (tmp_path / "shipped" / "notes.txt").write_text("")

    work = staged(ask(reference=tmp_path / "shipped"))

    assert {path.name for path in (work / "reference").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }


ONE_GOOD = [{**row, "label": n == 0} for n, row in enumerate(tiny.text_rows(40))]
TOO_LITTLE: dict[str, tuple[dict[str, Any], str]] = {
    "no rows": ({"rows": []}, "no row to train on: add rows"),
    "only empty ones": ({"rows": [{"prompt": "a", "completion": "", "label": True}]}, "dropped: 1 empty completion"),
    "one class": (
        {"rows": [{**row, "label": True} for row in tiny.text_rows()]},
        "all 22 rows to train on are desirable, kto needs both classes: add undesirable rows, or use sft",
    ),
    "nothing to imitate": (
        {"rows": [{**row, "label": False} for row in tiny.text_rows()], "objective": "sft"},
        "sft imitates desirable ones",
    ),
    "one class outweighs": ({"rows": ONE_GOOD}, "1 : 39 by weight, outside 1:10 … 10:1: add desirable rows, or --all"),
    "few rows": ({"rows": tiny.text_rows(7)}, "7 rows to train on, two micro-batches need 8: .*micro_batch_size"),
    "no pairs": (
        {"rows": tiny.text_rows(), "objective": "dpo"},
        r"^objective: dpo needs pairs, \S+rows.jsonl compares no answers: give chosen and rejected, set pairs to",
    ),
    "no pairs to derive": (
        {"rows": tiny.text_rows(), "objective": "dpo", "pairs": "derived"},
        r"^objective: dpo needs pairs, no prompt of \S+rows.jsonl has both .*: use kto or apo_zero_unpaired, or give",
    ),
}


@pytest.mark.parametrize(("options", "sentence"), TOO_LITTLE.values(), ids=TOO_LITTLE)
def test_too_little_to_learn_from_is_refused_and_leaves_no_folder(ask, options, sentence):
    request = ask(**{"holdout": 0, **options})

    assert re.search(sentence, message := refused(request)), message
    assert not request.out.exists()


def test_an_imbalance_can_be_allowed_and_is_recorded(ask):
    work = staged(ask(ONE_GOOD, allow_imbalance=True, holdout=0))

    assert manifest(work)["allow_imbalance"] is True
    assert tiny.document(work / "recipe.json")["lambda_desirable"] > 39


SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "preset": ({"preset": "nonesuch"}, "there is no preset nonesuch: use one of cpu-demo, lora-small"),
    "field": ({"bete": 1}, r"there is no field bete: did you mean beta\?"),
    "field of a section": ({"lora": {"rnk": 1}}, r"there is no field lora\.rnk: did you mean lora\.rank\?"),
    "field unlike any": ({"lora": {"xyz": 1}}, r"there is no field lora\.xyz: fields are rank, alpha"),
    "objective": ({"objective": "nonesuch"}, "objective is 'nonesuch': must be 'kto', .* or 'orpo'"),
    "beta": ({"beta": 0}, "beta is 0: must be greater than 0"),
    "lambda": ({"lambda_undesirable": -1}, "lambda_undesirable is -1: must be greater than 0"),
    "micro-batch": ({"micro_batch_size": 1}, "micro_batch_size is 1: must be greater than or equal to 2"),
    "batches that do not divide": ({"batch_size": 9}, "micro_batch_size to a divisor"),
    "model": ({"model": Path("/nonesuch")}, "--model /nonesuch: there is no such folder"),
    "reference": ({"reference": Path("/nonesuch")}, "--reference /nonesuch: there is no such folder"),
    "data": ({"data": [Path("/nonesuch.jsonl")]}, "/nonesuch.jsonl: there is no such file"),
}


@pytest.mark.parametrize(("options", "sentence"), SETTINGS.values(), ids=SETTINGS)
def test_an_impossible_setting_is_refused_with_field_value_and_remedy(ask, options, sentence):
    assert re.search(sentence, message := refused(ask(**options))), message


def test_a_model_folder_without_a_model_is_refused(ask, base, tmp_path):
    (tmp_path / "empty").mkdir()

    assert "holds no config.json: name the folder of the base model" in refused(ask(model=tmp_path / "empty"))
    assert "holds no adapter_config.json: give whole weights as --model" in refused(ask(reference=base))


def test_a_folder_of_somebody_else_is_not_touched(ask, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")

    assert "holds thesis.txt and no training of this command" in refused(ask())
    assert "holds thesis.txt" in refused(ask(restart=True))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_a_folder_that_is_a_file_or_lies_in_one_is_refused(ask, tmp_path):
    (tmp_path / "file").write_text("")

    assert "cannot be created" in refused(ask(out="file"))
    assert "cannot be created" in refused(ask(out="file/inside"))


def test_two_trainings_do_not_work_in_one_folder(ask):
    request = ask()
    with Folder(request.out).alone():
        assert "another training works there" in refused(request)


def test_what_nothing_was_learnt_from_yet_may_be_changed(ask):
    staged(ask())

    work = staged(ask(pairs(), beta=0.3))

    assert tiny.document(work / "recipe.json")["beta"] == 0.3
    assert len(shard(work, "train-text.parquet")) > 36


def test_a_model_that_has_moved_is_found_at_its_new_place(ask, base, tmp_path):
    staged(ask())
    (tmp_path / "moved").symlink_to(base)

    work = staged(ask(model=tmp_path / "moved"))

    assert tiny.document(work / "job.json")["base_model"] == str(tmp_path / "moved")
