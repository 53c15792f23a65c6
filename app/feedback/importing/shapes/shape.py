"""`RecordShape`: one kind of record, how it is recognised, and what becomes of it. Pure."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from app.feedback.importing.drafts import Draft, Row
from app.feedback.importing.judgements import Rules


class RecordShape(NamedTuple):
    """One kind of record.

    name        the name for `--as`
    title       what the records are, for messages
    recognises  whether a record has this shape, judged by its fields alone
    drafts      the events and completions of a record; raises `Faulty` and `SaysNothing`
    fields      the fields of a record that become a part of them: others are reported as lost
    textual     whether the values of a record may all be texts, as those of a CSV file
    """

    name: str
    title: str
    recognises: Callable[[Row], bool]
    drafts: Callable[[Row, Rules], Iterable[Draft]]
    fields: frozenset[str]
    textual: bool = False
