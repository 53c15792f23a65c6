"""Serves files of the artifact store over HTTP, with the headers that a client needs to verify them."""

import base64
from itertools import chain

from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from app.artifacts import OpenFile


def download(source: OpenFile) -> StreamingResponse:
    """Returns a response with the whole file. `Content-Length` is its length, `ETag` its SHA-256 in hexadecimal,
    `Repr-Digest` (RFC 9530) the same in base64.

    Raises `DamagedArtifact` for a damaged file of one chunk, before anything is sent; for a longer one the connection
    is broken before the last byte.
    """
    chunks = source.chunks()
    try:
        first = next(chunks, b"")
    except BaseException:
        source.close()
        raise
    digest = base64.b64encode(bytes.fromhex(source.sha256)).decode()
    return StreamingResponse(
        chain([first], chunks),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(source.size),
            "ETag": f'"{source.sha256}"',
            "Repr-Digest": f"sha-256=:{digest}:",
        },
        background=BackgroundTask(source.close),
    )
