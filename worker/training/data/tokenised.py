"""Stores the token ids of a snapshot's rows in WORKDIR, so that a resumed run does not tokenise them again.

Their key is a fingerprint of everything that determines them: the shards, the tokenizer with all its settings, whether
spans and edits became weights, and the versions of the software.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from thumbwheel.row_checks import RowFault

from worker.training.data.tokens import Encoded, Tokens
from worker.training.files.sealed import is_sound, write_sealed
from worker.training.job import Shard

#: Version of the rules by which rows are dropped. Raise it when a rule changes, so that older files are not used.
CHECKS = 4


def tokens_fingerprint(
    shards: Sequence[Shard], tokens: Tokens, *, weigh_tokens: bool, kept_weight: float = 1.0
) -> str | None:
    """Returns a SHA-256, or None for a tokenizer in Python, which does not expose all of its settings."""
    tokenizer = tokens.tokenizer
    if not tokenizer.is_fast:
        return None
    parts = [
        [(shard.format, shard.sha256) for shard in shards],
        weigh_tokens if kept_weight == 1 else kept_weight,
        tokenizer.backend_tokenizer.to_str(),
        str(tokenizer.init_kwargs),
        tokenizer.chat_template,
        [tokens.start, *tokens.ends],
        CHECKS,
        [version("thumbwheel-server"), transformers.__version__],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def tokenizer_fingerprint(tokens: Tokens) -> str | None:
    """Returns a SHA-256 that is equal for tokenizers that split every text in the same way; None where
    `tokens_fingerprint` is.
    """
    tokenizer = tokens.tokenizer
    if not tokenizer.is_fast:
        return None
    return hashlib.sha256(json.dumps([tokenizer.backend_tokenizer.to_str(), tokens.ends]).encode()).hexdigest()


def keep(path: Path, fingerprint: str, encoded: Sequence[Encoded | RowFault]) -> None:
    """Writes `encoded`, in the reading order of the shards' rows, to `path` under `fingerprint`."""
    content: dict[str, NDArray[Any]] = {}
    faults = {index: row for index, row in enumerate(encoded) if isinstance(row, RowFault)}
    for name in Encoded._fields:
        parts = [getattr(row, name) for row in encoded if getattr(row, name, None) is not None]
        if parts:
            content[name] = np.concatenate(parts)
            content[f"{name}_counts"] = np.array([len(part) for part in parts], dtype=np.int64)
    write_sealed(path, save(content, metadata={"fingerprint": fingerprint, "faults": json.dumps(faults)}))


def kept(path: Path, fingerprint: str) -> list[Encoded | RowFault] | None:
    """Returns the rows stored in `path`, or None if it has another fingerprint or is damaged."""
    if not is_sound(path):
        return None
    try:
        with safe_open(str(path), framework="np") as file:
            if (file.metadata() or {}).get("fingerprint") != fingerprint:
                return None
            faults = {int(index): RowFault(*fault) for index, fault in json.loads(file.metadata()["faults"]).items()}
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is not a mapping
    except (OSError, SafetensorError):
        return None

    def rows_of(name: str) -> list[NDArray[Any]]:
        return np.split(content[name], np.cumsum(content[f"{name}_counts"])[:-1]) if name in content else []

    weights: Iterable[Any] = rows_of("weights") or repeat(None)
    pairs = zip(rows_of("prompt"), rows_of("completion"), strict=True)
    sound = (Encoded(*pair, weight) for pair, weight in zip(pairs, weights, strict=False))
    rows = len(faults) + len(content.get("prompt_counts", ()))
    return [faults[index] if index in faults else next(sound) for index in range(rows)]
