"""Copies of a project's log: its rows as an export has them, and the outcome of storing them in another project."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field

from thumbwheel.wire.feedback import Completion, Event
from thumbwheel.wire.values import Name, PastTime

#: What the rows of a log are.
LogKind = Literal["events", "completions"]

#: The largest position that a copied row may have: the log goes on behind it, and a sequence that has come to its end
#: takes no event any more.
MOST_POSITION = 2**53 - 1

POSITION = Field(ge=1, le=MOST_POSITION, description="place in the project's log")
#: No log is older. The log has a partition for each month: without a bound, a copy could make hundreds of them.
EARLIEST_RECEIPT = datetime(2020, 1, 1, tzinfo=UTC)


def received_by_a_log(moment: datetime) -> datetime:
    if moment < EARLIEST_RECEIPT:
        raise ValueError("lies before 2020, and no log is older: send the rows as new events with `thumbwheel import`")
    return moment


ReceiptTime = Annotated[PastTime, AfterValidator(received_by_a_log)]
RECEIVED_AT = Field(description="the time at which the log that it comes from received it")


class LogEnd(BaseModel):
    """The end of a log: no row will appear at or below `watermark` later."""

    watermark: int = Field(description="position of the newest event or registered completion; 0 for an empty log")
    erasures: int = Field(description="number of erasures so far; at another number, what was read of the log is void")


class CopiedEvent(Event):
    """An event of another log, or of this one before it was lost."""

    event_id: Name
    position: int = POSITION
    received_at: ReceiptTime = RECEIVED_AT


class CopiedCompletion(Completion):
    """A registered completion of another log."""

    completion_id: Name
    position: int = POSITION
    received_at: ReceiptTime = RECEIVED_AT


class CopyReceipt(BaseModel):
    """The outcome of storing rows of another log."""

    stored: int
    replayed: int = Field(description="rows that the log had already, at the same positions")
    erased: int = Field(description="events that stay away, as their actors were erased from the project")
    expired: int = Field(
        0, description="events that stay away, as they were received before the months that the project keeps"
    )
    watermark: int = Field(description="position of the newest event or registered completion")
