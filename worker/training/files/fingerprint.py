"""The fingerprint of a folder's weights: one SHA-256 for a model or an adapter, however many files it has."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from app.durable import sha256_of


def weights_fingerprint(folder: Path, known: Mapping[str, str] = MappingProxyType({})) -> str | None:
    """Returns the SHA-256 of the folder's weights, or None where it has none in safetensors files.

    known   the SHA-256 of files whose content is not read again, by their names

    One weight file: the hash of that file. Several: the hash of the sorted lines ``<sha256>  <name>``. An adapter's
    and a model's fingerprint are made alike, so what training.json calls weights_sha256 is the next job's fingerprint.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return None
    digests = {file.name: known.get(file.name) or sha256_of(file) for file in files}
    if len(digests) == 1:
        return digests[files[0].name]
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    return hashlib.sha256(lines.encode()).hexdigest()
