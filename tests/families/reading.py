"""Reads a toy of one family the way that the trainer chooses, and compares it with another reading of single rows, from
all logits of the unchanged model.

Legend: B rows, N completion tokens of one row.
"""

import copy
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from peft import get_peft_model
from thumbwheel.wire.recipe import Recipe
from torch import Tensor

from tests.families import toys
from worker.training.data.batches import Block
from worker.training.data.packing import Pair
from worker.training.data.rows import Row
from worker.training.forward.logprobs import Forward, Reading
from worker.training.forward.packed_or_padded import reading_of, tried
from worker.training.machine.process import TrainingRefusal, first_line
from worker.training.models import lora
from worker.training.models import policy as models
from worker.training.reference import matched, mismatched

Precision, Method = Literal["float32", "bf16"], Literal["lora", "full"]
Outcome = Literal["packed", "padded", "refused", "wrong", "crashed"]
SETTINGS: Sequence[tuple[Precision, Method]] = [
    (precision, method) for precision in ("float32", "bf16") for method in ("lora", "full")
]
MAX_LENGTH = 72
#: Number of parameters from which a model no longer counts as a toy.
LARGEST = 20_000_000
#: Differences from single rows in float32 that rounding explains: of a log-prob, relative and absolute in nats, and of
#: a gradient, as a share of its norm.
RELATIVE, ABSOLUTE, GRADIENT = 2e-5, 1e-3, 2e-3


@dataclass(frozen=True)
class Result:
    """The trainer's reading of one family with one precision and method, and its differences from single rows."""

    precision: Precision
    method: Method
    outcome: Outcome
    reason: str = ""
    log_prob: float | None = None  # largest difference of a row's log-prob from that of the row alone, in nats
    mismatched: float | None = None  # the same of mismatched pairs
    gradient: float | None = None  # ‖difference‖ / ‖gradient‖
    in_bf16: float | None = None  # largest difference of a log-prob in the run's own arithmetic, as a share of it


def rows() -> list[Row]:
    """Returns rows of 7 to 55 tokens, not sorted by length."""
    choose = np.random.default_rng(5)

    def ids(count: int) -> Any:
        return choose.integers(3, 250, count).astype(np.int32)

    lengths = [(12, 9), (30, 25), (4, 3), (21, 12), (33, 6), (9, 27), (16, 5)]
    return [
        Row(ids(prompt), ids(completion), number % 2 == 0, 1.0, f"c{number}", str(number).encode())
        for number, (prompt, completion) in enumerate(lengths)
    ]


class NotBuilt(Exception):
    """Raised with the reason if no toy of a family can be built or read a row."""


