"""TRL's side: its trainers, built as a user of TRL builds them; what they tokenise, collate and log is their own.

TRL is imported where it is used: to load it takes seconds, and who only collects tests should not wait for it.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tests.parity.cases import MAX_LENGTH
from tests.parity.compare import Figures, gradients
from tests.trainer import tiny

#: TRL's name of a figure → ours.
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
    """A trainer of `kind` on `rows`, with `settings` over `more["arguments"]`: float32, CPU, no dropout, rows in their
    order, all in one batch unless told otherwise, nothing reported or saved.
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
        made = kind(model=model, args=arguments, train_dataset=dataset, processing_class=tokenizer, **more)
        made.remove_callback(PrinterCallback)
        made.model.train()
        yield made


@contextmanager
def kto_trainer(model: Any, rows: Sequence[Mapping[str, Any]], **more: Any) -> Iterator[Any]:
    """KTOTrainer; without `ref_model` in `more`, of a model with adapters, which TRL copies as the reference."""
    from trl import KTOConfig, KTOTrainer

    with trainer(KTOTrainer, KTOConfig, model, rows, **more) as made:
        yield made


def figures(made: Any, weights: Mapping[str, Any]) -> Figures:
    """Of the trainer's first batch, with `weights` in the place of its model's."""
    missing = made.model.load_state_dict(weights, strict=False)
    assert not missing.unexpected_keys, "TRL's model has other weights than ours"
    made.model.zero_grad(set_to_none=True)
    loss = made.compute_loss(made.model, next(iter(made.get_train_dataloader())))
    loss.backward()
    made.log({"loss": loss.item()})
    logged = made.state.log_history[-1]
    numbers = {"loss": loss.item()} | {ours: logged[name] for name, ours in NUMBERS.items() if name in logged}
    return Figures(numbers, gradients(made.model))
