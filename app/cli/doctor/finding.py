"""The result of one check of `thumbwheel doctor`."""

from dataclasses import dataclass
from typing import Literal

STYLE = {"ok": "green", "note": "yellow", "wrong": "red"}


@dataclass(frozen=True)
class Finding:
    """The result of one check. `note` is worth knowing but not a fault; `wrong` makes the command fail, and `said`
    then contains the remedy.
    """

    check: str
    state: Literal["ok", "note", "wrong"]
    said: str
