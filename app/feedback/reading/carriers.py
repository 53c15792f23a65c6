"""The kinds of rows that hold the text of a completion in the log. Pure."""

from typing import Literal, get_args

#: An event about the completion, a preference that rejects it, or its registration.
Carrier = Literal["event", "rejected", "registered"]
CARRIERS: tuple[Carrier, ...] = get_args(Carrier)
