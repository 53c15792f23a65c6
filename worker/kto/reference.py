"""The reference's log-probs: every sequence of the plan scored once, before the first update, and kept.

The policy scores them itself while it still is the reference (see `models`), block by block as training will see them,
so that at step 0 policy and reference agree to the last bit. Kept by what determines them: a log-prob belongs to the
token ids of one prompt with one completion, the file to the weights, maximum length and precision that it was scored
with.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from worker.kto.batches import Block
from worker.kto.files import write_atomically
from worker.kto.job import Job
from worker.kto.logprobs import Sequences, completion_log_probs
from worker.kto.models import Arithmetic
from worker.kto.process import StopRequest
from worker.kto.rows import Row
from worker.kto.tokens import Ids, fit

Pair = tuple[Ids, Ids]


def matched(rows: Sequence[Row], block: Block) -> list[Pair]:
    """Each row's prompt with its own completion."""
    return [(rows[row].prompt, rows[row].completion) for row in block.rows]


def mismatched(rows: Sequence[Row], block: Block, max_length: int) -> list[Pair]:
    """Each row's prompt with its partner's completion, cut alike; its own completion stands in where it has no
    partner.
    """
    pairs = []
    for row, partner in zip(block.rows, block.partners, strict=True):
        other = row if partner is None else partner
        fitted = fit(rows[row].prompt, rows[other].completion, max_length)
        assert fitted is not None, "a completion that fits its own prompt fits any: prompts give way"
        pairs.append((fitted.prompt, fitted.completion))
    return pairs


class Reference:
    """lp_ref by sequence."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self._known: dict[bytes, float] = {}

    def log_probs(self, pairs: Sequence[Pair], device: torch.device) -> Tensor:
        """lp_ref_B in float32. Raises KeyError where one was never scored."""
        return torch.tensor([self._known[sequence_key(pair)] for pair in pairs], dtype=torch.float32, device=device)

    def knows(self, pairs: Sequence[Pair]) -> bool:
        return all(sequence_key(pair) in self._known for pair in pairs)

    def learn(self, pairs: Sequence[Pair], lp_B: Tensor) -> None:
        for pair, value in zip(pairs, lp_B.tolist(), strict=True):
            self._known.setdefault(sequence_key(pair), value)

    def save(self, path: Path) -> None:
        keys = np.frombuffer(b"".join(self._known), dtype=np.uint8).reshape(-1, 16)
        values = np.array(list(self._known.values()), dtype=np.float32)
        content = save({"keys": keys, "log_probs": values}, metadata={"fingerprint": self.fingerprint})
        write_atomically(path, content)

    @classmethod
    def load(cls, path: Path, fingerprint: str) -> "Reference":
        """What `path` keeps under this fingerprint; empty where there is nothing, or something else, or a broken
        file.
        """
        reference = cls(fingerprint)
        try:
            with safe_open(str(path), framework="np") as file:
                if (file.metadata() or {}).get("fingerprint") == fingerprint:
                    keys, values = file.get_tensor("keys"), file.get_tensor("log_probs")
                    reference._known = {bytes(key): float(value) for key, value in zip(keys, values, strict=True)}
        except (OSError, SafetensorError):
            pass
        return reference


def sequence_key(pair: Pair) -> bytes:
    """16 bytes for one prompt with one completion."""
    prompt, completion = pair
    return hashlib.sha256(len(prompt).to_bytes(4, "big") + prompt.tobytes() + completion.tobytes()).digest()[:16]


def reference_fingerprint(job: Job, arithmetic: Arithmetic, max_length: int) -> str:
    parts = {
        "base": job.base_fingerprint,
        "adapter": job.adapter_fingerprint,
        "merged": job.adapter is not None and job.recipe.method == "full",
        "max_length": max_length,
        "precision": str(arithmetic.precision),
        "device": arithmetic.device.type,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def score_blocks(
    policy: Any,
    rows: Sequence[Row],
    blocks: Sequence[Block],
    max_length: int,
    arithmetic: Arithmetic,
    kept: Path,
    fingerprint: str,
    stop: StopRequest,
    progress: Callable[[int, int], None],
) -> Reference:
    """Both log-probs of every row of `blocks`, from `kept` where it has them, else scored by `policy` at its start.

    Asked to stop, it keeps what it has and raises `Stopped`.
    """
    reference = Reference.load(kept, fingerprint)
    fresh = False
    for done, block in enumerate(blocks):
        for pairs in (matched(rows, block), mismatched(rows, block, max_length)):
            if reference.knows(pairs):
                continue
            with torch.no_grad():
                sequences = Sequences.of(pairs, arithmetic.device)
                reference.learn(pairs, completion_log_probs(policy, sequences, arithmetic.precision))
            fresh = True
        progress(done + 1, len(blocks))
        if stop.requested:
            reference.save(kept)
            stop.raise_if_requested()
    if fresh:
        reference.save(kept)
    return reference
