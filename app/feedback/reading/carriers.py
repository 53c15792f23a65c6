"""What carries a completion's text in the log. Pure."""

from typing import Literal, get_args

#: An event about the completion, a preference of another one, or its registration.
Carrier = Literal["event", "rejected", "registered"]
CARRIERS: tuple[Carrier, ...] = get_args(Carrier)
