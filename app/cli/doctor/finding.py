"""One result of `thumbwheel doctor`."""

from dataclasses import dataclass
from typing import Literal

STYLE = {"ok": "green", "note": "yellow", "wrong": "red"}


@dataclass(frozen=True)
class Finding:
    """The state of one thing. `note` is worth knowing and no fault; `wrong` makes the command fail, and `said` then
    holds the remedy.
    """

    check: str
    state: Literal["ok", "note", "wrong"]
    said: str
