"""Measures how far the policy is from the reference, while it trains.

On completions that the policy samples itself at temperature 1, each time for the same train prompts and from the same
random numbers:

    kl_nats_per_token         Σ k3 / tokens, an estimate of KL(policy ‖ reference) in nats (k3: `kl_estimate`)
    sampled_length_median     tokens of a completion, its end among them; cut off at the recipe's max_new_tokens
    reference_length_median   the same of the reference, sampled once, before the first update

Only the trained weights differ between policy and reference, so there is no second model: their starting values are
kept aside and put in for the scoring. Meanwhile they take the room that gradients have in a step. Training itself is
not touched: no weight, no random number, no bit. Of several ranks each measures all of it.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
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
from worker.generation.prompts import chosen_rows, with_room
from worker.generation.sampler import Request, Sampler
from worker.generation.trial import way_of
from worker.generation.ways import BatchWay
from worker.training.data.packing import Pair
from worker.training.files.sealed import is_sound, read_cache, replace_sealed, write_sealed
from worker.training.machine.process import TrainingRefusal
from worker.training.training_run import TrainingRun
from worker.training.watch.kl_estimate import drift_of_tokens

Figures = dict[str, float | None]

NOT_MEASURED: Figures = {"kl_nats_per_token": None, "sampled_length_median": None, "reference_length_median": None}


def check_steps(total_steps: int, checks: int) -> frozenset[int]:
    """The steps after which drift is measured: evenly spread, the last after the last step."""
    return frozenset(-(-total_steps * number // checks) for number in range(1, checks + 1))


@contextmanager
def put_in(weights: Mapping[str, nn.Parameter], values: Iterator[tuple[str, Tensor]]) -> Iterator[None]:
    """Gives each weight its value in `values` during the block, and its own tensor back afterwards."""
    before = {name: weight.data for name, weight in weights.items()}
    try:
        for name, value in values:
            weights[name].data = value.to(before[name], copy=True)
        yield
    finally:
        for name, weight in weights.items():
            weight.data = before[name]


class StartingWeights:
    """The trained weights before the first update: in memory, or in a file that is read part by part."""

    def __init__(self, weights: Mapping[str, nn.Parameter], path: Path | None, *, reference: str, writes: bool) -> None:
        """Stores the weights; the policy must still be the reference.

        path       the file, None for memory
        reference  the fingerprint of the policy
        writes     whether this rank writes the file; it does not if the file has the weights of this reference
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
    """Returns the weight in bfloat16 if that loses nothing, as for a base model stored in it."""
    low = weight.to(torch.bfloat16)
    return (low if torch.equal(low.to(weight), weight) else weight).contiguous()


class DriftChecks:
    """The drift checks of one run."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._steps = check_steps(run.total_steps, run.recipe.drift.checks)
        settings, context = run.recipe.drift, run.start.context
        self._most = min(settings.max_new_tokens, max(1, (context or run.start.max_length) - 1))
        rows = chosen_rows(run.start.read.rows, settings.prompts, run.recipe.seed)
        self._prompts = [with_room(row.prompt, self._most, context) for row in rows]
        self._way: BatchWay | None = None

    def begin(self) -> None:
        """Keeps the starting weights and samples from them, in every attempt, while the policy is the reference."""
        if not self._steps:
            return
        job, writes = self._run.job, self._run.ranks.writes
        self._starting_weights = StartingWeights(
            self._run.start.weights,
            job.workdir / "start.safetensors" if job.recipe.method == "full" else None,
            reference=f"{job.base_fingerprint} {job.adapter_fingerprint}",
            writes=writes,
        )
        self._reference_length = self._kept_length()
        if self._reference_length is None:
            self._reference_length = _median_length(self._draw())
            if writes:
                content = {"identity": job.identity, "reference_length_median": self._reference_length}
                write_sealed(job.workdir / "drift.json", json.dumps(content, indent=1).encode())

    def after(self, step: int) -> Figures:
        """Returns the drift after `step`, all None where it is not measured there. Frees the gradients.

        Raises `TrainingRefusal` on a number that is not finite, and `Stopped` where the run is to stop: weights and
        random state are as before then, too.
        """
        if step not in self._steps:
            return NOT_MEASURED
        weights = self._run.start.weights
        for weight in weights.values():
            weight.grad = None
        samples = self._draw()
        policy_N = self._log_probs(samples)
        with put_in(weights, self._looking_up(self._starting_weights.values())):
            reference_N = self._log_probs(samples)
        kl = float(drift_of_tokens(policy_N, reference_N).mean())
        if not math.isfinite(kl):
            raise TrainingRefusal(
                "not_finite",
                f"step {step}: log-probs of completions that the policy sampled are NaN or infinite: lower "
                "learning_rate or set precision to float32",
            )
        return {
            "kl_nats_per_token": kl,
            "sampled_length_median": _median_length(samples),
            "reference_length_median": self._reference_length,
        }

    def _draw(self) -> list[Pair]:
        """Returns the prompts with completions that the policy samples now."""
        run, start = self._run, self._run.start

        def between_tokens(_: int) -> None:
            # A token may take a large model a while. Ranks look up together, which costs more than a token.
            if run.ranks.world == 1:
                run.raise_if_stopped()

        model = start.reading.model
        if self._way is None:
            self._way = way_of(model, self._prompts, room=start.context, between_tokens=between_tokens)
        sampler = Sampler(
            model,
            self._way,
            start.tokens.ends,
            rows_at_once=start.micro_batch_size,
            seed=run.recipe.seed,
            precision=start.arithmetic.precision,
        )
        requests = [Request(prompt, 1.0, self._most, stream) for stream, prompt in enumerate(self._prompts)]
        completions = sampler.write(requests, between_tokens)
        run.raise_if_stopped()
        return [(prompt, written.tokens) for prompt, written in zip(self._prompts, completions, strict=True)]

    def _looking_up(self, values: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
        for value in values:
            self._run.raise_if_stopped()
            yield value

    def _kept_length(self) -> float | None:
        """Returns what an earlier attempt measured; rank 0 reads it, so that all ranks go on together."""
        found: dict[str, float] = {}
        job, ranks = self._run.job, self._run.ranks
        if ranks.writes and (kept := read_cache(job.workdir / "drift.json")) is not None:
            content = json.loads(kept)
            if content["identity"] == job.identity:
                found["length"] = float(content["reference_length_median"])
        return ranks.gather(found).get("length")

    def _log_probs(self, samples: Sequence[Pair]) -> NDArray[np.float32]:
        """Returns lp_N of all sampled tokens."""
        parts, rows_at_once = [], self._run.start.micro_batch_size
        for first in range(0, len(samples), rows_at_once):
            with torch.no_grad():
                read, _ = self._run.start.reading.read(samples[first : first + rows_at_once])
            parts.append(read.lp_N.cpu().numpy())
            self._run.raise_if_stopped()
        return np.concatenate(parts)


def _median_length(samples: Sequence[Pair]) -> float:
    return float(median(len(completion) for _, completion in samples))
