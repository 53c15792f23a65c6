"""`make bench-train`, at toy size: that it compares like with like, counts rightly, and changes nobody's settings."""

import importlib.util
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from benchmarks.train import child, gpu, memory, rows
from benchmarks.train.__main__ import main
from benchmarks.train.base import save_base
from benchmarks.train.configurations import CPU, GPU, SHAPES, Configuration, Effort
from benchmarks.train.figures import Timed, Work, figures, quartiles, rounded, useful_flops
from benchmarks.train.lane import Flags, owner_of
from benchmarks.train.machine import allocator, machine
from benchmarks.train.ours import batches_of_trl, ours
from benchmarks.train.profile import profiled
from benchmarks.train.race import Unequal, race
from benchmarks.train.switches import SWITCHES, Switch
from benchmarks.train.tables import ablation_table, lanes_table, ratios_table
from worker.training.data import batches

TOY = Configuration.of("toy_float32_full")
REQUIRED = {
    "step_ratio", "step_ratio_best_trl", "job_ratio_1_epoch", "job_ratio_3_epochs", "memory_ratio", "padding_share",
    "max_loss_difference",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_cpu_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(rows, "DATA", Path("nowhere"))  # synthetic rows: the same wherever the tests run
    transformers.logging.disable_progress_bar()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_base(folder, TOY.shape, rows.word_tokenizer(TOY.shape.vocabulary))
    return folder


def toy_chats(count: int = TOY.effort.rows) -> rows.Chats:
    return rows.chats(count, TOY.shape.vocabulary)[0]


def all_rows(lane: Timed) -> list[int]:
    return sorted(length for block in lane.lengths for length in block)


@pytest.mark.skipif(importlib.util.find_spec("trl") is None, reason="TRL is not installed: there is nobody to race")
@pytest.mark.trial
def test_both_trainers_compute_the_same_and_are_timed_in_turn(tmp_path: Path) -> None:
    flags = Flags.now()
    child.main("race", TOY.name, str(tmp_path))

    raced = json.loads((tmp_path / "race.json").read_text())
    timed = {name: Timed(**lane) for name, lane in raced["timed"].items()}
    assert raced["difference"] <= TOY.tolerance
    assert timed["trl"].lengths == timed["ours_same"].lengths
    assert timed["trl"].losses == pytest.approx(timed["ours_same"].losses, rel=1e-4)
    assert len(set(timed["trl"].losses)) > 2, "losses that do not move show nothing"
    for name, lane in timed.items():
        assert all_rows(lane) == all_rows(timed["trl"]), f"{name} reads every row"
        assert len(lane.seconds) == TOY.effort.passes * TOY.effort.blocks
        assert (lane.reference_seconds > 0) is (name != "trl"), f"{name} scores the reference when it should"
    assert sum(max(block) for block in timed["trl_best"].lengths) < sum(max(block) for block in timed["trl"].lengths)
    found = figures(TOY, timed, raced["difference"], {"ours_same": 1, "trl": 2})
    assert found.keys() >= REQUIRED
    assert not any(found[name] is None for name in REQUIRED)
    assert Flags.now() == flags, "a trainer's settings end with its turn"
    json.dumps(rounded(found), allow_nan=False)


def test_a_race_of_unequal_losses_is_called_off(tmp_path: Path, base: Path) -> None:
    chats = toy_chats()
    lanes = [
        ours(tmp_path / name, base, chats, TOY, name=name, given=batches_of_trl(len(chats.rows), size))
        for name, size in (("fours", 4), ("eights", 8))
    ]

    with pytest.raises(Unequal, match=r"losses differ by \d"):
        race(lanes, TOY.effort, equal=("fours", "eights"), tolerance=1e-5)

    assert batches.plan.__module__ == "worker.training.data.batches", "what a lane swaps is swapped back"


def test_the_given_pairs_are_those_of_trl() -> None:
    plan = batches_of_trl(10, 4)

    assert [block.rows for block in plan.blocks] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]
    assert [block.partners for block in plan.blocks] == [(3, 0, 1, 2), (7, 4, 5, 6), (9, 8)]
    assert plan.steps(0, 1, seed=1) == plan.steps(5, 1, seed=2) == [[block] for block in plan.blocks]


