"""The size of the micro-batch is measured: its memory grows with its rows as predicted, and free memory decides."""

import errno
import resource
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from thumbwheel.wire.recipe import Recipe

from tests.trainer import tiny
from worker.evaluation.rows_at_once import RowsAtOnce
from worker.training.data.rows import Row
from worker.training.forward.logprobs import Reading
from worker.training.job import read_job
from worker.training.machine import free_memory, memory
from worker.training.machine.memory import MEASURED, SHARE, measured_micro_batch
from worker.training.machine.out_of_memory import is_disk_full, is_out_of_memory, smaller
from worker.training.machine.process import OUT_OF_MEMORY, TrainingRefusal
from worker.training.machine.ranks import Ranks
from worker.training.models import policy as models

CPU = models.Arithmetic(torch.device("cpu"), torch.float32)
MIB = 2**20
ALONE = Ranks()


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(
        {**tiny.RECIPE, "lambda_desirable": 1.0, "batch_size": 24, "micro_batch_size": "auto", **changes}
    )


def rows(count: int = 40) -> list[Row]:
    made = np.random.default_rng(0).integers(0, 256, (count, 60)).astype(np.int32)
    return [
        Row(ids[: 20 + n % 7], ids[20 + n % 7 : 50 + n % 10], n % 2 == 0, 1.0, f"c{n}", bytes([n]))
        for n, ids in enumerate(made)
    ]


def measured(
    policy: Any, of: Recipe, *, free: float = 1000 * MIB, at_most: int = 40, ranks: Ranks = ALONE
) -> tuple[int, dict[str, Any]]:
    weights = models.trained_weights(policy)
    return measured_micro_batch(
        Reading.plain(policy), weights, rows(), of, CPU, 64, ranks, free=int(free), at_most=at_most
    )


def room_for(count: int, policy: Any) -> float:
    """Returns the bytes of memory for `count` rows of the largest length, with hardly any spare."""
    _, measurement = measured(policy, recipe(activation_checkpointing="off"))
    tokens = count * measurement["longest_row"]
    need = measurement["bytes_whatever_the_tokens"] + tokens * measurement["bytes_by_token"]
    return float((measurement["bytes_of_gradients_and_moments"] + need + 1000) / SHARE)


class TwoAlike(Ranks):
    """The first of two ranks with equal measurements."""

    def gather(self, values: Mapping[Any, Any]) -> dict[Any, Any]:
        return {0: values[0], 1: values[0]}


@pytest.mark.parametrize(("family", "objective"), [("llama", "kto"), ("gpt2", "sft"), ("mixtral", "kto")])
def test_the_need_of_many_rows_is_foretold_by_that_of_few(family: str, objective: str) -> None:
    policy = tiny.model(family)
    weights = models.trained_weights(policy)
    own, other = memory._longest(rows(), 64, packed=False)

    def peak(count: int) -> float:
        experts = family == "mixtral"
        work = partial(
            memory._step, Reading.plain(policy), recipe(objective=objective), own, other, count, router_loss=experts
        )
        return memory.measured_peak(work, weights, policy, CPU.device)

    longest = max(row.length for row in rows())
    need = memory.Need(peak(MEASURED[0]), peak(MEASURED[1]), longest, update=0)

    assert need.of(24 * longest) == pytest.approx(peak(24), rel=0.02)
    assert peak(24) > 20 * 50 * 260 * 4  # more than the logits of twenty rows of fifty tokens


def test_the_largest_divisor_that_fits_is_taken() -> None:
    policy = tiny.model()
    chosen = {
        fitting: measured(policy, recipe(activation_checkpointing="off"), free=room_for(fitting, policy))[0]
        for fitting in (2, 3, 5, 7, 11, 23, 25)
    }

    assert chosen == {2: 2, 3: 3, 5: 4, 7: 6, 11: 8, 23: 12, 25: 24}


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_the_need_of_a_packed_micro_batch_is_foretold_within_15_per_cent(family: str) -> None:
    policy = tiny.model(family)
    weights, reading = models.trained_weights(policy), Reading(policy, packed=True, chunked=True)
    experts = family == "mixtral"
    one = recipe(batch_size=16)
    _, measurement = measured_micro_batch(
        reading, weights, rows(), one, CPU, 64, ALONE, free=1000 * MIB, at_most=40, router_loss=experts
    )
    longest_first = sorted(rows(), key=lambda row: row.length, reverse=True)[:16]
    own = [(row.prompt, row.completion) for row in longest_first]
    others = [(prompt, own[number - 1][1]) for number, (prompt, _) in enumerate(own)]

    def step() -> None:
        read, _ = reading.read(own, others, router_loss=experts)
        (read.lp_B.sum() if read.router_loss is None else read.lp_B.sum() + read.router_loss).backward()

    peak = memory.measured_peak(step, weights, policy, CPU.device)

    assert measurement["micro_batch_tokens"] == sum(row.length for row in longest_first)
    assert measurement["bytes_needed"] - measurement["bytes_of_gradients_and_moments"] == pytest.approx(peak, rel=0.15)


