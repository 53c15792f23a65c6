"""The rows of the log that carry the text of a completion. Pure."""

from typing import Literal, get_args

#: An event about the completion, a preference of another one, or its registration.
Carrier = Literal["event", "rejected", "registered"]
CARRIERS: tuple[Carrier, ...] = get_args(Carrier)
