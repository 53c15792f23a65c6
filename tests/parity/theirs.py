"""TRL's side: its trainers, built as a user of TRL builds them, with their own tokenising, collating and logging.

TRL is imported where it is used, because loading it takes seconds and would delay the collection of tests.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tests.parity.cases import MAX_LENGTH
from tests.parity.compare import Figures, gradients
from tests.trainer import tiny

#: TRL's name of a figure → our name.
NUMBERS = {"kl": "z0", "rewards/chosen": "reward of desirable", "rewards/rejected": "reward of undesirable"}


@contextmanager
def trainer(
    kind: Any,
    settings: Any,
    model: Any,
    rows: Sequence[Mapping[str, Any]],
    *,
    chat_template: str | None = None,
    **more: Any,
) -> Iterator[Any]:
    """Yields a trainer of `kind` on `rows`, whose `settings` get `more["arguments"]`: float32, CPU, no dropout, rows in
    order and in one batch unless the arguments differ, nothing reported or saved.
    """
    import datasets
    from transformers.trainer_callback import PrinterCallback

    datasets.disable_progress_bars()
    chosen = more.pop("arguments", {})
    with tempfile.TemporaryDirectory() as folder:
        arguments = settings(
            output_dir=folder, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none",
            save_strategy="no", disable_tqdm=True,
            **{
                "train_sampling_strategy": "sequential", "max_length": MAX_LENGTH,
                "per_device_train_batch_size": len(rows), **chosen,
            },
        )  # fmt: skip
        dataset = datasets.Dataset.from_list([dict(row) for row in rows])
        tokenizer = tiny.tokenizer()
        tokenizer.chat_template = chat_template
        trl_trainer = kind(model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer, **more)
        trl_trainer.remove_callback(PrinterCallback)
        trl_trainer.model.train()
        yield trl_trainer


@contextmanager
def kto_trainer(model: Any, rows: Sequence[Mapping[str, Any]], **more: Any) -> Iterator[Any]:
    """Yields a KTOTrainer. Without `ref_model` in `more` the model must have adapters, the reference of TRL."""
    from trl import KTOConfig, KTOTrainer

    with trainer(KTOTrainer, KTOConfig, model, rows, **more) as trl_trainer:
        yield trl_trainer


def figures(trl_trainer: Any, weights: Mapping[str, Any]) -> Figures:
    """Computes the figures of the trainer's first batch, after its model has taken `weights`."""
    keys = trl_trainer.model.load_state_dict(weights, strict=False)
    assert not keys.unexpected_keys, "TRL's model has other weights than ours"
    trl_trainer.model.zero_grad(set_to_none=True)
    loss = trl_trainer.compute_loss(trl_trainer.model, next(iter(trl_trainer.get_train_dataloader())))
    loss.backward()
    trl_trainer.log({"loss": loss.item()})
    logged = trl_trainer.state.log_history[-1]
    numbers = {"loss": loss.item()} | {ours: logged[name] for name, ours in NUMBERS.items() if name in logged}
    return Figures(numbers, gradients(trl_trainer.model))
