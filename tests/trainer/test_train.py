"""Whole runs over a WORKDIR in this process: their learning, their reference and their files."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from thumbwheel.wire.recipe import Recipe
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.trainer import tiny
from worker.training.data import batches
from worker.training.data.rows import Row, read_rows
from worker.training.files.fingerprint import weights_fingerprint
from worker.training.forward.logprobs import Reading
from worker.training.job import read_job
from worker.training.machine.process import TrainingRefusal
from worker.training.models import adapters
from worker.training.models import policy as models
from worker.training.objectives import OBJECTIVES, LogProbs
from worker.training.reference import ReferenceScores, matched, mismatched, reference_fingerprint
from worker.training.train import train

CPU = torch.device("cpu")


def rows_and_plan(workdir: Path) -> tuple[list[Row], batches.BatchPlan]:
    job = read_job(workdir)
    tokens = models.load_tokens(job.base)
    rows = read_rows(workdir / "snapshot", job.shards_of("train"), tokens, job.recipe.max_length).rows
    return rows, batches.plan(rows, job.recipe.micro_batch_size, even_classes=False, seed=job.recipe.seed)


def plain_log_prob(model: Any, pair: tuple[Any, Any]) -> torch.Tensor:
    """Returns lp(y|x) of one row, from all logits and in the model's precision."""
    prompt, completion = pair
    ids = torch.from_numpy(np.concatenate([prompt, completion])).long()[None]
    log_probs = torch.log_softmax(model(input_ids=ids).logits[0], dim=-1)
    positions = range(len(prompt), ids.shape[1])
    return torch.stack([log_probs[position - 1, ids[0, position]] for position in positions]).sum()


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("shipped", ["base", "adapter"])
def test_the_first_step_starts_at_the_shipped_checkpoint(
    finished_run: Callable[..., Path], method: str, shipped: str
) -> None:
    workdir = finished_run(method, on_adapter=shipped == "adapter")

    first, *_, last = tiny.lines(workdir / "metrics.jsonl")
    assert (first["step"], first["total_steps"], first["epoch"], last["step"], last["epoch"]) == (1, 6, 1, 6, 2)
    assert first["z0"] == first["z0_raw"] == first["reward_desirable"] == first["reward_undesirable"] == 0
    assert (first["loss_desirable"], first["loss_undesirable"]) == (0.75, 0.5)
    assert last["margin"] > 0.05
    summary = tiny.document(workdir / "training.json")
    assert summary["kind"] == ("adapter" if method == "lora" else "weights")
    assert summary["weights_sha256"] == weights_fingerprint(workdir / "output")
    assert summary["final"] == last
    assert (summary["rows_trained"], summary["steps"], summary["epochs"]) == (22, 6, 2)


def test_the_reference_is_the_shipped_adapter_and_not_the_bare_base(
    finished_run: Callable[..., Path], base: Path, adapter: Path
) -> None:
    # given a shipped adapter whose update is not zero
    workdir = finished_run("lora", on_adapter=True)

    # then the cached log-probs equal those of the adapter for each single pair
    rows, plan = rows_and_plan(workdir)
    job = read_job(workdir)
    arithmetic = models.Arithmetic(CPU, torch.float32)
    cached = ReferenceScores.load(workdir / "reference.safetensors", reference_fingerprint(job, arithmetic, 64))
    online = adapters.load_adapter(models.load_weights(base, torch.float32, CPU), adapter)
    bare = models.load_weights(base, torch.float32, CPU)
    for block in plan.blocks:
        for pairs in (matched(rows, block), mismatched(rows, block, 64)):
            with torch.no_grad():
                expected = torch.stack([plain_log_prob(online, pair) for pair in pairs])
                without = torch.stack([plain_log_prob(bare, pair) for pair in pairs])
            torch.testing.assert_close(cached.log_probs(pairs, CPU), expected, rtol=1e-5, atol=1e-4)
            assert (without - expected).abs().min() > 1e-3


def test_lora_continues_the_shipped_adapter(tmp_path: Path, base: Path, adapter: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), adapter=adapter, method="lora", learning_rate=1e-6)

    train(workdir)

    shipped, trained = (load_file(f / "adapter_model.safetensors") for f in (adapter, workdir / "output"))
    assert shipped.keys() == trained.keys()
    moved = max(float((trained[name] - shipped[name]).abs().max()) for name in shipped)
    assert 0 < moved < 1e-4
    adapters.load_adapter(AutoModelForCausalLM.from_pretrained(base), workdir / "output")


