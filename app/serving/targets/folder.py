"""A symbolic link that always points to a whole folder, for any server that watches it or is restarted by a hook."""

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from thumbwheel.wire.serving import FolderSettings

from app.checkpoints.probe_file import Probe
from app.durable import flush
from app.serving.served_artifact import ServedArtifact, pointer_of
from app.serving.targets.target import ServerReadings, TargetRefused


class FolderTarget:
    def __init__(self, settings: FolderSettings, project: str, target: str) -> None:
        self._pointer = pointer_of(project, target, settings)
        # A link of ours is read by the server too, so it has to work under both paths.
        self._seen = Path(settings.server_folder or settings.publish_folder) / project / Path(self._pointer).name

    def close(self) -> None:
        """Closes nothing: there is no connection."""

    def load(self, artifact: ServedArtifact) -> str:
        """Replaces the link. A reader sees the folder before or the one after, never none."""
        swap(self._pointer, artifact.folder or artifact.path)
        return str(self._seen)

    def has(self, artifact: ServedArtifact) -> bool:
        return points_to(self._pointer, artifact.folder or artifact.path)

    def unload(self, artifact: ServedArtifact) -> None:
        """Leaves the folder for a rollback."""

    def read(self, model: str, artifact: ServedArtifact, probe: Probe) -> ServerReadings:
        del model, artifact, probe
        return ServerReadings(nothing_because="a folder answers no requests")

    def restart_for(self, artifact: ServedArtifact) -> str | None:
        """Returns None: the readers of the folder watch the link."""


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


def points_to(pointer: str, folder: str) -> bool:
    """Returns whether the link points to the folder."""
    try:
        return os.readlink(pointer) == _relative(Path(pointer), folder)
    except OSError:
        return False


def _relative(link: Path, folder: str) -> str:
    return Path(folder).name if Path(folder).parent == link.parent else folder
