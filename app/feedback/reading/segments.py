"""The segment of an event or completion: a value of its metadata; as SQL. Pure."""

#: Values that agree in as many characters are one segment.
CHARACTERS = 128


def segment_sql(key: str) -> str:
    """Returns SQL for the value under a key of a row's metadata, null without one. The key is SQL, too."""
    return f"left(metadata ->> {key}, {CHARACTERS})"
