"""What a run needs, looked at in its first second: before its snapshot is built, before any process with torch starts.

Is this worker equipped? Is the reference whole and sound, does its adapter fit the base model and the recipe? Files
show it, headers of safetensors files above all. What only the modules or the rows of a model show is the trainer's to
refuse (worker/training/refusals.py).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from uuid import UUID

from packaging.requirements import Requirement
from sqlalchemy.orm import Session

from app.artifacts import DamagedArtifact
from app.checkpoints import service as checkpoints
from app.checkpoints.service import Staged
from app.database import transaction
from app.errors import NotFound
from app.runs.leases.service import Claimed
from app.snapshots import service as snapshots
from worker.children.processes import Failed
from worker.training.files import model_folders
from worker.training.machine.process import Refusal

DISTRIBUTION, EXTRA = "thumbwheel-server", "worker"
#: Where transformers lists the types of models that it knows.
LISTS = ("auto_mappings.py", "configuration_auto.py")


def reference(claimed: Claimed, folder: Path) -> Staged:
    """The run's reference, brought onto this machine, its adapter into `folder`.

    Raises `Failed` where this run cannot be trained here as far as files show it; what the artifact store raises; and
    `Unavailable`.
    """
    require_libraries(_wanted())
    with transaction() as session:
        parts = checkpoints.chain(session, claimed.project, claimed.reference_checkpoint_id)
    if parts.weights is None and not parts.base_model.is_absolute():
        raise Failed(
            f"base_model: {parts.base_model} is no absolute path: make a project with the folder of a saved model, as "
            "the workers see it; they download none"
        )
    with _readable(f"reference: checkpoint {claimed.reference_checkpoint_id}", "ship another checkpoint"):
        shipped = checkpoints.stage(parts, folder)
    again = "restore it" if parts.weights is None else "delete this file, it is brought here anew"
    try:
        config, shapes = model_folders.require_model(shipped.base_model, again)
        _require_known(shipped.base_model, config.get("model_type"))
        if shipped.adapter is not None:
            model_folders.require_adapter(
                shipped.adapter, claimed.recipe, shapes, "delete this file, it is brought here anew"
            )
    except Refusal as refusal:
        raise Failed(refusal.message) from None
    return shipped


def snapshot(session: Session, snapshot_id: UUID, folder: Path) -> None:
    """The files of a snapshot that was built before, in `folder`. Raises `Failed` where some are lost or damaged, and
    `Unavailable`.
    """
    with _readable(f"snapshot: {snapshot_id}", "start a run on a snapshot of its own"):
        snapshots.stage(session, snapshot_id, folder)


@contextmanager
def _readable(what: str, otherwise: str) -> Iterator[None]:
    try:
        yield
    except (NotFound, DamagedArtifact) as error:
        raise Failed(f"{what} cannot be read: {error.message.rstrip('.')}, or {otherwise}") from None


def require_libraries(wanted: Iterable[Requirement]) -> None:
    """Raises `Failed` where this environment lacks one of them, or has another version than the trainer works with."""
    faults = []
    for library in wanted:
        try:
            there = metadata.version(library.name)
        except metadata.PackageNotFoundError:
            faults.append(f"{library.name} is not installed")
            continue
        if not library.specifier.contains(there, prereleases=True):
            faults.append(f"{library.name} is {there}, not {library.specifier}")
    if faults:
        raise Failed(
            f"this worker cannot train, {', '.join(faults)}: run pip install '{DISTRIBUTION}[{EXTRA}]' where it runs, "
            "then start a run again"
        )


def _wanted() -> list[Requirement]:
    """What our own distribution asks for where runs are trained."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # run from a bare checkout
        return []
    return [
        wanted
        for wanted in map(Requirement, lines)
        if wanted.marker and wanted.marker.evaluate({"extra": EXTRA}) and not wanted.marker.evaluate({"extra": ""})
    ]


def _require_known(folder: Path, kind: object) -> None:
    """A type of model that the transformers of this worker has never heard of. Its own lists are read, not run: to
    import it takes seconds.
    """
    spec = find_spec("transformers")
    if not isinstance(kind, str) or spec is None or spec.origin is None:
        return
    lists = [Path(spec.origin).parent / "models" / "auto" / name for name in LISTS]
    if all(path.is_file() and f'"{kind}"' not in path.read_text() for path in lists):
        version = metadata.version("transformers")
        raise Failed(
            f"base_model: {folder} is a model of the type {kind}, which transformers {version} of this worker does not "
            "know: install a newer one, or name another model"
        )
