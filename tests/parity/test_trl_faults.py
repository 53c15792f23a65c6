"""Faults of the KTOTrainer of TRL 1.16: each test shows TRL's, then that ours has none on the same rows."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, SequentialSampler

from tests.parity import cases, ours, theirs
from tests.parity.compare import gradient, gradients
from tests.trainer import tiny
from worker.training.data import batches
from worker.training.data.batches import Block
from worker.training.data.tokens import Tokens
from worker.training.machine.process import TrainingRefusal
from worker.training.machine.ranks import Ranks
from worker.training.train import train


def prepared(rows: list[dict[str, Any]], **more: Any) -> Any:
    """Returns the dataset that TRL prepares from `rows`."""
    with theirs.kto_trainer(tiny.model(), rows, ref_model=tiny.model(), **more) as trl_trainer:
        return trl_trainer.train_dataset


def planned(rows: list[dict[str, Any]], micro_batch: int) -> tuple[list[Any], batches.BatchPlan]:
    read = ours.tokenised(rows)
    return read, batches.plan(read, micro_batch, even_classes=False, seed=1)


def test_trl_pairs_a_single_row_left_over_with_itself_and_we_leave_no_row_single() -> None:
    """A row paired with its own completion has r' = r, so the last micro-batch measures its reward against itself."""
    rows = cases.unpaired(5)

    last = prepared(rows, arguments={"per_device_train_batch_size": 4})[4]
    assert last["KL_completion_ids"] == last["completion_ids"]

    _, plan = planned(rows, 4)
    assert sorted(len(block.rows) for block in plan.blocks) == [2, 3]
    assert plan.unpaired == 0
    assert all(row != partner for b in plan.blocks for row, partner in zip(b.rows, b.partners, strict=True))


def test_trl_pairs_a_prompt_with_its_own_other_completion_and_we_never_do() -> None:
    """Uses two answers to one prompt, as in a split preference: neither is a mismatched completion for the other."""
    rows = cases.as_rows(cases.preferences(4))

    dataset = prepared(rows, arguments={"per_device_train_batch_size": 4})
    assert dataset[1]["KL_completion_ids"] == dataset[0]["completion_ids"]
    assert dataset[1]["prompt"] == dataset[0]["prompt"]

    read, plan = planned(rows, 4)
    assert plan.unpaired == 0
    pairs = [pair for block in plan.blocks for pair in zip(block.rows, block.partners, strict=True)]
    assert all(partner is not None and read[row].prompt_key != read[partner].prompt_key for row, partner in pairs)


def test_trl_pairs_a_row_with_a_completion_equal_to_its_own_and_we_never_do() -> None:
    rows = [
        {**row, "completion": " Thanks" if n % 4 < 2 else row["completion"]} for n, row in enumerate(cases.unpaired())
    ]

    second = prepared(rows, arguments={"per_device_train_batch_size": 4})[1]
    assert second["KL_completion_ids"] == second["completion_ids"]

    read, plan = planned(rows, 4)
    assert plan.unpaired == 0
    for block in plan.blocks:
        for row, partner in zip(block.rows, block.partners, strict=True):
            assert partner is not None
            assert read[row].completion.tolist() != read[partner].completion.tolist()


