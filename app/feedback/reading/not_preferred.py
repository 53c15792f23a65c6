"""The completion that was not preferred: its id, which may be made of its text, and what is said of it; for Python and
SQL. Pure."""

import hashlib

#: Not signals of the wire: a preference seen from the completion that was not preferred, and one without a preference.
NOT_PREFERRED, EVEN = "not_preferred", "even"
DIGITS = 16

#: For a row of events whose signal is a preference.
ID_SQL = f"""coalesce(signal ->> 'rejected_completion_id', completion_id || '#rejected:' ||
             left(encode(sha256(convert_to(signal ->> 'rejected', 'UTF8')), 'hex'), {DIGITS})) COLLATE "C\""""

#: What a preference says of the other completion, for such a row.
OTHER_SIDE_SQL = (
    f"""CASE WHEN (signal ->> 'tie')::bool THEN '{{"kind": "{EVEN}"}}' ELSE '{{"kind": "{NOT_PREFERRED}"}}' END::json"""
)


def id_of(completion_id: str, rejected: str | None, rejected_completion_id: str | None) -> str:
    """Returns the id of the completion that was not preferred: its own, or one made of its text and the other id."""
    if rejected_completion_id is not None:
        return rejected_completion_id
    return f"{completion_id}#rejected:{hashlib.sha256((rejected or '').encode()).hexdigest()[:DIGITS]}"
