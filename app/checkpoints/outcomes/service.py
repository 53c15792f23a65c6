"""Reads the outcomes of a checkpoint's suites, page by page, from the file that its run stored."""

from uuid import UUID

from sqlalchemy.orm import Session
from thumbwheel import wire

from app import artifacts
from app.artifacts import DamagedArtifact
from app.checkpoints import service as checkpoints
from app.errors import NotFound
from app.pages import MAX_INT4, Page, key_of_cursor, number_up_to, page_of
from app.suites.outcomes_file import OUTCOMES, OutcomesDamaged, read_outcomes, suites_in


def page(
    session: Session, project: str, checkpoint_id: UUID, suite: str, *, cursor: str | None, limit: int
) -> Page[wire.SuiteOutcome]:
    """Returns outcomes in the order of the tests. Raises `NotFound`, `Unavailable`."""
    start = key_of_cursor(cursor, number_up_to(MAX_INT4)) or 0
    checkpoint = checkpoints.get(session, project, checkpoint_id)
    sha256 = checkpoint.files.get(OUTCOMES)
    if sha256 is None:
        raise NotFound(
            f"Checkpoint {checkpoint_id} has no outcomes of suites: its run had no suites, or was before they existed.",
            code="suite_not_found",
        )
    with artifacts.open_stream(sha256) as file:
        try:
            rows = read_outcomes(file, suite, start, limit + 1)
            known = ", ".join(suites_in(file)) if rows is None else ""
        except OutcomesDamaged as error:
            raise DamagedArtifact(
                f"The outcomes of checkpoint {checkpoint_id} are damaged: restore the artifact {sha256} from a backup.",
                code="artifact_damaged",
            ) from error
    if rows is None:
        raise NotFound(
            f"The evaluation of checkpoint {checkpoint_id} ran no suite {suite!r}: it ran {known}.",
            code="suite_not_found",
        )
    numbered = list(enumerate(rows, start + 1))
    return page_of(numbered, limit, lambda row: str(row[0]), lambda row: wire.SuiteOutcome.model_validate(row[1]))
