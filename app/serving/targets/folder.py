"""Symbolic links that always point to whole folders, for any server that watches them or is restarted by a hook."""

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from thumbwheel.wire.serving import FolderSettings

from app.checkpoints.probe_file import Probe
from app.durable import flush
from app.serving.served_artifact import Role, ServedArtifact, pointer_of
from app.serving.targets.target import ServerReadings, TargetRefused


class FolderTarget:
    """A link to what is live, and another one to the canary while there is one."""

    def __init__(self, settings: FolderSettings, project: str, target: str) -> None:
        self._pointers: dict[Role, str] = {
            "live": pointer_of(project, target, settings),
            "canary": pointer_of(project, target, settings, "canary"),
        }
        # A link of ours is read by the server too, so it has to work under both paths.
        self._seen_in = Path(settings.server_folder or settings.publish_folder) / project

    def close(self) -> None:
        """Closes nothing: there is no connection."""

    def load(self, artifact: ServedArtifact, role: Role) -> str:
        """Replaces the link. A reader sees the folder before or the one after, never none."""
        swap(self._pointers[role], artifact.folder or artifact.path)
        return self._seen(role)

    def find(self, artifact: ServedArtifact, role: Role) -> str | None:
        return self._seen(role) if points_to(self._pointers[role], artifact.folder or artifact.path) else None

    def unload(self, artifact: ServedArtifact) -> None:
        """Leaves the folder for a rollback."""

    def end_canary(self) -> None:
        """Removes the link to the canary."""
        remove(self._pointers["canary"])

    def read(self, model: str, artifact: ServedArtifact, probe: Probe) -> ServerReadings:
        del model, artifact, probe
        return ServerReadings(nothing_because="a folder answers no requests")

    def restart_for(self, artifact: ServedArtifact) -> str | None:
        """Returns None: the readers of the folder watch the link."""

    def _seen(self, role: Role) -> str:
        return str(self._seen_in / Path(self._pointers[role]).name)


def swap(pointer: str, folder: str) -> None:
    """Replaces the link `pointer` by one to the folder, atomically. Raises `TargetRefused`.

    A folder beside it is named relatively, so that the link works wherever the publish folder is mounted.
    """
    link = Path(pointer)
    if points_to(pointer, folder):
        return
    aside = link.with_name(f".{link.name}.{uuid4().hex}")
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.exists() and not link.is_symlink():
            raise TargetRefused(f"{link} is in the way: it is no symbolic link of ours; move it away")
        aside.symlink_to(_relative(link, folder))
        aside.replace(link)
        flush(link.parent)
    except OSError as error:
        raise TargetRefused(
            f"{link} cannot be written ({error.strerror or error}): check the folder's rights"
        ) from None
    finally:
        with suppress(OSError):
            aside.unlink(missing_ok=True)


def remove(pointer: str) -> None:
    """Removes the link, which need not be there. Raises `TargetRefused`."""
    link = Path(pointer)
    try:
        if link.is_symlink():
            link.unlink(missing_ok=True)
            flush(link.parent)
    except OSError as error:
        raise TargetRefused(
            f"{link} cannot be removed ({error.strerror or error}): check the folder's rights"
        ) from None


def points_to(pointer: str, folder: str) -> bool:
    """Returns whether the link points to the folder."""
    try:
        return os.readlink(pointer) == _relative(Path(pointer), folder)
    except OSError:
        return False


def _relative(link: Path, folder: str) -> str:
    return Path(folder).name if Path(folder).parent == link.parent else folder
