"""The fingerprint of a folder's weights: one SHA-256 for a model or an adapter, however many files it has."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from app.durable import sha256_of


def weights_fingerprint(folder: Path, known: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """Returns the SHA-256 of the folder's weights, or None if it has none in safetensors files.

    known   the SHA-256 of files whose content is not read again, by name

    For one weight file it is the hash of that file; for several, the hash of the sorted lines ``<sha256>  <name>``. The
    rule is the same for adapters and models, so weights_sha256 of training.json is the next job's fingerprint.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return None
    digests = {file.name: known.get(file.name) or sha256_of(file) for file in files}
    if len(digests) == 1:
        return digests[files[0].name]
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    return hashlib.sha256(lines.encode()).hexdigest()