def test_full_fine_tuning_merges_the_shipped_adapter_first(tmp_path: Path, base: Path, adapter: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), adapter=adapter, method="full", learning_rate=1e-9)

    train(workdir)

    rows, plan = rows_and_plan(workdir)
    sequences = matched(rows, plan.blocks[0])
    shipped = adapters.load_adapter(models.load_weights(base, torch.float32, CPU), adapter)
    trained = AutoModelForCausalLM.from_pretrained(workdir / "output")
    AutoTokenizer.from_pretrained(workdir / "output")
    with torch.no_grad():
        torch.testing.assert_close(
            Reading.plain(trained).read(sequences)[0].lp_B,
            Reading.plain(shipped).read(sequences)[0].lp_B,
            rtol=1e-5,
            atol=1e-4,
        )


def test_loss_reference_point_and_gradient_equal_a_plain_float64_computation(tmp_path: Path, base: Path) -> None:
    # given a block, a policy, and a reference with other weights
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows())
    recipe = read_job(workdir).recipe
    rows, plan = rows_and_plan(workdir)
    block = plan.blocks[0]
    own, others = matched(rows, block), mismatched(rows, block, 64)
    policy, reference = tiny.model(seed=0), tiny.model(seed=1)

    # when the trainer's parts compute it in float32
    with torch.no_grad():
        reference_B, reference_mismatched_B, policy_mismatched_B = (
            Reading.plain(model).read(pairs)[0].lp_B
            for model, pairs in ((reference, own), (reference, others), (policy, others))
        )
    losses = OBJECTIVES["kto"].loss(
        LogProbs(
            policy_B=Reading.plain(policy).read(own)[0].lp_B,
            reference_B=reference_B,
            tokens_B=torch.tensor([float(len(rows[row].completion)) for row in block.rows]),
            policy_mismatched_B=policy_mismatched_B,
            reference_mismatched_B=reference_mismatched_B,
            paired_B=torch.ones(len(own), dtype=torch.bool),
            desirable_B=torch.tensor([rows[row].desirable for row in block.rows]),
            weight_B=torch.ones(len(own)),
        ),
        recipe,
    )
    loss = losses.loss_B.sum() / len(own)
    loss.backward()

    # then a row-by-row computation in float64 agrees
    policy64, reference64 = tiny.model(seed=0).double(), tiny.model(seed=1).double()
    with torch.no_grad():
        ratios = [plain_log_prob(policy64, pair) - plain_log_prob(reference64, pair) for pair in others]
        z0 = torch.stack(ratios).mean().clamp(min=0)
    terms = []
    for pair, row in zip(own, block.rows, strict=True):
        r = plain_log_prob(policy64, pair) - plain_log_prob(reference64, pair).detach()
        good = rows[row].desirable
        value = torch.sigmoid(recipe.beta * ((r - z0) if good else (z0 - r)))
        terms.append((1.5 if good else 1.0) * (1 - value))
    expected = torch.stack(terms).mean()
    expected.backward()
    assert float(losses.z0) == pytest.approx(float(z0), rel=1e-6, abs=1e-5)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    gradients = [(a.grad.double(), b.grad) for a, b in zip(policy.parameters(), policy64.parameters(), strict=True)]
    size = sum(float((there**2).sum()) for _, there in gradients) ** 0.5
    apart = sum(float(((ours - there) ** 2).sum()) for ours, there in gradients) ** 0.5
    assert size > 1e-3
    assert apart / size < 1e-5


