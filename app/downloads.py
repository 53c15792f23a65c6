"""Files of the artifact store over HTTP, with what a client needs to verify them."""

import base64

from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask

from app.artifacts import OpenFile


def download(source: OpenFile) -> StreamingResponse:
    """All of the file. `Content-Length` is its length, `ETag` its sha256 in hexadecimal, `Repr-Digest` (RFC 9530) the
    same in base64. Where the stored content is damaged, the connection breaks before the last byte.
    """
    digest = base64.b64encode(bytes.fromhex(source.sha256)).decode()
    return StreamingResponse(
        source.chunks(),
        media_type="application/octet-stream",
        headers={
            "Content-Length": str(source.size),
            "ETag": f'"{source.sha256}"',
            "Repr-Digest": f"sha-256=:{digest}:",
        },
        background=BackgroundTask(source.close),
    )
