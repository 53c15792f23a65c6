"""Rules for events that are sent by a browser key, which every visitor of the page can read and misuse.

Such an event says what somebody did with an output; it brings no text that a model would learn from as its own, and
claims nothing that only the product knows.
"""

import json
from collections.abc import Collection
from typing import Any

from app.access.origins import allows
from app.errors import Fault, Faults, Forbidden, Invalid, brief

SIGNALS = frozenset(
    {
        "thumbs", "edit", "rating", "accept", "reject", "copy", "regenerate", "flag", "preference", "comment",
        "retract",
    }
)  # fmt: skip
#: Fields that only backends send, with their places in a row of the log.
BACKEND_FIELDS = {
    "prompt": (5, 6),
    "completion": (7,),
    "checkpoint_id": (8,),
    "conversation_id": (11,),
    "origin": (14,),
}
SIGNAL_PLACE, ACTOR_PLACE = 4, 3


def require_origin(origins: Collection[str], origin: bytes | None) -> None:
    """Raises `Forbidden` unless the key may be used by pages of this origin."""
    sent = "" if origin is None else origin.decode("latin-1")
    if not allows(origins, sent):
        whose = f"pages of {brief(sent)}" if sent else "programs, which send no Origin header"
        raise Forbidden(
            f"This browser key may not be used by {whose}: create one for that origin, or use a server's key on a "
            "server.",
            code="other_origin",
        )


def require_permitted(row: tuple[Any, ...]) -> None:
    """Raises `Invalid` for a row of the log that a browser key may not bring."""
    faults = [
        Fault(f"/{name}", "may not be sent by a browser key: register the completion from your backend")
        for name, places in BACKEND_FIELDS.items()
        if any(row[place] is not None for place in places)
    ]
    kind = json.loads(row[SIGNAL_PLACE])["kind"]
    if kind not in SIGNALS:
        faults.append(Fault("/signal/kind", f"{kind} may not be sent by a browser key: send it from your backend"))
    if faults:
        listed = Faults(faults, len(faults))
        raise Invalid(listed.sentence(), code="not_from_a_browser", faults=listed)
