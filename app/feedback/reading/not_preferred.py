"""The rejected completion of a preference: its id, which may be derived from its text, and its signal; for Python and
SQL. Pure."""

import hashlib

#: Signals that are not sent over the wire: a preference and a tie, from the side of the rejected completion.
NOT_PREFERRED, EVEN = "not_preferred", "even"
DIGITS = 16

#: For a row of events whose signal is a preference.
ID_SQL = f"""coalesce(signal ->> 'rejected_completion_id', completion_id || '#rejected:' ||
             left(encode(sha256(convert_to(signal ->> 'rejected', 'UTF8')), 'hex'), {DIGITS})) COLLATE "C\""""

#: The signal for the rejected completion, for such a row.
OTHER_SIDE_SQL = (
    f"""CASE WHEN (signal ->> 'tie')::bool THEN '{{"kind": "{EVEN}"}}' ELSE '{{"kind": "{NOT_PREFERRED}"}}' END::json"""
)


def id_of(completion_id: str, rejected: str | None, rejected_completion_id: str | None) -> str:
    """Returns the id of the rejected completion: its own, or one derived from its text and the preferred id."""
    if rejected_completion_id is not None:
        return rejected_completion_id
    return f"{completion_id}#rejected:{hashlib.sha256((rejected or '').encode()).hexdigest()[:DIGITS]}"
