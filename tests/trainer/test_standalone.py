"""Training on files without a service, from a request to a folder that loads; also repeated, interrupted, changed."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from peft import PeftModel

from tests.trainer import asking, tiny
from tests.trainer.asking import SMALL, pairs
from worker.training.machine.process import Stopped, StopRequest, TrainingRefusal
from worker.training.standalone import folder
from worker.training.standalone.request import TrainingRequest
from worker.training.standalone.training import train_alone

pytestmark = pytest.mark.xdist_group("training alone")

Ask = Callable[..., TrainingRequest]


@pytest.fixture
def ask(tmp_path: Path, base: Path) -> Ask:
    return lambda rows=None, **options: asking.request(tmp_path, base, rows, **options)


@pytest.fixture
def again(ask: Ask, finished_alone: Path, tmp_path: Path) -> Ask:
    """A function that requests the same training with changes, in a copy of the folder."""
    shutil.copytree(finished_alone, tmp_path / "out")
    return lambda rows=None, **options: ask(rows, **{"max_steps": 1, "holdout": 0.3, **options})


def trained(request: TrainingRequest) -> dict[str, Any]:
    return train_alone(request, StopRequest())


def refused(request: TrainingRequest) -> str:
    with pytest.raises(TrainingRefusal) as refusal:
        trained(request)
    return refusal.value.message


def files(out: Path) -> dict[str, str]:
    """Returns the hash of each file in `out`, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir() if path.is_file()}


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft 0.21 with transformers 5
def test_rows_become_an_adapter_that_loads_with_all_that_is_known_about_it(finished_alone, base):
    model = PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(base), finished_alone)

    assert any(bool(weight.any()) for name, weight in model.named_parameters() if "lora_B" in name)
    assert set(files(finished_alone)) >= {"metrics.jsonl", "training.json", "scores.json", "curves.png"}
    assert (finished_alone / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_finished_is_left_as_it_is_and_summed_up(again, finished_alone):
    request = again()
    before = {path: path.stat().st_mtime_ns for path in request.out.iterdir()}

    summary = trained(request)

    assert {path: path.stat().st_mtime_ns for path in request.out.iterdir()} == before
    assert summary["finished_before"]
    assert summary["final"] == tiny.lines(finished_alone / "metrics.jsonl")[-1]
    assert summary["scores"] == tiny.document(finished_alone / "scores.json")
    counts = summary["rows"]
    assert counts["holdout"]["desirable"] + counts["holdout"]["undesirable"] == summary["scores"]["rows"]
    assert sum(counts[side][label] for side in counts for label in ("desirable", "undesirable")) == 40
    assert json.loads(json.dumps(summary)) == summary


def test_full_fine_tuning_leaves_a_folder_that_loads_by_itself(again):
    request = again(method="full", restart=True, evaluate=False)

    summary = trained(request)

    assert summary["kind"] == "weights"
    assert transformers.AutoModelForCausalLM.from_pretrained(request.out).config.model_type == "llama"
    assert transformers.AutoTokenizer.from_pretrained(request.out)("a").input_ids
    # A restart removes the results of the earlier training.
    assert not {"adapter_config.json", "adapter_model.safetensors", "scores.json"} & set(files(request.out))


def test_a_large_file_that_is_put_twice_leaves_nothing_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "LARGE_BYTES", 1)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"weights")

    folder._put(source, target)
    folder._put(source, target)

    assert {path.name for path in tmp_path.iterdir()} == {"source", "target"}


def test_what_was_not_evaluated_can_be_later(again):
    request = again()
    for name in ("scores.json", "work/scores.json"):
        (request.out / name).unlink()
    assert trained(again(evaluate=False))["scores"] is None

    later = trained(request)

    assert later["scores"]["rows"] > 0
    assert not later["finished_before"]


@pytest.mark.trial
def test_what_was_interrupted_ends_with_the_same_bits(ask):
    whole, parts = ask(out="whole", evaluate=False), ask(out="parts", evaluate=False)
    trained(whole)

    with pytest.raises(Stopped):
        train_alone(parts, tiny.StopAfterSteps(parts.out / "work", 2))
    assert list(parts.out.glob("work/state/step-*"))
    assert not files(parts.out)
    trained(parts)

    assert files(parts.out)["adapter_model.safetensors"] == files(whole.out)["adapter_model.safetensors"]