def test_a_switch_is_off_in_its_own_lane_alone(tmp_path: Path, base: Path) -> None:
    chats, window = toy_chats(), batches.WINDOW
    off = {"worker.training.data.batches:WINDOW": lambda _own: 1}
    lanes = [
        ours(tmp_path / name, base, chats, TOY, name=name, swaps=swaps) for name, swaps in (("on", {}), ("off", off))
    ]

    timed, _ = race(lanes, TOY.effort)

    shares = {name: Work.of(lane, passes=1).padding_share for name, lane in timed.items()}
    assert shares["on"] < shares["off"], "without its window, a plan has rows of any length in a block"
    assert window == batches.WINDOW


@pytest.mark.trial
def test_the_ablation_times_an_epoch_without_each_switch(tmp_path: Path) -> None:
    switches = (*SWITCHES, Switch("longer", "a recipe of its own", recipe={"seed": 7}))

    found = child.ablation_of(tmp_path, TOY, switches)

    assert list(found) == ["all", *(switch.name for switch in switches)]
    assert all(lane["seconds_per_epoch"] > 0 and lane["reference_seconds"] > 0 for lane in found.values())
    assert "a recipe of its own" in ablation_table(TOY.name, found)


def test_every_switch_turns_something_off_that_exists() -> None:
    for switch in SWITCHES:
        assert switch.swaps or switch.recipe
        for place in switch.swaps:
            owner, name = owner_of(place)
            assert switch.swaps[place](getattr(owner, name)) != getattr(owner, name), f"{switch.name} swaps {place}"


def test_ratios_are_of_equal_work() -> None:
    blocks = [[10, 30], [20, 20]]
    timed = {
        "trl": Timed(9, 0, [4, 2, 6, 2], [4, 2, 6, 2], blocks * 2, [], 0),
        "ours_same": Timed(9, 1, [1, 1, 2, 1], [1, 1, 2, 1], blocks * 2, [], 0),
        "trl_precomputed": Timed(9, 4, [3, 2, 2, 2], [2, 2, 2, 2], blocks * 2, [], 0),
        "trl_best": Timed(9, 3, [2, 2, 2, 2], [2, 2, 2, 2], blocks * 2, [], 0),
        "ours": Timed(9, 1, [1, 1, 1, 1], [1, 1, 1, 1], blocks * 2, [], 0),
    }
    configuration = replace(TOY, effort=Effort(2, 2))

    found = figures(configuration, timed, 1e-7, {"ours_same": 10, "trl": 40})

    assert found["step_ratio"] == 2.5  # median of 4, 2, 3, 2
    assert found["step_ratio_of_cpu_time"] == 2.5
    assert found["step_ratio_best_trl"] == 2
    assert found["job_ratio_1_epoch"] == 7 / (1 + 2)  # online; precomputed it takes 8.5
    assert found["job_ratio_3_epochs"] == (4 + 3 * 4.5) / (1 + 3 * 2)  # online it takes 21
    assert found["job_ratio_1_epoch_best_trl"] == (3 + 4) / (1 + 2)
    assert found["job_ratio_3_epochs_best_trl"] == (3 + 3 * 4) / (1 + 3 * 2)
    assert found["memory_ratio"] == 0.25
    assert found["padding_share"] == pytest.approx(1 - 80 / 100)
    assert found["lanes"]["ours"]["tokens_per_second"] == 80 / 2
    assert Work.of(timed["trl_best"], passes=2).job(2) == 3 + 2 * 4
    shown = lanes_table({"m2": found}) + ratios_table({"m2": found, "m15": {"failed": "why"}})
    assert "2.50" in shown
    assert "m15 failed: why" in shown


def test_quartiles_of_one_step_are_that_step() -> None:
    assert quartiles([3.0]) == [3.0, 3.0]
    assert quartiles([1.0, 2.0, 3.0]) == [1.5, 2.5]


def test_useful_flops_are_those_of_the_cost_table() -> None:
    full, lora = TOY, Configuration.of("toy_bf16_lora")
    body, head, prompt, completion = TOY.shape.body, TOY.shape.head, 30, 10

    assert useful_flops(full, prompt, completion) == 6 * body * 40 + 2 * body * 10 + 8 * head * 10
    assert useful_flops(lora, prompt, completion) == 4 * body * 40 + 2 * body * 10 + 6 * head * 10


