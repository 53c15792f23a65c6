"""The store of files by the SHA-256 of their content, for runs, snapshots and checkpoints."""

from app.artifacts.faults import DamagedArtifact, StoreUnusable
from app.artifacts.files import (
    CHUNK,
    Kept,
    Stored,
    bucket_keeps_versions,
    delete,
    in_folder,
    location,
    open_stream,
    path_of,
    put,
    stored,
    try_out,
)
from app.artifacts.reading import OpenFile, fetch, open_verified, verify

__all__ = [
    "CHUNK",
    "DamagedArtifact",
    "Kept",
    "OpenFile",
    "StoreUnusable",
    "Stored",
    "bucket_keeps_versions",
    "delete",
    "fetch",
    "in_folder",
    "location",
    "open_stream",
    "open_verified",
    "path_of",
    "put",
    "stored",
    "try_out",
    "verify",
]
