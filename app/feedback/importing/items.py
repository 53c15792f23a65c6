"""The outcomes of a record: an event, a completion, a fault, or nothing to say. Pure."""

from typing import NamedTuple

from thumbwheel import wire
from thumbwheel.row_checks import RowFault


class Imported(NamedTuple):
    """The event of a record, or of a comment in it. `line` is the number of the record, as for all items.

    fault    the reason for which no run would learn from it
    ignored  fields of the record that the event does not hold
    """

    line: int
    event: wire.Event
    fault: RowFault | None = None
    ignored: tuple[str, ...] = ()


class Registered(NamedTuple):
    """A completion that is registered under its own id, for events that refer to it."""

    line: int
    completion_id: str
    completion: wire.Completion
    fault: RowFault | None = None
    ignored: tuple[str, ...] = ()

    @property
    def identified(self) -> wire.IdentifiedCompletion:
        """The completion with its id, which the log checks."""
        fields = {name: getattr(self.completion, name) for name in wire.Completion.model_fields}
        return wire.IdentifiedCompletion.model_construct(completion_id=self.completion_id, **fields)


class Rejected(NamedTuple):
    """A broken record or part of one, with the fault as `reason`."""

    line: int
    reason: str


class Silent(NamedTuple):
    """A valid record without an event: equal answers, or an act that did not happen."""

    line: int
    reason: str


Item = Imported | Registered | Rejected | Silent
