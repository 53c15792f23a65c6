"""A damaged file is noticed before it is used: what a run can make again is made again, what others prepared is
refused.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from app.durable import write_atomically
from tests.trainer import asking, tiny
from worker.evaluation.score import score
from worker.training import saved_state
from worker.training.files import sealed as sealed_files
from worker.training.files.sealed import (
    DamagedFile,
    is_sound,
    read,
    read_cache,
    seal_of,
    verify,
    write_seal,
    write_sealed,
)
from worker.training.job import read_job
from worker.training.machine.process import REFUSED, StopRequest, TrainingRefusal
from worker.training.standalone.training import train_alone
from worker.training.train import is_finished, train

pytestmark = pytest.mark.xdist_group("training alone")

Damage = Callable[[bytes], bytes]

#: Recipe of three steps of full weights, with a measurement of drift after each.
JOB: dict[str, Any] = {
    "max_steps": 3, "save_every_steps": 1, "drift": {"checks": 3, "prompts": 2, "max_new_tokens": 3},
    "micro_batch_size": "auto", "evaluation": {"kl_prompts": 2, "kl_max_new_tokens": 3, "bootstrap": 100},
}  # fmt: skip


def one_bit(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[len(changed) * 3 // 4] ^= 1
    return bytes(changed)


def one_byte(content: bytes) -> bytes:
    changed = bytearray(content)
    changed[-3] ^= 0xFF
    return bytes(changed)


def cut_short(content: bytes) -> bytes:
    return content[: len(content) // 2]


DAMAGES = (one_bit, one_byte, cut_short)


def spoil(path: Path, damage: Damage) -> None:
    """Replaces a file by a new one, since others may be links to it."""
    content = damage(path.read_bytes())
    path.unlink()
    path.write_bytes(content)


def staged(workdir: Path, base: Path) -> Path:
    return tiny.stage(workdir, base, tiny.text_rows(), tiny.text_rows(6, seed=9), **JOB)


def results(workdir: Path) -> tuple[str, list[float]]:
    """Returns the result of a run: the hash of its weights, and the drift of each step."""
    steps = tiny.lines(workdir / "metrics.jsonl")
    return tiny.document(workdir / "training.json")["weights_sha256"], [line["kl_nats_per_token"] for line in steps]


def warned(workdir: Path) -> list[str]:
    codes = ("file_damaged", "state_damaged")
    return [line["message"] for line in tiny.lines(workdir / "warnings.jsonl") if line["code"] in codes]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """The WORKDIR of an undisturbed run, scored."""
    torch.set_num_threads(1)
    workdir = staged(tmp_path_factory.mktemp("calm") / "w", base)
    train(workdir)
    score(workdir)
    return workdir


@pytest.fixture
def workdir(tmp_path: Path, calm: Path) -> Path:
    """Returns the folder of a run that was killed after its last step: two training checkpoints, and no result."""
    workdir = Path(shutil.copytree(calm, tmp_path / "w"))
    shutil.rmtree(workdir / "output")
    for name in ("output.sha256", "training.json", "training.json.sha256"):
        (workdir / name).unlink()
    assert len(list(workdir.glob("state/step-*"))) == 2
    return workdir


# -- seals ------------------------------------------------------------------------------------------------------------


def test_any_bit_of_a_file_or_of_its_seal_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    write_sealed(path, b'{"length": 3}')

    for spoilt in (path, seal_of(path)):
        content = spoilt.read_bytes()
        for bit in range(8 * len(content)):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            spoilt.write_bytes(changed)
            with pytest.raises(DamagedFile):
                read(path)
        assert not is_sound(path)
        assert read_cache(path) is None
        for length in range(len(content)):
            spoilt.write_bytes(content[:length])
            with pytest.raises(DamagedFile):
                read(path)
        spoilt.write_bytes(content)
    assert read(path) == read_cache(path) == b'{"length": 3}'


def test_a_missing_file_of_a_sealed_folder_is_noticed(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    for name in ("config.json", "model.safetensors"):
        (output / name).write_text(name)
    write_seal(seal_of(output), output.iterdir())
    assert verify(seal_of(output))

    (output / "config.json").unlink()

    with pytest.raises(DamagedFile, match=r"config\.json is damaged \(it is missing\)"):
        verify(seal_of(output))


def test_a_seal_is_what_sha256sum_checks(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a file.json", b"{}")

    done = subprocess.run(
        ["sha256sum", "--check", "a file.json.sha256"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "a file.json: OK\n")


def test_a_kill_while_a_file_is_replaced_leaves_no_false_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "recipe.json"
    write_sealed(path, b"old")
    written: list[str] = []

    def killed_before(number: int) -> Callable[[Path, bytes], None]:
        def write(target: Path, content: bytes) -> None:
            if len(written) == number:
                raise KeyboardInterrupt
            written.append(target.name)
            write_atomically(target, content)

        return write

    for number, content in ((0, b"old"), (1, b"new")):
        written.clear()
        monkeypatch.setattr(sealed_files, "write_atomically", killed_before(number))
        with pytest.raises(KeyboardInterrupt):
            write_sealed(path, b"new")
        assert read(path) == content
        assert read_cache(path) is None


# -- files that a run writes again ------------------------------------------------------------------------------------

CACHES = (
    "tokens.safetensors", "tokens-holdout.safetensors", "reference.safetensors", "start.safetensors", "drift.json",
    "micro-batch.json",
)  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_caches_are_made_again_to_the_results_of_an_undisturbed_run(
    workdir: Path, calm: Path, damage: Damage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given the same free memory when the micro-batch is measured again
    monkeypatch.setattr(
        "worker.training.prepare.free_bytes",
        lambda _: tiny.document(calm / "micro-batch.json")["measured"]["bytes_free"],
    )
    for name in CACHES:
        spoil(workdir / name, damage)

    train(workdir)

    assert results(workdir) == results(calm)
    assert [sum(f"/{name} is damaged" in line for line in warned(workdir)) for name in CACHES] == [1] * len(CACHES)
    assert all(verify(seal_of(workdir / name)) for name in CACHES)


#: Each file of a training checkpoint and of a result, with the damage after which the run goes on to its end.
IN_CHECKPOINTS = list(
    zip(("weights.safetensors", "optimizer.safetensors", "state.json", "files.sha256"), cycle(DAMAGES))
)
IN_RESULTS = list(
    zip(("training.json", "output/model.safetensors", "output/config.json", "output.sha256"), cycle(DAMAGES))
)


@pytest.mark.parametrize(("file", "damage"), IN_CHECKPOINTS)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(workdir: Path, calm: Path, file: str, damage: Damage) -> None:
    before, newest = sorted(workdir.glob("state/step-*"))
    spoil(newest / file, damage)

    train(workdir)

    assert results(workdir) == results(calm)
    [message] = warned(workdir)
    assert f"{newest.name} in {workdir / 'state'} did not verify" in message
    assert before.is_dir()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", [file for file, _ in IN_CHECKPOINTS])
def test_whatever_the_damage_of_a_checkpoint_the_one_before_is_loaded(workdir: Path, file: str, damage: Damage) -> None:
    before, newest = sorted(workdir.glob("state/step-*"))
    spoil(newest / file, damage)
    there = load_file(before / "weights.safetensors")
    weights = {name: torch.nn.Parameter(torch.zeros_like(weight)) for name, weight in there.items()}
    size = tiny.document(before / "state.json")["micro_batch_size"]

    position, passed_over = saved_state.resume(
        workdir / "state", read_job(workdir).identity, weights, torch.optim.AdamW(weights.values()), size
    )

    assert position is not None
    assert (f"step-{position.step:06d}", passed_over) == (before.name, [newest.name])
    assert all(torch.equal(weight, there[name]) for name, weight in weights.items())


def test_checkpoints_of_micro_batches_of_another_size_are_not_continued(
    workdir: Path, calm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a machine that has less memory free when a damaged micro-batch.json is measured again
    measured = tiny.document(calm / "micro-batch.json")["measured"]
    monkeypatch.setattr("worker.training.prepare.free_bytes", lambda _: int(measured["bytes_needed"]))
    spoil(workdir / "micro-batch.json", one_byte)

    train(workdir)

    assert tiny.document(workdir / "micro-batch.json")["measured"]["micro_batch_size"] < measured["micro_batch_size"]
    assert [line["step"] for line in tiny.lines(workdir / "metrics.jsonl")] == [1, 2, 3]
    assert any("begins again" in message for message in warned(workdir))


@pytest.mark.parametrize(("file", "damage"), IN_RESULTS)
def test_a_damaged_result_is_made_again_from_the_last_checkpoint(
    tmp_path: Path, calm: Path, file: str, damage: Damage
) -> None:
    workdir = Path(shutil.copytree(calm, tmp_path / "w"))
    spoil(workdir / file, damage)

    train(workdir)

    assert results(workdir) == results(calm)
    assert verify(seal_of(workdir / "output"))
    assert json.loads(read(workdir / "training.json"))["weights_sha256"] == results(calm)[0]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", [file for file, _ in IN_RESULTS])
def test_whatever_the_damage_of_a_result_the_run_is_not_finished(
    tmp_path: Path, calm: Path, file: str, damage: Damage
) -> None:
    workdir = Path(shutil.copytree(calm, tmp_path / "w"))
    assert is_finished(read_job(workdir))

    spoil(workdir / file, damage)

    assert not is_finished(read_job(workdir))


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_the_scorer_refuses_a_damaged_checkpoint(tmp_path: Path, calm: Path, file: str) -> None:
    workdir = Path(shutil.copytree(calm, tmp_path / "w"))
    spoil(workdir / "output" / file, one_bit)

    with pytest.raises(TrainingRefusal, match=rf"output/{file} is damaged .* run the trainer again"):
        score(workdir)


def test_log_probs_of_earlier_runs_are_not_taken_out_of_damaged_files(tmp_path: Path, base: Path, calm: Path) -> None:
    workdir = staged(tmp_path / "w", base)
    for name in ("micro-batch.json", "micro-batch.json.sha256"):
        shutil.copy(calm / name, workdir / name)
    (workdir / "scored-before").mkdir()
    damaged = {damage: workdir / "scored-before" / f"{damage.__name__}.safetensors" for damage in DAMAGES}
    for damage, before in damaged.items():
        write_sealed(before, (calm / "reference.safetensors").read_bytes())
        spoil(before, damage)

    train(workdir)

    assert results(workdir) == results(calm)
    assert tiny.document(workdir / "training.json")["reference"]["cached"] == 0
    for before in damaged.values():
        assert any(f"{before.name} is damaged" in message for message in warned(workdir))


# -- files that others prepared ---------------------------------------------------------------------------------------

INPUTS = (
    "job.json", "recipe.json", "snapshot/manifest.json", "snapshot/train-0.parquet", "snapshot/holdout-0.parquet",
    "reference/adapter_config.json", "reference/adapter_model.safetensors", "base/model.safetensors",
)  # fmt: skip


@pytest.fixture
def prepared(tmp_path: Path, base: Path, adapter: Path) -> Path:
    """A WORKDIR with its own base model and adapter, sealed as by the service."""
    own = Path(shutil.copytree(base, tmp_path / "w" / "base"))
    workdir = tiny.stage(
        tmp_path / "w", own, tiny.text_rows(), tiny.text_rows(6, seed=9), adapter=adapter, method="lora", max_steps=1
    )
    (workdir / "reference").unlink()
    shutil.copytree(adapter, workdir / "reference")
    write_seal(seal_of(workdir / "reference"), [workdir / "reference" / "adapter_config.json"])
    for name in ("job.json", "recipe.json", "snapshot/manifest.json"):
        write_seal(seal_of(workdir / name), [workdir / name])
    read_job(workdir)
    return workdir


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", INPUTS)
def test_a_damaged_input_is_refused_by_name_with_a_remedy(prepared: Path, file: str, damage: Damage) -> None:
    spoil(prepared / file, damage)

    with pytest.raises(TrainingRefusal) as refusal:
        read_job(prepared)

    path = Path(file)
    name = path.name if path.parts[0] != "base" and path.suffix != ".safetensors" else str(prepared / path.parts[0])
    assert name in refusal.value.message
    assert "stage" in refusal.value.message or "restore those weights" in refusal.value.message
    assert "\n" not in refusal.value.message


def test_a_process_with_a_damaged_input_says_one_sentence_and_ends_with_2(prepared: Path) -> None:
    spoil(prepared / "job.json", cut_short)

    done = subprocess.run(
        [sys.executable, "-m", "worker.training.train", prepared], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (REFUSED, "")
    assert done.stderr == (
        f"{prepared / 'job.json'} is damaged (its content differs from its SHA-256): stage the job again; if you "
        "changed the file yourself, remove job.json.sha256\n"
    )
    assert tiny.document(prepared / "failure.json")["code"] == "job_damaged"


def test_a_job_without_seals_is_taken_as_it_is(tmp_path: Path, base: Path) -> None:
    workdir = staged(tmp_path / "w", base)

    assert not list(workdir.rglob("*.sha256"))
    assert read_job(workdir).run_id == "r1"


# -- a training without a service -------------------------------------------------------------------------------------


@pytest.fixture
def again(finished_alone: Path, tmp_path: Path, base: Path) -> Callable[..., dict[str, Any]]:
    """Requests the same training in a copy of its folder."""
    shutil.copytree(finished_alone, tmp_path / "out")

    def ask(**options: Any) -> dict[str, Any]:
        return train_alone(asking.request(tmp_path, base, None, max_steps=1, holdout=0.3, **options), StopRequest())

    return ask


@pytest.mark.parametrize("damage", [*DAMAGES, lambda _: b""])
@pytest.mark.parametrize("sealed", [True, False])
def test_a_damaged_request_is_refused_in_a_sentence(
    again: Callable[..., dict[str, Any]], tmp_path: Path, damage: Damage, sealed: bool
) -> None:
    request = tmp_path / "out" / "work" / "request.json"
    if not sealed:  # as in older versions
        seal_of(request).unlink()
        damage = cut_short
    spoil(request, damage)

    with pytest.raises(
        TrainingRefusal, match=r"^--out .*/work/request\.json is damaged \(.*\): name another folder, or add"
    ):
        again()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    "file", ["adapter_model.safetensors", "adapter_config.json", "scores.json", "training.json", "work/scores.json"]
)
def test_a_finished_training_with_a_damaged_file_is_made_whole(
    again: Callable[..., dict[str, Any]], finished_alone: Path, tmp_path: Path, file: str, damage: Damage
) -> None:
    spoil(tmp_path / "out" / file, damage)

    assert again()["finished_before"] is False

    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (finished_alone / name).read_bytes()
    there, before = (tiny.document(out / "scores.json") for out in (tmp_path / "out", finished_alone))
    for scores in (there, before):
        del scores["seconds"], scores["samples"]["seconds"], scores["samples"]["tokens_per_second"]
    assert there == before
    assert again()["finished_before"] is True


def test_a_training_whose_job_is_damaged_is_refused_and_can_be_begun_again(
    again: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    work = tmp_path / "out" / "work"
    seal_of(work / "training.json").unlink()
    for file in ("recipe.json", "snapshot/train-text.parquet", "request.json"):
        whole = (work / file).read_bytes()
        spoil(work / file, one_bit)
        with pytest.raises(TrainingRefusal, match=r"(is damaged|another sha256).*--restart"):
            again()
        if file != "request.json":
            (work / file).write_bytes(whole)

    assert again(restart=True)["finished_before"] is False
