"""The id of a completion that was not preferred: its own, or one made of its text; for Python and for SQL. Pure."""

import hashlib

DIGITS = 16

#: For a row of events whose signal is a preference.
ID_SQL = f"""coalesce(signal ->> 'rejected_completion_id', completion_id || '#rejected:' ||
             left(encode(sha256(convert_to(signal ->> 'rejected', 'UTF8')), 'hex'), {DIGITS})) COLLATE "C\""""


def id_of(completion_id: str, rejected: str | None, rejected_completion_id: str | None) -> str:
    """completion_id: of the preferred one. One of the two others is given."""
    if rejected_completion_id is not None:
        return rejected_completion_id
    return f"{completion_id}#rejected:{hashlib.sha256((rejected or '').encode()).hexdigest()[:DIGITS]}"