def test_a_sweep_scores_the_reference_once(ask, finished_alone):
    request = ask(max_steps=1, holdout=0.3, evaluate=False, beta=0.3, out="swept", reuse=[finished_alone])

    trained(request)

    earlier, swept = (tiny.document(out / "training.json")["reference"] for out in (finished_alone, request.out))
    assert earlier["scored"] > 0
    assert swept == {"scored": 0, "cached": earlier["scored"]}


def test_a_folder_in_which_no_reference_was_scored_cannot_be_reused(ask, tmp_path):
    message = refused(ask(reuse=[tmp_path]))

    assert message.startswith(f"--reuse {tmp_path} holds no work/reference.safetensors: name the --out of an earlier")
    assert not (tmp_path / "out").exists()


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "recipe": ({"beta": 0.3, "lora": {"rank": 8, "alpha": 8}}, r"\(beta is 0\.3, not 0\.1; lora\.rank is 8, not 4\)"),
    "holdout": ({"holdout": 0.2}, r"\(--holdout is 0\.2, not 0\.3\)"),
    "data": ({"rows": pairs()}, r"\(the content of rows\.jsonl\)"),
    "more files": ({"data": [Path(__file__), Path(__file__)]}, r"\(--data names 2 files, not 1\)"),
}


@pytest.mark.parametrize(("options", "changed"), CHANGES.values(), ids=CHANGES)
def test_another_training_is_not_begun_where_one_was(again, options, changed):
    request = again(**options)
    before = files(request.out)

    message = refused(request)

    assert re.search(changed, message), message
    assert message.endswith("name another folder, or add --restart to train again")
    assert files(request.out) == before


def test_another_model_is_not_trained_on_where_one_was(again, tmp_path):
    other = tiny.save_model(tmp_path / "other", chat=True, seed=5)

    assert "(the weights of --model)" in refused(again(model=other))


def test_a_restart_that_is_refused_keeps_the_training_before(again):
    request = again([], restart=True)
    before = files(request.out)

    refused(request)

    assert files(request.out) == before


def test_the_next_round_continues_the_adapter_of_the_last(ask, finished_alone):
    second = ask(reference=finished_alone, max_steps=1, evaluate=False)

    trained(second)

    job = tiny.document(second.out / "work" / "job.json")
    assert job["reference"]["fingerprint"] == tiny.document(finished_alone / "training.json")["weights_sha256"]
    assert tiny.lines(second.out / "metrics.jsonl")[0]["reward_desirable"] == 0


def test_an_objective_of_pairs_trains_on_them(ask):
    summary = trained(ask(pairs(), objective="dpo", max_steps=1, holdout=0))

    assert summary["pairs"] == {"train": 24, "holdout": 0}
    assert summary["scores"] is None


def test_a_holdout_that_no_prompt_fell_into_is_said(ask):
    summary = trained(ask([{**row, "prompt": f"{n % 2}"} for n, row in enumerate(tiny.text_rows())], max_steps=1))

    assert summary["scores"] is None
    assert any("no prompt fell into the holdout" in warning for warning in summary["warnings"])


def test_a_chat_without_a_chat_template_is_refused_with_its_first_row(ask, tmp_path):
    message = refused(ask(tiny.chat_rows(30), model=tiny.save_model(tmp_path / "bare"), holdout=0))

    assert message.startswith("rows.jsonl line 1 is a chat, the tokenizer of --model")
    assert "add chat_template.jinja" in message


REAL = Path(__file__).parents[3] / "shared" / "data"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real rows and models are not beside the repository")
@pytest.mark.parametrize(("rows", "objective"), [("unpaired", "kto"), ("pairs", "dpo")])
@pytest.mark.trial
def test_real_rows_train_a_real_model(tmp_path, rows, objective):
    request = TrainingRequest(
        data=(REAL / "trl" / f"hh_harmless.{rows}.eval.jsonl.gz",),
        model=REAL / "models" / "stories260K",
        out=tmp_path / "out",
        changes={**SMALL, "objective": objective, "max_steps": 1, "max_length": 512},
        evaluate=False,
    )

    summary = trained(request)

    assert summary["steps"] == 1
    assert summary["rows_dropped"] == 0
