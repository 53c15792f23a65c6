"""Drift during training: its measurement, and that it does not change the training."""

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.trainer import tiny
from worker.generation.prompts import chosen_rows
from worker.generation.sampler import Request, Sampler
from worker.generation.ways import PADDED
from worker.training.data.rows import read_rows
from worker.training.forward.logprobs import Reading
from worker.training.job import read_job
from worker.training.machine.process import Stopped, StopRequest, TrainingRefusal
from worker.training.machine.ranks import Ranks
from worker.training.models import adapters
from worker.training.models import policy as models
from worker.training.prepare import prepared
from worker.training.train import train
from worker.training.training_run import TrainingRun
from worker.training.watch.drift import DriftChecks, StartingWeights, check_steps, put_in
from worker.training.watch.journal import Journal
from worker.training.watch.kl_estimate import drift_of_tokens

CPU = torch.device("cpu")
CHECKED: dict[str, Any] = {"drift": {"checks": 4, "prompts": 6, "max_new_tokens": 6}}
FIGURES = ("kl_nats_per_token", "sampled_length_median", "reference_length_median")


def checks(workdir: Path) -> dict[int, tuple[float, ...]]:
    lines = tiny.lines(workdir / "metrics.jsonl")
    assert all((line[FIGURES[0]] is None) == (line[FIGURES[1]] is None) == (line[FIGURES[2]] is None) for line in lines)
    return {line["step"]: tuple(line[name] for name in FIGURES) for line in lines if line[FIGURES[0]] is not None}


def digest(workdir: Path) -> str:
    return str(tiny.document(workdir / "training.json")["weights_sha256"])


@pytest.fixture(scope="module", params=["full", "lora"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory, base: Path, adapter: Path, method: str) -> Path:
    """The WORKDIR of a whole run over a shipped adapter, with four checks."""
    workdir = tmp_path_factory.mktemp("checked") / "w"
    train(tiny.stage(workdir, base, tiny.text_rows(), adapter=adapter, method=method, **CHECKED))
    return workdir


def test_checks_are_spread_evenly_and_the_last_is_after_the_last_step() -> None:
    assert check_steps(100, 4) == {25, 50, 75, 100}
    assert check_steps(6, 4) == {2, 3, 5, 6}
    assert check_steps(3, 10) == {1, 2, 3}
    assert check_steps(7, 1) == {7}
    assert check_steps(7, 0) == set()


def test_training_does_not_notice_that_its_drift_is_measured(
    finished_run: Callable[..., Path], method: str, checked: Path
) -> None:
    workdir = finished_run(method, on_adapter=True)

    assert digest(workdir) == digest(checked)
    assert checks(workdir) == {}
    assert not (workdir / "drift.json").exists()
    assert sorted(checks(checked)) == [2, 3, 5, 6]


def test_the_figures_are_those_of_samples_of_the_trained_policy(
    base: Path, adapter: Path, method: str, checked: Path
) -> None:
    # given the last checkpoint of the run and the shipped one, each loaded separately
    job = read_job(checked)
    tokens = models.load_tokens(base)
    rows = read_rows(checked / "snapshot", job.shards_of("train"), tokens, 64).rows
    shipped = adapters.load_adapter(models.load_weights(base, torch.float32, CPU), adapter)
    if method == "lora":
        trained = adapters.load_adapter(models.load_weights(base, torch.float32, CPU), checked / "output")
    else:
        trained = models.load_weights(checked / "output", torch.float32, CPU)

    def drawn(model: Any) -> list[Any]:
        prompts = [row.prompt for row in chosen_rows(rows, 6, job.recipe.seed)]
        requests = [Request(prompt, 1.0, 6, stream) for stream, prompt in enumerate(prompts)]
        completions = Sampler(model, PADDED, tokens.ends, rows_at_once=4, seed=job.recipe.seed).write(requests)
        return [(prompt, written.tokens) for prompt, written in zip(prompts, completions, strict=True)]

    # when each model samples, and both score the samples of the trained one
    samples = drawn(trained)
    with torch.no_grad():
        policy_N, reference_N = (
            np.concatenate([Reading.plain(model).read([pair])[0].lp_N.numpy() for pair in samples])
            for model in (trained, shipped)
        )

    kl, sampled, reference = checks(checked)[6]
    assert kl == pytest.approx(float(drift_of_tokens(policy_N, reference_N).mean()), rel=1e-3)
    assert kl > 1e-3
    assert sampled == np.median([len(completion) for _, completion in samples])
    assert reference == np.median([len(completion) for _, completion in drawn(shipped)])


def test_a_policy_that_did_not_move_has_not_drifted(tmp_path: Path, base: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), learning_rate=1e-12, max_steps=1, **CHECKED)

    train(workdir)

    kl, sampled, reference = checks(workdir)[1]
    assert kl < 1e-9
    assert sampled == reference


@pytest.mark.trial
def test_a_run_stopped_again_and_again_reports_the_same_numbers(
    tmp_path: Path, base: Path, adapter: Path, method: str, checked: Path
) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), adapter=adapter, method=method, **CHECKED)
    stops = in_check = 0
    for looks in range(4, 200, 5):
        try:
            train(workdir, tiny.StopAfter(looks))
            break
        except Stopped:
            stops += 1
            states = sorted((workdir / "state").glob("step-*"))
            in_check += bool(states) and tiny.document(states[-1] / "state.json")["unfinished"] is not None

    assert (stops > 5, in_check > 1) == (True, True)
    assert checks(workdir) == checks(checked)
    assert digest(workdir) == digest(checked)


