"""Creates, reads and changes projects, and locks one while a decision about it is made."""

import re
from pathlib import Path

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import settings
from app.database import now
from app.errors import Conflict, Fault, Invalid, NotFound
from app.pages import Page, key_of_cursor, page_of
from app.projects import store
from app.projects.base_model import reasons_impossible, reasons_unusable
from app.projects.configuration import SECTIONS, ImpossibleChangeError, changed, faults_of_recipe
from app.projects.protection import service as protections
from app.projects.tables import Project

#: The pattern of `wire.Slug`; other ids were never stored, and may hold characters that Postgres refuses.
POSSIBLE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def create(session: Session, new: wire.NewProject, gates: wire.AdoptedGates) -> wire.Project:
    """Inserts the project's row. Only `project_setup.service.create` calls this, since a project also needs a base
    checkpoint, a first release, and its gates in the ledger.

    Raises `Conflict` if the project exists, and `Invalid` with the fields of a wrong recipe.
    """
    _require_valid(new.recipe)
    require_base_model(new.base_model)
    new = new.model_copy(update={"redaction": protections.require_known(new.redaction)})
    values = {
        "id": new.project,
        "base_model": new.base_model,
        "configuration": {**new.model_dump(mode="json", include=SECTIONS), "gates": gates.model_dump(mode="json")},
    }
    row = store.insert_once(session, values)
    if row is None:
        raise Conflict(
            f"Project {new.project} exists already: choose another name, or change it with PATCH.",
            code="project_exists",
        )
    _adopt_protection(session, row)
    return _shown(row)


def get(session: Session, project: str) -> wire.Project:
    """Returns a project. Raises `NotFound`."""
    return _shown(_require(store.of_id(session, project) if POSSIBLE_ID.fullmatch(project) else None, project))


def redaction(session: Session, project: str) -> wire.RedactionReport:
    """Returns what the project does with personal data, and what it has found. Raises `NotFound`."""
    found = get(session, project)
    return wire.RedactionReport(
        redaction=found.redaction,
        actors=found.actors,
        protected_since=found.protected_since,
        findings=protections.findings(session, project),
    )


def change(session: Session, project: str, change: wire.ProjectChange) -> wire.Project:
    """Changes the given sections but the gates. Requested runs keep the configuration that they began with.

    Only `project_setup.service.change` calls this, which also adopts gates, and waits for feedback that is stored by
    the earlier settings. Raises `NotFound`, `Invalid` with the fields of a wrong recipe or redaction, and `Conflict` if
    pseudonyms lack their key.
    """
    row = _require(store.locked(session, project), project)
    if change.recipe is not None:
        _require_valid(change.recipe)
    if change.redaction is not None:
        change = change.model_copy(update={"redaction": protections.require_known(change.redaction)})
    if change.archived is not None:
        row.archived_at = (row.archived_at or now()) if change.archived else None
    if change.split_key is not None:
        row.split_key = None if change.split_key == project else change.split_key
    try:
        row.configuration = changed(row.configuration, change)
    except ImpossibleChangeError as error:
        raise Invalid(f"The change does not fit: {error}.", code="invalid_request", faults=error.faults) from error
    if change.redaction is not None or change.actors is not None:
        _adopt_protection(session, row)
    session.flush()
    return _shown(row)


def set_gates(session: Session, project: str, gates: wire.AdoptedGates) -> None:
    """Replaces the gates. Only `gates.service` calls this, and records it in the ledger. Raises `NotFound`."""
    row = _require(store.locked(session, project), project)
    row.configuration = {**row.configuration, "gates": gates.model_dump(mode="json")}
    session.flush()


def change_base_model(session: Session, project: str, base_model: str) -> None:
    """Replaces the project's base model. Only `releases.service.start_over` calls this, and records it in the ledger.

    Raises `NotFound`, and `Invalid` if the folder holds no base model.
    """
    row = _require(store.locked(session, project), project)
    require_base_model(base_model)
    row.base_model = base_model
    session.flush()


