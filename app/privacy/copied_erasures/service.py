"""Keeps actors who were erased from another project away from a copy of its log, too.

An erasure keeps no actor, only a digest of the project's name and the actor's id. No digest can be made with
another name, so the copy keeps the name that it was made with.
"""

from collections.abc import Sequence

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.access.operator_log import service as operator_log
from app.database import now
from app.feedback import service as feedback
from app.privacy.copied_erasures import store
from app.projects import service as projects

NOTHING_ERASED = {"events": 0, "completions": 0, "audit_items": 0, "suspicions": 0, "quarantine_decisions": 0}


def copy_in(session: Session, project: str, erasures: Sequence[wire.CopiedErasure]) -> wire.ErasureCopyReceipt:
    """Refuses events of these erased actors from now on, and lists their erasures as done. Actors of whom the project
    has an erasure are left as they are: one that was lifted stays lifted."""
    projects.lock(session, project)
    digests = {bytes.fromhex(each.actor_sha256): each for each in erasures}
    known = store.known_of(session, project, digests)
    new = {digest: each for digest, each in digests.items() if digest not in known}
    for digest, each in new.items():
        for each_digest in (digest, _pseudonym_of(each)):
            if each_digest is not None:
                feedback.keep_away_as(session, project, each.hashed_for, each_digest)
    store.insert(session, [_row(project, digest, each) for digest, each in new.items()])
    operator_log.note(session, project, copied=len(new))
    return wire.ErasureCopyReceipt(copied=len(new), known=len(erasures) - len(new))


def _row(project: str, digest: bytes, erasure: wire.CopiedErasure) -> dict[str, object]:
    return {
        "project_id": project,
        "actor_sha256": digest,
        "pseudonym_sha256": _pseudonym_of(erasure),
        "hashed_for": None if erasure.hashed_for == project else erasure.hashed_for,
        "state": "done",
        "step": "end",
        "requested_at": erasure.requested_at,
        "requested_by": f"an export of {erasure.hashed_for}",
        "finished_at": now(),
        "certificate": NOTHING_ERASED,
    }


def _pseudonym_of(erasure: wire.CopiedErasure) -> bytes | None:
    return None if erasure.pseudonym_sha256 is None else bytes.fromhex(erasure.pseudonym_sha256)
