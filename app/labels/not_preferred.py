"""The completion that was not preferred: its id, which may be made of its text, and what is said of it; for Python and
SQL. Pure."""

import hashlib

from app.labels.verdicts import EVEN, NOT_PREFERRED

DIGITS = 16

#: For a row of events whose signal is a preference.
ID_SQL = f"""coalesce(signal ->> 'rejected_completion_id', completion_id || '#rejected:' ||
             left(encode(sha256(convert_to(signal ->> 'rejected', 'UTF8')), 'hex'), {DIGITS})) COLLATE "C\""""

#: What a preference says of the other completion, for such a row.
OTHER_SIDE_SQL = (
    f"""CASE WHEN (signal ->> 'tie')::bool THEN '{{"kind": "{EVEN}"}}' ELSE '{{"kind": "{NOT_PREFERRED}"}}' END::json"""
)


def id_of(completion_id: str, rejected: str | None, rejected_completion_id: str | None) -> str:
    """completion_id: of the preferred one. One of the two others is given."""
    if rejected_completion_id is not None:
        return rejected_completion_id
    return f"{completion_id}#rejected:{hashlib.sha256((rejected or '').encode()).hexdigest()[:DIGITS]}"
