"""Receives the file of an import: piece by piece into the artifact store, with bounded memory and no transaction open.

    key, options ─▶ pieces ─▶ store ─▶ row and message, committed ─▶ 202

A file that does not arrive whole leaves nothing behind.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from anyio import to_thread
from fastapi import Request, Response
from sqlalchemy.orm import Session
from starlette.requests import ClientDisconnect
from thumbwheel import wire

from app import artifacts, settings
from app.access.caller import Caller, begin_entry, require
from app.artifacts import Upload
from app.capacity import Capacity
from app.database import new_id
from app.errors import Fault, Invalid, TooLarge, Unavailable
from app.feedback import importing
from app.feedback.import_jobs import service
from app.feedback.importing.printable import printable
from app.projects import service as projects
from app.projects.admission import caller_and_project
from app.projects.project_of_request import project_of
from app.web.bodies import media_type
from app.web.problems import problem_response

#: Files that one process receives at the same time.
MOST_UPLOADS = 4
PIECE_BYTES = artifacts.CHUNK
LONGEST_NAME = 200
SCOPES: tuple[wire.Scope, ...] = ("feedback:write", "feedback:read")

Result = TypeVar("Result")


@dataclass(frozen=True)
class UploadRequest:
    """The statements of a request about its file. `restart`: it is imported again, even if it was imported."""

    name: str
    options: wire.ImportOptions
    dry_run: bool
    restart: bool


class UploadReceiver:
    """Receives the uploads of one process of the API."""

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._under_way = 0

    async def receive(self, request: Request, about: UploadRequest) -> Response:
        """Stores the body as a file and requests its import. Raises the errors of the key, `Invalid`, `TooLarge`,
        `Conflict`, `Unavailable`.
        """
        caller, project = await self._do(lambda session: _admitted(session, request))
        _require_options(about.options)
        _require_file(request)
        length = request.headers.get("content-length", "")
        announced = int(length[:20]) if length.isdecimal() else 0
        if announced > settings.current().import_max_bytes:
            raise _too_large()
        if self._under_way >= MOST_UPLOADS:
            raise Unavailable("Several files are being uploaded: retry in a moment.", code="uploads_busy")
        self._under_way += 1
        try:
            return await self._stored(request, caller, project, announced, about)
        except ClientDisconnect:
            return problem_response(400, "upload_broken", "The upload broke off: send the file again.")
        finally:
            self._under_way -= 1

    async def _stored(
        self, request: Request, caller: Caller, project: str, announced: int, about: UploadRequest
    ) -> Response:
        import_id = new_id()
        upload = await to_thread.run_sync(Upload, import_id, announced)
        kept = False
        try:
            await _write_all(request, upload)
            if not upload.size:
                raise Invalid("The body is empty: send the file as the body.", code="upload_empty")
            await to_thread.run_sync(upload.keep)
            values = {
                "id": import_id,
                "name": printable(about.name)[-LONGEST_NAME:],
                "size": upload.size,
                "sha256": upload.sha256,
                "fingerprint": service.fingerprint_of(
                    upload.sha256, about.options, dry_run=about.dry_run, restart=about.restart
                ),
                "options": about.options.model_dump(mode="json"),
                "limits": _limits(caller),
                "dry_run": about.dry_run,
            }

            def request_import(session: Session) -> tuple[wire.Import, bool]:
                _admitted(session, request)  # a large file takes long: key, project and room may be gone
                begin_entry(session, request, caller)
                return service.request(session, project, caller.by, values)

            shown, kept = await self._do(request_import)
        finally:
            if not kept:
                await _discard(upload)
        return Response(
            shown.model_dump_json(),
            202 if kept else 200,
            {"Location": f"/v1/imports/{shown.id}"},
            media_type="application/json",
        )

    async def _do(self, work: Callable[[Session], Result]) -> Result:
        """Returns the result of `work` in a transaction of its own, once it is committed."""
        async with self._capacity.session(whole_log=False, read_only=False) as session:
            return await to_thread.run_sync(work, session)


def _admitted(session: Session, request: Request) -> tuple[Caller, str]:
    """Returns the caller and the project of an upload. Raises the errors of the key, and `Conflict`."""
    authorization = request.headers.get("authorization", "").encode("latin-1")
    caller, named = caller_and_project(session, authorization, request.scope["query_string"], browsers=False)
    for scope in SCOPES:
        require(caller, scope)
    project = project_of(session, caller, named).project
    projects.require_open(session, project)
    service.require_room(session, project)
    return caller, project


async def _write_all(request: Request, upload: Upload) -> None:
    most = settings.current().import_max_bytes
    piece = bytearray()
    async for chunk in request.stream():
        if upload.size + len(piece) + len(chunk) > most:
            raise _too_large()
        piece += chunk
        if len(piece) >= PIECE_BYTES:
            await to_thread.run_sync(upload.write, bytes(piece))
            piece.clear()
    if piece:
        await to_thread.run_sync(upload.write, bytes(piece))


async def _discard(upload: Upload) -> None:
    """Drops the file, even if the request is being cancelled."""
    await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, upload.discard))


def _require_options(options: wire.ImportOptions) -> None:
    """Raises `Invalid` for options that no import could use."""
    for name, value in options.model_dump(exclude_none=True).items():
        if "\0" in value:
            raise Invalid(
                f"{name} holds a NUL character: remove it.", code="invalid_option", faults=[Fault(name, "holds a NUL")]
            )
    try:
        importing.choices(options.as_, options.map, options.desirable, options.undesirable, options.scale)
    except Invalid as error:
        name, _, _ = error.message.removeprefix("--").partition(":")
        message = error.message.removeprefix("--")
        raise Invalid(message, code=error.code, faults=[Fault(name, message)]) from error


def _require_file(request: Request) -> None:
    """Raises `Invalid` unless the body is the file itself."""
    kind = media_type(request.headers.get("content-type", ""))
    if kind.startswith("multipart/"):
        raise Invalid(
            f"The body is {kind}, a form: send the file itself as the body, for example with curl -T FILE -X POST.",
            code="invalid_type",
            faults=[Fault("Content-Type", "is that of a form")],
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Invalid(
            f"Content-Encoding is {encoding}: send the file as it is; gzip is recognised by its content.",
            code="invalid_encoding",
            faults=[Fault("Content-Encoding", "is not identity")],
        )


def _limits(caller: Caller) -> list[dict[str, object]]:
    """Returns the limits of the caller's key that count for all its events."""
    quota = caller.limits.per_minute
    return [] if quota is None else [{"name": "key", "of": str(caller.key_id), "quota": quota}]


def _too_large() -> TooLarge:
    most = settings.current().import_max_bytes
    return TooLarge(
        f"The file is larger than {most:,} bytes: split it, compress it, or raise THUMBWHEEL_IMPORT_MAX_BYTES.",
        code="too_large",
    )
