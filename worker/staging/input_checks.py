"""Checks the inputs of a run in its first second, before its snapshot is built and before a process with torch starts.

The checks are by files alone, mostly headers of safetensors files: this worker has the libraries, the reference is
complete and sound, its adapter fits the base model and the recipe. Faults that show only in the modules or the rows are
refused by the trainer (worker/training/refusals.py).
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
from worker.training.machine.process import TrainingRefusal

DISTRIBUTION, EXTRA = "thumbwheel-server", "worker"
#: The files in which transformers lists the known types of models.
LISTS = ("auto_mappings.py", "configuration_auto.py")


def reference(claimed: Claimed, folder: Path) -> Staged:
    """Brings the run's reference onto this machine, its adapter into `folder`, and returns it.

    Raises `Failed` if files show that this run cannot be trained here, `Unavailable`, and errors of the artifact store.
    """
    require_libraries(_wanted())
    with transaction() as session:
        parts = checkpoints.chain(session, claimed.project, claimed.reference_checkpoint_id)
    if parts.weights is None and not parts.base_model.is_absolute():
        raise Failed(
            f"base_model: {parts.base_model} is not an absolute path: create a project with the folder of a saved "
            "model, as the workers see it; they do not download models"
        )
    with _readable(f"reference: checkpoint {claimed.reference_checkpoint_id}", "ship another checkpoint"):
        shipped = checkpoints.stage(parts, folder)
    remedy = "restore it" if parts.weights is None else "delete this file, it is fetched again"
    try:
        config, shapes = model_folders.require_model(shipped.base_model, remedy)
        _require_known(shipped.base_model, config.get("model_type"))
        if shipped.adapter is not None:
            model_folders.require_adapter(
                shipped.adapter, claimed.recipe, shapes, "delete this file, it is fetched again"
            )
    except TrainingRefusal as refusal:
        raise Failed(refusal.message) from None
    return shipped


def snapshot(session: Session, snapshot_id: UUID, folder: Path) -> None:
    """Brings the files of an existing snapshot into `folder`.

    Raises `Failed` if some are lost or damaged, and `Unavailable`.
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
    """Raises `Failed` if this environment lacks one of the libraries or has an unsupported version of it."""
    faults = []
    for library in wanted:
        try:
            installed = metadata.version(library.name)
        except metadata.PackageNotFoundError:
            faults.append(f"{library.name} is not installed")
            continue
        if not library.specifier.contains(installed, prereleases=True):
            faults.append(f"{library.name} is {installed}, not {library.specifier}")
    if faults:
        raise Failed(
            f"this worker cannot train, {', '.join(faults)}: run pip install '{DISTRIBUTION}[{EXTRA}]' where it runs, "
            "then start the run again"
        )


def _wanted() -> list[Requirement]:
    """Returns the libraries that our own distribution requires for training."""
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
    """Raises `Failed` if this worker's transformers does not know the model type `kind`.

    Its lists are read as text, because an import takes seconds.
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