def test_where_too_few_rows_fit_activations_are_computed_twice_unless_that_is_forbidden() -> None:
    policy = tiny.model()
    little = room_for(3, policy)

    found = {
        choice: measured(policy, recipe(activation_checkpointing=choice), free=little)[1]
        for choice in ("off", "auto", "on")
    }

    assert not found["off"]["activations_computed_twice"]
    assert found["auto"]["activations_computed_twice"]
    assert found["auto"]["micro_batch_size"] > found["off"]["micro_batch_size"]
    assert found["on"] == found["auto"]
    assert not measured(policy, recipe())[1]["activations_computed_twice"]


def test_it_is_never_more_than_the_rows_and_whole_pairs() -> None:
    policy = tiny.model()

    assert measured(policy, recipe())[0] == 24
    assert measured(policy, recipe(), at_most=11)[0] == 8
    paired = recipe(objective="dpo", batch_size=18)
    assert [measured(policy, paired, at_most=there)[0] for there in (40, 11, 2)] == [18, 6, 2]


def test_what_is_trained_is_counted_with_its_gradients_and_moments(base: Path, tmp_path: Path) -> None:
    workdir = tiny.stage(tmp_path / "w", base, tiny.text_rows(), method="lora")
    adapted = models.load_policy(read_job(workdir), CPU)
    whole = tiny.model()

    _, of_whole = measured(whole, recipe())
    _, of_adapter = measured(adapted, recipe(method="lora"))

    assert of_whole["bytes_of_gradients_and_moments"] == 12 * sum(w.numel() for w in whole.parameters())
    trained = models.trained_weights(adapted).values()
    assert of_adapter["bytes_of_gradients_and_moments"] == 12 * sum(w.numel() for w in trained)


def test_measuring_leaves_no_trace() -> None:
    policy = tiny.model()
    before = {name: weight.detach().clone() for name, weight in policy.named_parameters()}
    state = torch.random.get_rng_state()

    measured(policy, recipe())

    assert all(weight.grad is None for weight in policy.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in policy.named_parameters())
    assert torch.equal(state, torch.random.get_rng_state())