def test_accumulating_micro_batches_equals_one_large_batch_where_z0_is_the_same() -> None:
    # given 8 rows with equal mismatched log-ratios, so that any part has the same z0
    model = tiny.model()
    generator = np.random.default_rng(0)
    ids = generator.integers(0, 256, (8, 9)).astype(np.int32)
    pairs = [(row[:5], row[5:]) for row in ids]
    recipe = Recipe.model_validate(tiny.RECIPE)

    def gradient(parts: list[list[int]]) -> torch.Tensor:
        model.zero_grad()
        for part in parts:
            lp_B = Reading.plain(model).read([pairs[row] for row in part])[0].lp_B
            flat = torch.full_like(lp_B, 0.7)
            losses = OBJECTIVES["kto"].loss(
                LogProbs(
                    policy_B=lp_B,
                    reference_B=torch.full_like(lp_B, -20),
                    tokens_B=torch.ones(len(part)),
                    policy_mismatched_B=flat,
                    reference_mismatched_B=flat * 0,
                    paired_B=torch.ones(len(part), dtype=torch.bool),
                    desirable_B=torch.tensor([row % 4 == 0 for row in part]),
                    weight_B=torch.tensor([1.0 + row for row in part]),
                ),
                recipe,
            )
            (losses.loss_B.sum() / 8).backward()
        return torch.cat([weight.grad.flatten() for weight in model.parameters()])

    # then 4 × 2 and uneven parts, one of them of one class, give the gradient of 8
    whole = gradient([[*range(8)]])
    for parts in ([[0, 1], [2, 3], [4, 5], [6, 7]], [[0, 4], [1, 2, 3], [5, 6, 7]]):
        torch.testing.assert_close(gradient(parts), whole, rtol=1e-4, atol=1e-6)


def test_the_same_job_gives_the_same_bits_with_and_without_a_cached_reference(
    tmp_path: Path, finished_run: Callable[..., Path], base: Path
) -> None:
    workdir = Path(shutil.copytree(finished_run(), tmp_path / "a"))
    digest = tiny.document(workdir / "training.json")["weights_sha256"]

    # when it runs elsewhere, and again here over the cache of the first run
    again = tiny.stage(tmp_path / "b", base, tiny.text_rows())
    train(again)
    before = (workdir / "reference.safetensors").stat().st_mtime_ns
    shutil.rmtree(workdir / "output")
    shutil.rmtree(workdir / "state")
    (workdir / "training.json").unlink()
    train(workdir)

    assert tiny.document(again / "training.json")["weights_sha256"] == digest
    assert tiny.document(workdir / "training.json")["weights_sha256"] == digest
    assert (workdir / "reference.safetensors").stat().st_mtime_ns == before
    assert [line["step"] for line in tiny.lines(workdir / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]


def test_a_finished_job_is_left_as_it_is(tmp_path: Path, finished_run: Callable[..., Path]) -> None:
    workdir = Path(shutil.copytree(finished_run(), tmp_path / "w"))
    written = (workdir / "training.json").read_bytes()

    train(workdir)

    assert (workdir / "training.json").read_bytes() == written


def test_row_weights_scale_their_rows_and_a_weight_of_nothing_teaches_nothing(
    tmp_path: Path, finished_run: Callable[..., Path], base: Path
) -> None:
    rows = tiny.text_rows()
    light = [{**row, "weight": 0.5} for row in rows]
    silent = [{**row, "weight": 0.0} for row in rows]

    firsts = [tiny.lines(finished_run() / "metrics.jsonl")[0]]
    for name, given in (("half", light), ("none", silent)):
        workdir = tiny.stage(tmp_path / name, base, given, max_steps=1)
        train(workdir)
        firsts.append(tiny.lines(workdir / "metrics.jsonl")[0])

    one, half, none = firsts
    assert half["loss"] == pytest.approx(one["loss"] / 2)
    assert half["gradient_norm"] == pytest.approx(one["gradient_norm"] / 2, rel=1e-4)
    assert (none["loss"], none["gradient_norm"], none["loss_desirable"]) == (0, 0, None)


def test_batch_mode_gives_each_step_as_many_rows_of_either_class(tmp_path: Path, base: Path) -> None:
    rows = [{**row, "label": number < 4} for number, row in enumerate(tiny.text_rows(20))]
    workdir = tiny.stage(tmp_path / "w", base, rows, balance="batch", lambda_desirable=1.0, epochs=1)

    train(workdir)

    assert len(tiny.lines(workdir / "metrics.jsonl")) == 4  # 16 undesirable rows, 4 a step
    assert all(line["margin"] is not None for line in tiny.lines(workdir / "metrics.jsonl"))


def test_steps_of_one_class_are_legal(tmp_path: Path, base: Path) -> None:
    rows = [{**row, "label": number == 0} for number, row in enumerate(tiny.text_rows())]
    workdir = tiny.stage(tmp_path / "w", base, rows)

    train(workdir)

    steps = tiny.lines(workdir / "metrics.jsonl")
    assert any(step["loss_desirable"] is None and step["margin"] is None for step in steps)
    assert all(np.isfinite(step["loss"]) for step in steps)


def test_chat_rows_train_through_the_template(tmp_path: Path, base: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.chat_rows(), epochs=1)

    train(workdir)

    assert tiny.document(workdir / "training.json")["rows_trained"] == 12


def test_cut_and_dropped_rows_are_counted_and_said(tmp_path: Path, base: Path) -> None:
    rows = tiny.text_rows()
    rows[0]["completion"] = ""
    rows[1]["prompt"] = "x" * 500
    rows[2]["prompt"] = rows[3]["prompt"] = "y" * 100
    workdir = tiny.stage(tmp_path / "w", base, rows, epochs=1, max_length=1000, lambda_desirable=2.0)

    train(workdir)

    summary = tiny.document(workdir / "training.json")
    assert (summary["rows_trained"], summary["rows_dropped"], summary["rows_truncated"]) == (21, 1, 1)
    assert summary["tokens_cut"] > 370
    codes = {line["code"] for line in tiny.lines(workdir / "warnings.jsonl")}
    assert codes == {"context", "rows_dropped"}


def test_a_rate_that_is_too_high_is_diagnosed_once(tmp_path: Path, base: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), epochs=10, beta=0.3, lambda_desirable=0.1)

    train(workdir)

    codes = [line["code"] for line in tiny.lines(workdir / "warnings.jsonl")]
    assert codes.count("rewards_fall") == 1