def test_trl_refuses_to_shuffle_and_we_shuffle_whole_blocks_so_that_every_pair_stays() -> None:
    """The pairs of TRL depend on the order of rows. Ours depend on blocks, and an epoch shuffles whole blocks."""
    rows = [{**row, "completion": f" {number}"} for number, row in enumerate(tiny.text_rows(32))]

    with pytest.raises(ValueError, match="requires `train_sampling_strategy='sequential'`"):
        prepared(rows, arguments={"train_sampling_strategy": "random"})

    _, plan = planned(rows, 4)
    epochs = [[block for step in plan.steps(epoch, 2, seed=1) for block in step] for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    assert {*epochs[0]} == {*epochs[1]} == {*epochs[2]} == {*plan.blocks}


def broken_rows_and_model() -> tuple[list[dict[str, Any]], Any]:
    """Returns rows, of which one contains the letter z, and a model of finite weights that computes NaN for every z."""
    rows = [{**row, "prompt": row["prompt"].replace("z", "s")} for row in cases.unpaired()]
    rows[3]["completion"] = " zz"
    model = tiny.model("gpt_neox")
    with torch.no_grad():
        model.get_input_embeddings().weight[tiny.tokenizer()("z")["input_ids"]] = 3e38
    return rows, model


def test_trl_reports_a_finite_loss_over_a_row_that_is_nan_and_destroys_the_weights_where_we_stop_and_name_the_row(
    tmp_path: Path,
) -> None:
    """The `nanmean()` of losses and the `nansum` of rewards hide the row in the log, but its gradient still counts."""
    rows, model = broken_rows_and_model()
    given = copy.deepcopy(model)
    arguments = {"loss_type": "apo_zero_unpaired", "max_steps": 2, "logging_steps": 1}
    with theirs.kto_trainer(given, rows, ref_model=tiny.model("gpt_neox"), arguments=arguments) as made:
        made.train()
        logged = made.state.log_history[:2]
    assert [math.isfinite(line["loss"]) for line in logged] == [True, True]
    assert [math.isfinite(line["rewards/chosen"]) for line in logged] == [True, True]
    assert all(bool(weight.isnan().all()) for weight in given.parameters())

    model.save_pretrained(tmp_path / "base")
    tiny.tokenizer().save_pretrained(tmp_path / "base")
    workdir = tiny.stage(tmp_path / "work", tmp_path / "base", rows, objective="apo_zero_unpaired")
    with pytest.raises(TrainingRefusal, match=r"NaN.*completion_id c3") as refused:
        train(workdir)
    assert refused.value.code == "not_finite"
    assert not (workdir / "output").exists()


def test_trl_cuts_the_end_token_off_a_row_that_is_too_long_and_we_cut_the_prompts_beginning() -> None:
    """A completion that is cut before its end token teaches the model not to end."""
    rows = cases.unpaired(4)
    rows[0] = {**rows[0], "prompt": "please help me with my late order:", "completion": " it is on its way"}
    end = tiny.tokenizer().eos_token_id
    with theirs.kto_trainer(tiny.model(), rows, ref_model=tiny.model(), arguments={"max_length": 40}) as made:
        batch = next(iter(made.get_train_dataloader()))
    counted = batch["input_ids"][0][batch["completion_mask"][0].bool()]
    assert end not in counted.tolist()

    row = ours.tokenised(rows, max_length=40)[0]
    assert row.length == 40
    assert tiny.tokenizer().decode(row.completion) == " it is on its way<|end|>"
    assert tiny.tokenizer().decode(row.prompt).endswith("with my late order:")


def test_trl_drops_a_row_whose_prompt_is_too_long_and_we_train_on_what_fits() -> None:
    rows = cases.unpaired(4)
    rows[0] = {**rows[0], "prompt": "please " * 10}

    assert len(prepared(rows, arguments={"max_length": 40})) == 3

    kept = ours.tokenised(rows, max_length=40)
    assert (len(kept), kept[0].length) == (4, 40)


def test_trl_lets_rows_of_a_short_last_micro_batch_count_more_and_we_count_every_row_once() -> None:
    """A step of 4 and 2 rows: TRL takes the mean of two means, so each of the four rows counts 1/8 and each of the two
    1/4. Ours divides by the rows of the step, so each counts 1/6.
    """
    from transformers import TrainerCallback

    policy = tiny.model()
    reference = cases.sharpened(policy)
    rows = cases.unpaired(6)
    recipe = ours.recipe_of("apo_zero_unpaired")
    of_trl: dict[str, torch.Tensor] = {}

    class Gradients(TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:
            of_trl.update(gradients(model))

    arguments = {
        "loss_type": "apo_zero_unpaired", "beta": recipe.beta, "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2, "num_train_epochs": 1, "max_grad_norm": 0.0,
    }  # fmt: skip
    with theirs.kto_trainer(
        copy.deepcopy(policy), rows, ref_model=copy.deepcopy(reference), arguments=arguments
    ) as trl_trainer:
        trl_trainer.add_callback(Gradients())
        trl_trainer.train()

    uneven = [{**row, "weight": 6 / 8 if number < 4 else 6 / 4} for number, row in enumerate(rows)]
    every_row_once = ours.figures(policy, reference, rows, recipe).gradients
    last_rows_twice = ours.figures(policy, reference, uneven, recipe).gradients
    assert gradient(last_rows_twice, of_trl).relative <= 1e-5
    assert gradient(every_row_once, of_trl).relative > 1e-2


def test_trl_trains_on_some_rows_twice_where_they_do_not_divide_among_ranks_and_we_share_each_row_once() -> None:
    """The default `even_batches` of accelerate fills the last micro-batch of a rank with rows from the beginning."""
    from accelerate.data_loader import BatchSamplerShard
    from trl import KTOConfig

    assert KTOConfig(output_dir="unused", use_cpu=True, bf16=False).accelerator_config.even_batches
    sampler = BatchSampler(SequentialSampler(range(6)), batch_size=4, drop_last=False)
    taken = [row for rank in range(2) for batch in BatchSamplerShard(sampler, 2, rank) for row in batch]
    assert sorted(taken) == [0, 0, 1, 1, 2, 3, 4, 5]

    block = Block(tuple(range(6)), (None,) * 6)
    shares = [Ranks(rank, 2).share(block, unit=1).rows for rank in range(2)]
    assert sorted(row for share in shares for row in share) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("after_message", "theirs_ends", "ours_ends"),
    [("<|end|>\n", "<|end|>\n", "<|end|>"), ("\n", "\n", "\n<|end|>")],
    ids=["white space behind the end token", "no end token"],
)
def test_trl_ends_a_chat_completion_as_its_template_does_and_we_with_exactly_one_end_token(
    after_message: str, theirs_ends: str, ours_ends: str
) -> None:
    """The text after an end token is never sampled, and a completion without end token does not teach to end."""
    template = (
        "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}" + after_message + "{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    rows = [{**row, "completion": [{"role": "assistant", "content": "It is late"}]} for row in tiny.chat_rows(4)]
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template

    found = prepared(rows, chat_template=template)[0]["completion_ids"]
    assert tokenizer.decode(found) == "It is late" + theirs_ends

    encoded = Tokens(tokenizer, None).encode_chat([rows[0]["prompt"]], [rows[0]["completion"]])[0]
    assert tokenizer.decode(encoded.completion) == "It is late" + ours_ends
