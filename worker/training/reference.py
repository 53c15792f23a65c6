"""Stores the reference's log-probs: every sequence of the plan is scored once, before the first update.

The policy scores them itself while it still equals the reference (see `models`), in the blocks of the training plan, so
that policy and reference agree to the last bit at step 0. Log-probs are stored by everything that determines them: each
by the token ids of its prompt and completion, the file by the weights, maximum length and arithmetic of the scoring.
There is one number for each sequence, or one for each completion token if the objective uses tokens.

Log-probs that earlier runs scored with the same reference are read from their files in WORKDIR. They were computed in
other blocks, so they differ by rounding from the policy's at step 0.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from app.durable import sha256_of
from worker.training.data.batches import Block
from worker.training.data.rows import Row
from worker.training.data.tokens import Ids, fit
from worker.training.files.sealed import is_sound, seal_of, write_sealed
from worker.training.job import Job
from worker.training.models.policy import Arithmetic

Pair = tuple[Ids, Ids]


def matched(rows: Sequence[Row], block: Block) -> list[Pair]:
    """Returns each row's prompt with its own completion."""
    return [(rows[row].prompt, rows[row].completion) for row in block.rows]


def mismatched(rows: Sequence[Row], block: Block, max_length: int) -> list[Pair]:
    """Returns each row's prompt with its partner's completion, cut like any row.

    A row without a partner keeps its own completion.
    """
    pairs = []
    for row, partner in zip(block.rows, block.partners, strict=True):
        other = row if partner is None else partner
        fitted = fit(rows[row].prompt, rows[other].completion, max_length)
        assert fitted is not None, "a completion that fits its own prompt fits any, as prompts are cut first"
        pairs.append((fitted.prompt, fitted.completion))
    return pairs


class ReferenceScores:
    """The lp_ref of sequences, in float32: (1,) for each, or (C,) by token.

    known    the log-probs that this run needs
    earlier  other log-probs from earlier runs: `take` copies needed ones to `known`
    scored   the number of sequences that this run scored itself, over all ranks
    cached   the number that earlier runs had scored, over all ranks
    """

    def __init__(self, fingerprint: str, known: dict[bytes, NDArray[np.float32]] | None = None) -> None:
        self.fingerprint = fingerprint
        self.known = known or {}
        self.earlier: dict[bytes, NDArray[np.float32]] = {}
        self.scored = self.cached = 0

    def log_probs(self, pairs: Sequence[Pair], device: torch.device) -> Tensor:
        """Returns lp_ref_B, or lp_ref_N if they were stored by token. Raises KeyError if one was never scored."""
        values = [self.known[sequence_key(pair)] for pair in pairs]
        return torch.from_numpy(np.concatenate(values) if values else np.zeros(0, dtype=np.float32)).to(device)

    def knows(self, pairs: Sequence[Pair]) -> bool:
        return all(sequence_key(pair) in self.known for pair in pairs)

    def learn(self, pairs: Sequence[Pair], values: Tensor, counts: Sequence[int]) -> None:
        """Stores the log-probs of `pairs`; `counts` are the numbers of `values` that belong to each pair."""
        parts = np.split(values.float().cpu().numpy(), np.cumsum(counts)[:-1]) if pairs else []
        for pair, part in zip(pairs, parts, strict=True):
            self.known.setdefault(sequence_key(pair), part)

    def take(self, pairs: Sequence[Pair]) -> list[bool]:
        """Takes the log-probs of `pairs` from earlier runs; returns for each pair whether there was one.

        Only these are taken, so that a run's file holds log-probs of its own rows alone.
        """
        keys = [sequence_key(pair) for pair in pairs]
        for key in keys:
            if key in self.earlier:
                self.known.setdefault(key, self.earlier[key])
        return [key in self.earlier for key in keys]

    def look_in(self, files: Iterable[Path]) -> None:
        """Reads the log-probs with this fingerprint from files of earlier runs, for `take`.

        Damaged files are skipped, and so are log-probs that are not finite: if a machine's fault caused one, it would
        spoil all later runs.
        """
        for file in files:
            if seal_of(file).exists() and not is_sound(file):
                continue
            for key, values in ReferenceScores._stored(file, self.fingerprint).known.items():
                if np.isfinite(values).all():
                    self.earlier.setdefault(key, values)

    def save(self, path: Path) -> None:
        """Writes the log-probs to `path`; equal log-probs give equal bytes."""
        ordered = dict(sorted(self.known.items()))
        content: dict[str, NDArray[Any]] = {
            "keys": np.frombuffer(b"".join(ordered), dtype=np.uint8).reshape(-1, 16),
            "counts": np.array([len(values) for values in ordered.values()], dtype=np.int64),
            "log_probs": np.concatenate([*ordered.values(), np.zeros(0, dtype=np.float32)]),
        }
        write_sealed(path, save(content, metadata={"fingerprint": self.fingerprint}))

    @classmethod
    def load(cls, path: Path, fingerprint: str) -> "ReferenceScores":
        """Returns the log-probs in `path`; none if it has another fingerprint or is damaged."""
        return cls._stored(path, fingerprint) if is_sound(path) else cls(fingerprint)

    @classmethod
    def _stored(cls, path: Path, fingerprint: str) -> "ReferenceScores":
        try:
            with safe_open(str(path), framework="np") as file:
                if (file.metadata() or {}).get("fingerprint") != fingerprint:
                    return cls(fingerprint)
                keys, counts, values = (file.get_tensor(name) for name in ("keys", "counts", "log_probs"))
            if keys.shape != (len(counts), 16) or values.shape != (counts.sum(),) or values.dtype != np.float32:
                return cls(fingerprint)
            parts = np.split(values, np.cumsum(counts)[:-1])
            return cls(fingerprint, {bytes(key): part for key, part in zip(keys, parts, strict=False)})
        except (OSError, SafetensorError):
            return cls(fingerprint)


def sequence_key(pair: Pair) -> bytes:
    """Returns a key of 16 bytes for one prompt with one completion."""
    prompt, completion = pair
    return hashlib.sha256(len(prompt).to_bytes(4, "big") + prompt.tobytes() + completion.tobytes()).digest()[:16]


def reference_fingerprint(
    job: Job, arithmetic: Arithmetic, max_length: int, *, by_token: bool = False, packed: bool = True
) -> str:
    """Returns a SHA-256 of everything that determines a log-prob, except token ids and the rounding by blocks."""
    full = job.recipe.method == "full"
    parts = {
        "base": job.base_fingerprint,
        "base_config": sha256_of(job.base / "config.json"),
        "adapter": job.adapter_fingerprint,
        "adapter_config": job.adapter and sha256_of(job.adapter / "adapter_config.json"),
        "merged": job.adapter is not None and full,
        "max_length": max_length,
        "precision": str(arithmetic.precision),
        "weights": str(torch.float32 if full else arithmetic.precision),  # as models.load_policy stores them
        "device": arithmetic.device.type,
        "by_token": by_token,
        "packed": packed,
        "code": [version("thumbwheel-server"), torch.__version__, transformers.__version__],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