def test_a_rate_that_is_too_low_is_diagnosed(tmp_path: Path, base: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), learning_rate=1e-9, epochs=7, lambda_desirable=2.0)

    train(workdir)

    assert [line["code"] for line in tiny.lines(workdir / "warnings.jsonl")] == ["nothing_learned"]


def test_a_number_that_is_not_finite_names_step_and_rows_and_keeps_the_batch(tmp_path: Path) -> None:
    # given a base model in which one token's embedding overflows, and one row that uses it
    folder = tiny.save_overflowing_model(tmp_path / "base")
    rows = tiny.text_rows()
    rows[5]["prompt"] = "A"
    workdir = tiny.stage(tmp_path / "w", folder, rows, epochs=1)

    with pytest.raises(TrainingRefusal, match=r"step \d+: .*NaN.*c5.*not-finite-step-") as refusal:
        train(workdir)

    assert refusal.value.code == "not_finite"
    [kept] = workdir.glob("not-finite-step-*.json")
    assert "c5" in {row["completion_id"] for row in tiny.document(kept)["rows"]}


@pytest.mark.parametrize("family", ["qwen2", "gemma2", "gpt2", "gpt_neox"])
@pytest.mark.parametrize("method", ["full", "lora"])
def test_every_family_trains_and_its_output_loads(tmp_path: Path, family: str, method: str) -> None:
    folder = tiny.save_model(tmp_path / "base", family)
    workdir = tiny.stage(tmp_path / "w", folder, tiny.text_rows(8), method=method, epochs=1)

    train(workdir)

    if method == "lora":
        adapters.load_adapter(models.load_weights(folder, torch.float32, CPU), workdir / "output")
    else:
        models.load_weights(workdir / "output", torch.float32, CPU)
    assert len(tiny.lines(workdir / "metrics.jsonl")) == 1


@pytest.mark.parametrize("method", ["full", "lora"])
def test_in_bfloat16_the_trained_weights_stay_float32(tmp_path: Path, base: Path, method: str) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), method=method, precision="bfloat16")

    train(workdir)

    first, *_, last = tiny.lines(workdir / "metrics.jsonl")
    assert first["z0"] == first["reward_desirable"] == 0
    assert last["margin"] > 0.05
    policy = models.load_policy(read_job(workdir), models.Arithmetic(CPU, torch.bfloat16))
    trained = models.trained_weights(policy).values()
    assert {weight.dtype for weight in trained} == {torch.float32}
    frozen = {weight.dtype for weight in policy.parameters() if not weight.requires_grad}
    assert frozen == ({torch.bfloat16} if method == "lora" else set())


def test_full_weights_are_saved_in_the_precision_that_the_base_is_stored_in(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    tiny.model().to(torch.bfloat16).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    workdir = tiny.stage(tmp_path / "w", folder, tiny.text_rows(), max_steps=1)

    train(workdir)

    assert {weight.dtype for weight in load_file(workdir / "output" / "model.safetensors").values()} == {torch.bfloat16}