def require_base_model(base_model: str, pointer: str = "/base_model") -> None:
    """Raises `Invalid` if this is not the folder of a base model, as far as this machine can tell. `pointer`: of the
    field in the request.
    """
    check = reasons_unusable if settings.current().base_models == "here" else lambda _: reasons_impossible(base_model)
    reasons = check(Path(base_model))
    if reasons:
        remedy = (
            " If only workers see the folder, set THUMBWHEEL_BASE_MODELS=on_workers for the API."
            if reasons[0].startswith("There is no folder")
            else ""
        )
        faults = [Fault(pointer, reason) for reason in reasons]
        raise Invalid(
            f"{pointer.removeprefix('/')}: {' '.join(reasons)}{remedy}", code="invalid_base_model", faults=faults
        )


def require_open(session: Session, project: str) -> wire.Project:
    """Returns the project. Raises `Conflict` if it is archived and so takes no feedback and starts no run, and
    `NotFound` if it is unknown.
    """
    found = get(session, project)
    if found.archived_at is not None:
        raise Conflict(
            f"Project {project} is archived: it takes no feedback and starts no runs. To reopen it: PATCH "
            f'/v1/projects/{project} with {{"archived": false}}.',
            code="project_archived",
        )
    return found


def page(
    session: Session, *, within: str | None, archived: bool | None, cursor: str | None, limit: int
) -> Page[wire.Project]:
    """Returns a page of projects by name: only `within`, unless it is None; only archived or only open ones, unless
    `archived` is None.
    """
    after = key_of_cursor(cursor, _possible)
    return page_of(store.by_id(session, within, archived, after, limit + 1), limit, lambda row: row.id, _shown)


def ids(session: Session) -> list[str]:
    """Returns every project that is not archived."""
    return store.open_ids(session)


def archived_ids(session: Session) -> list[str]:
    """Returns every project that is archived."""
    return store.archived_ids(session)


def base_models(session: Session) -> dict[str, str]:
    """Returns the base model of each project that is not archived."""
    return store.base_models(session)


def lock(session: Session, project: str) -> wire.Project:
    """Locks the project's row until the transaction ends, so that decisions about one project are serialized.

    Raises `NotFound`.
    """
    return _shown(_require(store.locked(session, project), project))


def try_lock(session: Session, project: str) -> wire.Project | None:
    """Locks the project like `lock`, but returns None if another transaction holds it: waiting could deadlock."""
    row = store.locked_unless_held(session, project)
    return None if row is None else _shown(row)


def count_erasure(session: Session, project: str) -> None:
    """Counts an erasure in the project's log. Locks the project's row, like `lock`."""
    store.count_erasure(session, project)


def erasures(session: Session, project: str) -> int:
    """Returns the number of erasures in the project's log: anything read from the log at another count is void.

    Callers that store what they read compare the counts while they hold the project's lock.
    """
    return store.erasures(session, project)


def split_key(session: Session, project: str) -> str:
    """Returns the key of the split, with which a prompt decides on which side it is."""
    return store.split_key(session, project)


def _possible(text: str) -> str:
    if not POSSIBLE_ID.fullmatch(text):
        raise ValueError(text)
    return text


def _require(row: Project | None, project: str) -> Project:
    if row is None:
        raise NotFound(f"There is no project {project!r}.", code="project_not_found")
    return row


def _require_valid(recipe: wire.RecipeChoice) -> None:
    faults = [
        Fault(f"/recipe{fault.pointer}", fault.message)
        for fault in faults_of_recipe(recipe.preset, recipe.changes.given())
    ]
    if faults:
        what = "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults)
        raise Invalid(f"The recipe is wrong: {what}.", code="invalid_recipe", faults=faults)


def _adopt_protection(session: Session, row: Project) -> None:
    configured = wire.ProjectConfiguration.model_validate(
        {name: value for name, value in row.configuration.items() if name in ("redaction", "actors")}
    )
    since = protections.adopt(session, row.id, configured.redaction, configured.actors)
    if since is not None:
        row.configuration = {**row.configuration, "protected_since": since.isoformat()}


def _shown(row: Project) -> wire.Project:
    known = {name: getattr(row, name) for name in ("base_model", "created_at", "archived_at")}
    named = {"project": row.id, "split_key": row.split_key or row.id}
    return wire.Project.model_validate({**row.configuration, **known, **named})
