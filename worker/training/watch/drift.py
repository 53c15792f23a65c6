"""How far the policy has gone from the reference, measured while it trains.

On completions that the policy samples itself at temperature 1, each time for the same train prompts and from the same
random numbers:

    kl_nats_per_token         Σ k3 / tokens, an estimate of KL(policy ‖ reference) in nats (k3: `sampling`)
    sampled_length_median     tokens of a completion, its end among them; cut off at the recipe's max_new_tokens
    reference_length_median   the same of the reference, sampled once, before the first update

Only the trained weights differ between policy and reference, so there is no second model: their starting values are
kept aside and put in for the scoring. Meanwhile they take the room that gradients have in a step. Training itself is
not touched: no weight, no random number, no bit. Of several ranks each measures all of it.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from app.durable import flush
from worker.training.data.rows import Row
from worker.training.files.sealed import is_sound, read_cache, replace_sealed, write_sealed
from worker.training.forward.logprobs import Reading, autocast
from worker.training.job import Job
from worker.training.machine.process import Refusal
from worker.training.machine.ranks import Ranks
from worker.training.models.policy import Arithmetic
from worker.training.watch.sampling import Pair, chosen_prompts, drift_of_tokens, sample

Figures = dict[str, float | None]

NOT_MEASURED: Figures = {"kl_nats_per_token": None, "sampled_length_median": None, "reference_length_median": None}


def check_steps(total_steps: int, checks: int) -> frozenset[int]:
    """The steps after which drift is measured: evenly spread, the last after the last step."""
    return frozenset(-(-total_steps * number // checks) for number in range(1, checks + 1))


@contextmanager
def put_in(weights: Mapping[str, nn.Parameter], values: Iterator[tuple[str, Tensor]]) -> Iterator[None]:
    """Within the block each weight has its value of `values`; afterwards it is the very tensor that it was."""
    before = {name: weight.data for name, weight in weights.items()}
    try:
        for name, value in values:
            weights[name].data = value.to(before[name], copy=True)
        yield
    finally:
        for name, weight in weights.items():
            weight.data = before[name]


class Start:
    """The trained weights before the first update: in memory, or in a file that is read part by part."""

    def __init__(self, weights: Mapping[str, nn.Parameter], path: Path | None, *, reference: str, writes: bool) -> None:
        """Call it while the policy still is the reference. `path`: the file, None for memory. `reference`: the
        fingerprint of what the policy is. `writes`: whether this rank writes it; it does not where the file holds the
        weights of this reference already.
        """
        self._path = path
        self._kept: dict[str, Tensor] = {}
        if path is None:
            self._kept = {name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}
        elif writes and not _holds(path, reference):
            part = path.with_name(f".{path.name}.part")
            content = {name: _short(weight.detach()) for name, weight in weights.items()}
            save_file(content, part, {"reference": reference})
            flush(part)
            replace_sealed(part, path)

    def values(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._kept.items() if self._path is None else _stored(self._path)


def _stored(path: Path) -> Iterator[tuple[str, Tensor]]:
    with safe_open(str(path), framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - a file is no mapping
            yield name, file.get_tensor(name)


def _holds(path: Path, reference: str) -> bool:
    if not is_sound(path):
        return False
    with safe_open(str(path), framework="pt") as file:
        return (file.metadata() or {}).get("reference") == reference


def _short(weight: Tensor) -> Tensor:
    """In bfloat16 where that loses nothing, as with a base model that is stored so."""
    low = weight.to(torch.bfloat16)
    return (low if torch.equal(low.to(weight), weight) else weight).contiguous()


class Drift:
    def __init__(
        self,
        reading: Reading,
        weights: Mapping[str, nn.Parameter],
        rows: Sequence[Row],
        job: Job,
        arithmetic: Arithmetic,
        *,
        total_steps: int,
        micro_batch_size: int,
        ends: Sequence[int],
        context: int | None,
        max_length: int,
        ranks: Ranks,
        between: Callable[[], None],
    ) -> None:
        """`ends`: tokens that end a completion; `between`: called after every few samples, may raise so as to stop."""
        self._reading, self._weights, self._ranks = reading, weights, ranks
        self._job, self._rows_at_once, self._between = job, micro_batch_size, between
        asked, seed = job.recipe.drift, job.recipe.seed
        self._steps = check_steps(total_steps, asked.checks)
        prompts = chosen_prompts(rows, asked.prompts, seed)

        def draw() -> list[Pair]:
            with autocast(arithmetic.device, arithmetic.precision):
                return sample(
                    reading.model,
                    prompts,
                    ends,
                    max_new_tokens=min(asked.max_new_tokens, max(1, (context or max_length) - 1)),
                    context=context,
                    batch_size=micro_batch_size,
                    seed=seed,
                    between=between,
                    # A token may take a large model a while; ranks look up together, which costs more than a token.
                    between_tokens=between if ranks.world == 1 else None,
                )

        self._draw = draw

    def begin(self) -> None:
        """Call it in every attempt at the run, while the policy still is the reference: keeps the weights, samples."""
        if not self._steps:
            return
        workdir = self._job.workdir
        in_file = self._job.recipe.method == "full"
        self._start = Start(
            self._weights,
            workdir / "start.safetensors" if in_file else None,
            reference=f"{self._job.base_fingerprint} {self._job.adapter_fingerprint}",
            writes=self._ranks.writes,
        )
        self._reference_length = self._kept_length()
        if self._reference_length is None:
            self._reference_length = _median_length(self._draw())
            if self._ranks.writes:
                content = {"identity": self._job.identity, "reference_length_median": self._reference_length}
                write_sealed(workdir / "drift.json", json.dumps(content, indent=1).encode())

    def after(self, step: int) -> Figures:
        """Drift after `step`, all None where it is not measured there. Frees the gradients.

        Raises `Refusal` on a number that is not finite, and what `between` raises: weights and random state are as
        before then, too.
        """
        if step not in self._steps:
            return NOT_MEASURED
        for weight in self._weights.values():
            weight.grad = None
        samples = self._draw()
        policy_N = self._log_probs(samples)
        with put_in(self._weights, self._looking_up(self._start.values())):
            reference_N = self._log_probs(samples)
        kl = float(drift_of_tokens(policy_N, reference_N).mean())
        if not math.isfinite(kl):
            raise Refusal(
                "not_finite",
                f"step {step}: log-probs of completions that the policy sampled are NaN or infinite: lower "
                "learning_rate or set precision to float32",
            )
        return {
            "kl_nats_per_token": kl,
            "sampled_length_median": _median_length(samples),
            "reference_length_median": self._reference_length,
        }

    def _looking_up(self, values: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        for value in values:
            self._between()
            yield value

    def _kept_length(self) -> float | None:
        """As an earlier attempt measured it; of rank 0, so that all ranks go on together."""
        found: dict[str, float] = {}
        if self._ranks.writes and (kept := read_cache(self._job.workdir / "drift.json")) is not None:
            content = json.loads(kept)
            if content["identity"] == self._job.identity:
                found["length"] = float(content["reference_length_median"])
        return self._ranks.gather(found).get("length")

    def _log_probs(self, samples: Sequence[Pair]) -> NDArray[np.float32]:
        """Of all sampled tokens, lp_N."""
        found = []
        for first in range(0, len(samples), self._rows_at_once):
            with torch.no_grad():
                read, _ = self._reading.read(samples[first : first + self._rows_at_once])
            found.append(read.lp_N.cpu().numpy())
            self._between()
        return np.concatenate(found)


def _median_length(samples: Sequence[Pair]) -> float:
    return float(median(len(completion) for _, completion in samples))
