"""The store of files by the SHA-256 of their content, for runs, snapshots and checkpoints, and of uploads."""

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
from app.artifacts.uploads import Upload, delete_named, delete_upload, kept_uploads, local_upload

__all__ = [
    "CHUNK",
    "DamagedArtifact",
    "Kept",
    "OpenFile",
    "StoreUnusable",
    "Stored",
    "Upload",
    "bucket_keeps_versions",
    "delete",
    "delete_named",
    "delete_upload",
    "fetch",
    "in_folder",
    "kept_uploads",
    "local_upload",
    "location",
    "open_stream",
    "open_verified",
    "path_of",
    "put",
    "stored",
    "try_out",
    "verify",
]
