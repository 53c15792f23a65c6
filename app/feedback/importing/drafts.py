"""The drafts that a shape makes of a record, before ids, actors and checks are added. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

Row = Mapping[str, Any]
Body = dict[str, Any]


class Faulty(Exception):
    """A record, or a part of it, that cannot be imported."""


class SaysNothing(Exception):
    """A valid record that judges no completion and holds none."""


class EventDraft(NamedTuple):
    """The body of an event. `event_id` is there if the source has one, `actor` if it names one.

    comment  a remark beside the judgement, which becomes an event of its own
    """

    body: Body
    comment: str | None = None


class CompletionDraft(NamedTuple):
    """The body of a completion that is registered under the source's own id."""

    completion_id: str
    body: Body


class ScoreInGroup(NamedTuple):
    """One of two scores that are a preference together.

    group  the id that both have in common
    body   actor, time and metadata of the event
    """

    group: str
    completion_id: str
    score: float
    body: Body


#: A fault in place of a draft concerns that part of the record alone.
Draft = EventDraft | CompletionDraft | ScoreInGroup | Faulty | SaysNothing