def test_a_run_killed_without_notice_reports_the_same_numbers(
    tmp_path: Path, base: Path, adapter: Path, method: str, checked: Path
) -> None:
    # given the files of a run that died after its fifth step, with its last state from the fourth
    workdir = tmp_path / "w"
    shutil.copytree(checked, workdir, symlinks=True)
    (workdir / "training.json").unlink()
    shutil.rmtree(workdir / "output")
    whole = (workdir / "metrics.jsonl").read_text().splitlines(keepends=True)
    (workdir / "metrics.jsonl").write_text("".join(whole[:5]) + whole[5][:20])
    modified = (workdir / "drift.json").stat().st_mtime_ns

    train(workdir)

    assert checks(workdir) == checks(checked)
    assert digest(workdir) == digest(checked)
    assert (workdir / "drift.json").stat().st_mtime_ns == modified


def test_a_file_of_other_weights_is_written_again(tmp_path: Path) -> None:
    ours, theirs = tiny.model(seed=0), tiny.model(seed=1)
    path = tmp_path / "start.safetensors"

    StartingWeights(models.trained_weights(theirs), path, reference="theirs", writes=True)
    StartingWeights(models.trained_weights(ours), path, reference="ours", writes=False)
    assert torch.equal(load_file(path)["model.norm.weight"], theirs.model.norm.weight)
    StartingWeights(models.trained_weights(ours), path, reference="ours", writes=True)
    assert torch.equal(load_file(path)["lm_head.weight"], ours.lm_head.weight)

    path.write_bytes(path.read_bytes()[:100])
    start = StartingWeights(models.trained_weights(ours), path, reference="ours", writes=True)
    assert {name for name, _ in start.values()} == set(models.trained_weights(ours))


def test_a_model_stored_in_bfloat16_takes_half_the_room_and_loses_nothing(tmp_path: Path) -> None:
    policy = tiny.model().to(torch.bfloat16).float()
    weights = models.trained_weights(policy)

    start = StartingWeights(weights, tmp_path / "start.safetensors", reference="a", writes=True)

    assert {value.dtype for _, value in start.values()} == {torch.bfloat16}
    assert all(torch.equal(value.float(), weights[name]) for name, value in start.values())


@pytest.mark.parametrize("in_file", [True, False])
def test_the_reference_is_put_in_and_the_policy_comes_back_untouched(tmp_path: Path, in_file: bool) -> None:
    policy = tiny.model("qwen2")  # with tied embeddings
    weights = models.trained_weights(policy)
    start = StartingWeights(weights, tmp_path / "start.safetensors" if in_file else None, reference="a", writes=True)
    at_first = {name: weight.detach().clone() for name, weight in weights.items()}
    with torch.no_grad():
        for weight in weights.values():
            weight.add_(1e-3 * torch.rand_like(weight))
    trained = {name: weight.detach().clone() for name, weight in weights.items()}
    addresses = {name: weight.data_ptr() for name, weight in weights.items()}

    def score() -> None:
        with put_in(weights, start.values()):
            assert all(torch.equal(weight, at_first[name]) for name, weight in weights.items())
            assert policy.lm_head.weight.data_ptr() == policy.model.embed_tokens.weight.data_ptr()
            raise Stopped

    with pytest.raises(Stopped):
        score()

    assert all(torch.equal(weight, trained[name]) for name, weight in weights.items())
    assert {name: weight.data_ptr() for name, weight in weights.items()} == addresses


@pytest.fixture
def watched(tmp_path: Path, base: Path) -> tuple[DriftChecks, Any]:
    """Returns a drift that has begun, over four steps, and its policy."""
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), max_steps=4, **CHECKED)
    job = read_job(workdir)
    start = prepared(job, Ranks())
    with closing(Journal(workdir)) as journal:
        begun = DriftChecks(TrainingRun.planned(job, start, journal, Ranks(), StopRequest()))
        begun.begin()
        return begun, start.policy


def test_measuring_leaves_model_and_random_state_as_they_were(watched: tuple[DriftChecks, Any]) -> None:
    begun, policy = watched
    before, own = torch.random.get_rng_state(), policy.generation_config
    policy(input_ids=torch.zeros((1, 3), dtype=torch.int64)).logits.sum().backward()

    begun.after(1)

    assert torch.equal(torch.random.get_rng_state(), before)
    assert policy.generation_config is own
    assert all(weight.grad is None for weight in policy.parameters())


def test_a_policy_of_nan_is_refused_by_name_of_the_step(watched: tuple[DriftChecks, Any]) -> None:
    begun, policy = watched
    with torch.no_grad():
        policy.lm_head.weight.fill_(float("nan"))

    with pytest.raises(TrainingRefusal, match=r"step 2: log-probs of completions that the policy sampled are NaN"):
        begun.after(2)


def test_the_expected_drift_is_the_divergence_and_no_token_counts_below_zero() -> None:
    generator = np.random.default_rng(0)
    p, q = (values / values.sum() for values in generator.random((2, 50)))

    drift = drift_of_tokens(np.log(p), np.log(q))

    assert (drift >= 0).all()
    assert (p * drift).sum() == pytest.approx((p * np.log(p / q)).sum())