def results_of(family: str, settings: Sequence[tuple[Precision, Method]] = SETTINGS) -> Iterator[Result]:
    """Reads a toy of `family` with every precision and method. Raises `NotBuilt`."""
    models.ask_for_determinism()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(name)
        try:
            toy = toys.model_of(family)
            parameters = sum(weight.numel() for weight in toy.parameters())
            assert parameters < LARGEST, f"{parameters / 1e6:.0f} million parameters, as not all sizes can be set"
            toy(input_ids=torch.arange(5, 50)[None], use_cache=False)
            toy.save_pretrained(folder)
        except Exception as error:
            raise NotBuilt(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error
        for precision, method in settings:
            yield _result(folder, precision, method)


def _result(folder: Path, precision: Precision, method: Method) -> Result:
    """Returns how the trainer would read the folder: a refusal of the trainer is a refusal, any other error a crash."""
    dtype = torch.float32 if precision == "float32" else torch.bfloat16
    try:
        policy = _policy(folder, dtype, method)
        exact = copy.deepcopy(policy).float()
        weights = list(models.trained_weights(policy).values())
        read = rows()
        reading = reading_of(policy, tried(read, MAX_LENGTH), dtype, weights)
        return _compared(exact, reading, read, precision, method)
    except TrainingRefusal as refusal:
        return Result(precision, method, "refused", refusal.message.replace(str(folder), "the folder"))
    except Exception as error:  # noqa: BLE001 - the table is to show any error
        return Result(precision, method, "crashed", f"{type(error).__name__}: {first_line(error)}")


def _policy(folder: Path, dtype: torch.dtype, method: Method) -> Any:
    if method == "full":
        return models.load_weights(folder, torch.float32, torch.device("cpu")).requires_grad_()
    recipe = Recipe.model_validate({"method": "lora", "lora": {"rank": 4, "alpha": 8}})
    lora.require_targets(models.blueprint(folder), recipe)
    torch.manual_seed(1)
    model = models.load_weights(folder, dtype, torch.device("cpu"))
    policy = get_peft_model(model, lora.fresh_config(recipe, lora.unfit_modules(model))).eval()
    with torch.no_grad():
        for weight_name, weight in policy.named_parameters():
            if "lora_B" in weight_name:
                weight.normal_(std=0.1)
    return policy


def _compared(exact: Any, reading: Reading, read: Sequence[Row], precision: Precision, method: Method) -> Result:
    """Compares `reading` with single rows. `exact` is a copy of the policy in float32."""
    block = Block((0, 1, 2, 3, 4), (1, 2, 3, 4, 0))
    own, others = matched(read, block), mismatched(read, block, MAX_LENGTH)
    expected_B, expected_gradient = _alone(exact, own, gradient=True)
    expected_others_B, _ = _alone(exact, others, gradient=False)

    way = Reading(exact, packed=reading.packed, chunked=reading.chunked)
    forward, forward_others = way.read(own, others)
    assert forward_others is not None
    gradient = _gradient(exact, forward.lp_B)
    difference, difference_others = (forward.lp_B - expected_B).abs(), (forward_others.lp_B - expected_others_B).abs()
    difference_of_gradient = float((gradient - expected_gradient).norm() / expected_gradient.norm())

    computed = _step(reading, own, others)
    right = (
        bool((difference <= ABSOLUTE + RELATIVE * expected_B.abs()).all())
        and bool((difference_others <= ABSOLUTE + RELATIVE * expected_others_B.abs()).all())
        and difference_of_gradient <= GRADIENT
    )
    return Result(
        precision,
        method,
        ("packed" if reading.packed else "padded") if right else "wrong",
        reading.padded_because or "",
        float(difference.max()),
        float(difference_others.max()),
        difference_of_gradient,
        float(((computed.lp_B - expected_B).abs() / expected_B.abs()).max()),
    )


def _step(reading: Reading, own: Sequence[Pair], others: Sequence[Pair]) -> Forward:
    """Takes a forward and a backward pass, as training does with a micro-batch."""
    routed = models.router_coefficient(reading.model) > 0
    forward, _ = reading.read(own, others, router_loss=routed)
    loss = forward.lp_B.sum() if forward.router_loss is None else forward.lp_B.sum() + forward.router_loss
    loss.backward()  # type: ignore[no-untyped-call]
    return forward


def _alone(model: Any, pairs: Sequence[Pair], *, gradient: bool) -> tuple[Tensor, Tensor | None]:
    """Returns lp of each row, read alone and summed from all its logits, and if requested their gradient."""
    sums = []
    with torch.set_grad_enabled(gradient):
        for prompt, completion in pairs:
            ids = torch.from_numpy(np.concatenate([prompt, completion])).long()[None]
            log_probs = torch.log_softmax(model(input_ids=ids, use_cache=False).logits[0].float(), -1)
            positions = torch.arange(len(prompt) - 1, ids.shape[1] - 1)
            sums.append(log_probs[positions, ids[0, positions + 1]].sum())
    lp_B = torch.stack(sums)
    return lp_B.detach(), _gradient(model, lp_B) if gradient else None


def _gradient(model: Any, lp_B: Tensor) -> Tensor:
    """Returns the gradient of lp of the first row − lp of the second + …, all weights in one vector."""
    factors = lp_B.new_tensor([(-1.0) ** row for row in range(len(lp_B))])
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad((lp_B * factors).sum(), weights, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(weight) if gradient is None else gradient).flatten()
            for weight, gradient in zip(weights, gradients, strict=True)
        ]
    )
