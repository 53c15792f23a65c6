"""The snapshot's rows as token ids, kept in WORKDIR, so that a run that is continued does not tokenise them again.

Kept by what determines them: the shards, the tokenizer with all its settings, whether spans became weights, versions.
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
from thumbwheel.row_checks import Fault

from worker.training.data.tokens import Encoded, Tokens
from worker.training.files.sealed import is_sound, write_sealed
from worker.training.job import Shard

#: Number of the rules by which rows are dropped: raise it with them, so that rows kept under others are not taken.
CHECKS = 3


def tokens_fingerprint(shards: Sequence[Shard], tokens: Tokens, *, weigh_tokens: bool) -> str | None:
    """SHA-256; None for a tokenizer in Python, which does not tell all that it goes by."""
    tokenizer = tokens.tokenizer
    if not tokenizer.is_fast:
        return None
    parts = [
        [(shard.format, shard.sha256) for shard in shards],
        weigh_tokens,
        tokenizer.backend_tokenizer.to_str(),
        str(tokenizer.init_kwargs),
        tokenizer.chat_template,
        [tokens.start, *tokens.ends],
        CHECKS,
        [version("thumbwheel-server"), transformers.__version__],
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def keep(path: Path, fingerprint: str, encoded: Sequence[Encoded | Fault]) -> None:
    """`encoded`: in the order in which the shards' rows are read."""
    content: dict[str, NDArray[Any]] = {}
    faults = {index: row for index, row in enumerate(encoded) if isinstance(row, Fault)}
    for name in Encoded._fields:
        parts = [getattr(one, name) for one in encoded if getattr(one, name, None) is not None]
        if parts:
            content[name] = np.concatenate(parts)
            content[f"{name}_counts"] = np.array([len(part) for part in parts], dtype=np.int64)
    write_sealed(path, save(content, metadata={"fingerprint": fingerprint, "faults": json.dumps(faults)}))


def kept(path: Path, fingerprint: str) -> list[Encoded | Fault] | None:
    """Returns what `path` keeps under this fingerprint: None where it is of another one, or damaged."""
    if not is_sound(path):
        return None
    try:
        with safe_open(str(path), framework="np") as file:
            if (file.metadata() or {}).get("fingerprint") != fingerprint:
                return None
            faults = {int(index): Fault(*fault) for index, fault in json.loads(file.metadata()["faults"]).items()}
            content = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError):
        return None

    def rows_of(name: str) -> list[NDArray[Any]]:
        return np.split(content[name], np.cumsum(content[f"{name}_counts"])[:-1]) if name in content else []

    weights: Iterable[Any] = rows_of("weights") or repeat(None)
    pairs = zip(rows_of("prompt"), rows_of("completion"), strict=True)
    sound = (Encoded(*pair, weight) for pair, weight in zip(pairs, weights, strict=False))
    rows = len(faults) + len(content.get("prompt_counts", ()))
    return [faults[index] if index in faults else next(sound) for index in range(rows)]
