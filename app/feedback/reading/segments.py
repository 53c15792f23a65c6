"""The segment of an event or completion: a value of its metadata; as SQL. Pure."""

#: Values that agree in as many characters are one segment.
CHARACTERS = 128
#: As JSON has it.
NUL = r"\u0000"


def segment_sql(key: str) -> str:
    """Returns SQL for the value under a key of a row's metadata, null without one. The key is SQL, too.

    Postgres reads no value of an object with a NUL character anywhere: those have none.
    """
    return f"CASE WHEN strpos(metadata::text, '{NUL}') = 0 THEN left(metadata ->> {key}, {CHARACTERS}) END"