def test_shapes_have_the_parameters_that_their_names_say(tmp_path: Path) -> None:
    counted = save_base(tmp_path, TOY.shape, rows.word_tokenizer(TOY.shape.vocabulary))
    assert counted == pytest.approx(TOY.shape.parameters, rel=0.02)
    wanted = {"m2": 2e6, "m15": 15e6, "m60": 60e6, "g05": 0.5e9, "g15": 1.5e9, "g8": 8e9}
    assert {name: SHAPES[name].parameters for name in wanted} == pytest.approx(wanted, rel=0.25)
    for name in (*CPU, *GPU):
        assert Configuration.of(name).name == name


def test_rows_have_long_tailed_lengths_that_both_sides_read_alike() -> None:
    chats, tokenizer = rows.chats(96, 2_048)

    assert len({row.prompt for row in chats.rows}) == len({row.completion for row in chats.rows}) == 96
    for row in chats.rows:
        assert rows.PROMPT[0] <= row.prompt_tokens <= rows.PROMPT[1]
        assert rows.COMPLETION[0] <= row.completion_tokens <= rows.COMPLETION[1]
        ids = tokenizer(row.prompt + row.completion)["input_ids"]
        assert ids[: row.prompt_tokens] == tokenizer(row.prompt)["input_ids"]
        assert len(ids) + 1 == row.tokens
    assert 0.3 < rows.padding_share([row.tokens for row in chats.rows], 8) < 0.5
    assert {row.desirable for row in chats.rows} == {True, False}


def test_peak_memory_is_counted_from_where_it_was_forgotten() -> None:
    np.ones(25_000_000)  # 200 MB, gone at once
    memory.forget_peak()
    before = memory.resident()
    kept = np.ones(12_500_000)  # 100 MB

    after = memory.resident()

    assert before["VmHWM"] - before["VmRSS"] < 20e6
    assert after["VmHWM"] - before["VmRSS"] == pytest.approx(kept.nbytes, rel=0.1)


@pytest.mark.trial
def test_memory_above_the_weights_is_that_of_training(tmp_path: Path, base: Path) -> None:
    # Large enough to be seen: 2.4 million weights, of which training keeps a gradient and two means.
    configuration = Configuration.of("m2_float32_full", part=True)
    configuration = replace(configuration, effort=replace(configuration.effort, rows_per_step=2, blocks=2))
    chats, tokenizer = rows.chats(configuration.effort.rows, configuration.shape.vocabulary)
    save_base(tmp_path / "base", configuration.shape, tokenizer)

    # In a process of its own: memory that other tests have freed would be taken again.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        found = process.submit(memory.peak_bytes, "ours_same", tmp_path, chats, configuration).result()

    assert found > 2.5 * configuration.weight_bytes


@pytest.mark.trial
def test_a_profile_names_the_dearest_operations(tmp_path: Path, base: Path) -> None:
    shown = profiled(ours(tmp_path / "profile", base, toy_chats(), TOY, name="ours"))

    assert "aten::mm" in shown


def test_the_gpu_benchmark_works_on_cpu_at_toy_size(tmp_path: Path) -> None:
    save_base(tmp_path / "base", TOY.shape, rows.word_tokenizer(TOY.shape.vocabulary))

    grown = gpu.growth(tmp_path, TOY, 16, 64)

    assert grown["lengths"] == [16, 64]
    assert grown["ratio"] == pytest.approx(grown["seconds_per_token"][1] / grown["seconds_per_token"][0])
    assert gpu.ceiling()["flops_per_second"] > 0


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--gpu"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"gpu": None}
    assert "no CUDA GPU" in said.err


def test_an_unknown_configuration_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "m16_float32_full"]) == 2
    assert "no configuration m16_float32_full" in capsys.readouterr().err


def test_the_machine_is_described_without_its_name() -> None:
    described = machine()

    assert described["cores"] >= 1
    assert described["torch"] == torch.__version__
    assert allocator("7f /usr/lib/libjemalloc.so.2\n") == "jemalloc"
    assert allocator("7f /usr/lib/libc.so.6\n") == "the C library's"


@pytest.mark.parametrize("name", ["toy_float32_full", "toy_bf16_lora"])
def test_the_peak_of_memory_is_foretold(tmp_path: Path, name: str) -> None:
    configuration = Configuration.of(name)
    chats = child.prepare(tmp_path, configuration)

    found = memory.foretold(tmp_path / "workdir", tmp_path / "base", chats, configuration)

    assert found["ratio"] == pytest.approx(1, abs=0.15)