def test_where_two_rows_do_not_fit_the_remedy_is_named() -> None:
    with pytest.raises(
        TrainingRefusal, match=r"micro_batch_size: 2 rows of 59 tokens .*lower max_length .*method to lora"
    ):
        measured(tiny.model(), recipe(), free=MIB // 4)
    with pytest.raises(TrainingRefusal, match=r"batch_size \(it is 23\) to a multiple of 4"):
        measured(tiny.model(), recipe(batch_size=23), free=MIB // 4)


def test_several_ranks_share_the_rows_of_a_micro_batch() -> None:
    policy = tiny.model()
    one = recipe(activation_checkpointing="off")

    sizes = [measured(policy, one, free=room_for(4, policy), ranks=ranks)[0] for ranks in (ALONE, TwoAlike(0, 2))]

    assert sizes == [4, 8]


def linux(folder: Path, cgroup: str, **files: str) -> tuple[Path, Path]:
    proc, groups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable:    8000 kB\n")
    (proc / "self" / "cgroup").write_text(cgroup)
    for name, content in files.items():
        path = groups / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return proc, groups


def test_a_machine_without_limits_has_what_the_kernel_calls_available(tmp_path: Path) -> None:
    assert free_memory.free_of_machine(*linux(tmp_path, "0::/\n")) == 8000 * 1024


def test_the_tightest_limit_of_a_container_counts(tmp_path: Path) -> None:
    second = linux(
        tmp_path / "2",
        "0::/kube/pod\n",
        kube__memory_dot_max="5000000",
        kube__memory_dot_current="3000000",
        kube__memory_dot_stat="anon 1\ninactive_file 500000\n",
        kube__pod__memory_dot_max="max",
        kube__pod__memory_dot_current="1000",
        kube__pod__memory_dot_stat="",
    )
    first = linux(
        tmp_path / "1",
        "4:cpu,memory:/docker/x\n",
        memory__docker__x__memory_dot_limit_in_bytes="3000000",
        memory__docker__x__memory_dot_usage_in_bytes="2000000",
        memory__docker__x__memory_dot_stat="total_inactive_file 0\n",
    )

    assert free_memory.free_of_machine(*second) == 2_500_000
    assert free_memory.free_of_machine(*first) == 1_000_000


def test_this_machine_says_how_much_is_free() -> None:
    assert free_memory.free_bytes(torch.device("cpu")) > MIB


def test_a_process_limit_counts_as_what_is_free() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    taken = tiny._bytes_taken()
    resource.setrlimit(resource.RLIMIT_DATA, (taken + 64 * MIB, before[1]))
    try:
        assert free_memory.free_bytes(torch.device("cpu")) <= 65 * MIB
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


@pytest.mark.trial
def test_a_process_that_memory_runs_out_for_says_so_and_fewer_rows_train_under_the_same_limit(
    tmp_path: Path,
) -> None:
    # given a vocabulary that makes the logits of a row far larger than the model, and all rows at once
    base = tiny.save_model(tmp_path / "base", vocab_size=80_000)
    long = tiny.sentences(20, words=(14, 15))
    changes: dict[str, Any] = {"batch_size": 20, "micro_batch_size": 20, "max_steps": 1, "packing": "off"}
    texts = [{**row, "completion": f" {text}"} for row, text in zip(tiny.text_rows(), long, strict=False)]
    workdir = tiny.stage(tmp_path / "w", base, texts, method="lora", **changes)

    process = tiny.start(workdir, data=320 * MIB)
    process.join()

    assert process.exitcode == OUT_OF_MEMORY
    failure = tiny.document(workdir / "failure.json")
    assert (failure["code"], failure["micro_batch_size"]) == ("out_of_memory", 20)
    stderr = (workdir / "stderr").read_text()
    assert stderr == failure["message"] + "\n"
    assert "20 rows at once do not fit into memory" in stderr
    assert "set micro_batch_size to 10 and begin again" in stderr

    fewer = smaller(read_job(workdir).recipe, 5)
    assert fewer is not None
    (workdir / "recipe.json").write_text(fewer.model_dump_json())
    process = tiny.start(workdir, data=320 * MIB)
    process.join()
    assert (process.exitcode, fewer.micro_batch_size) == (0, 2), (workdir / "stderr").read_text()


def test_a_smaller_micro_batch_is_a_divisor_of_the_same_batch() -> None:
    def then(size: int, **changes: Any) -> Any:
        halved = smaller(recipe(**changes), size)
        return halved and (halved.batch_size, halved.micro_batch_size)

    assert then(24) == (24, 12)
    assert then(3) is None
    assert then(2) is None
    assert then(9, batch_size=18) == (18, 3)
    assert then(6, batch_size=18, objective="dpo") == (18, 2)
    again = smaller(recipe(), 8, activations_computed_twice=True)
    assert again is not None
    assert again.activation_checkpointing == "on"


@pytest.mark.parametrize(
    ("error", "memory", "disk"),
    [
        (MemoryError(), True, False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True, False),
        (RuntimeError("CUDA error: out of memory"), True, False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True, False),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True, False),
        (ValueError("a text says: out of memory"), False, False),
        (RuntimeError("shapes differ"), False, False),
        (OSError(errno.ENOSPC, "No space left on device"), False, True),
        (OSError(errno.EACCES, "Permission denied"), False, False),
    ],
)  # fmt: skip
def test_want_of_memory_and_of_disk_are_distinguished_from_other_errors(
    error: Exception, memory: bool, disk: bool
) -> None:
    assert (is_out_of_memory(error), is_disk_full(error)) == (memory, disk)


def test_a_scorer_that_memory_runs_out_for_takes_half_the_rows_the_next_time_and_refuses_a_single_one(
    tmp_path: Path, base: Path
) -> None:
    job = read_job(tiny.stage(tmp_path / "w", base, tiny.text_rows()))
    taken, end = [], None
    while not isinstance(end, TrainingRefusal):
        rows = RowsAtOnce.of(job)
        taken.append((rows.read, rows.sampled))
        end = rows.too_many(job, MemoryError("no room"))

    assert taken == [(4, 8), (2, 4), (1, 2), (1, 1)]
    assert "lower evaluation.kl_max_new_tokens (it is 128)" in end.message
