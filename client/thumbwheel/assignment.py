"""The assignment of actors to a canary. Pure.

It depends on project, checkpoint and actor alone, so that every process gives an actor the same model, an actor keeps
the canary while its share grows, and another canary gets other actors.
"""

from hashlib import sha256
from uuid import UUID


def in_canary(project: str, checkpoint_id: UUID, actor: str, share: float) -> bool:
    """Returns whether the actor is in the share of actors that get the checkpoint.

    An actor's place is the first 64 bits of SHA-256 of project, checkpoint and actor, in UTF-8 and separated by line
    feeds, as a fraction of 2⁶⁴; places below `share` are in the canary.
    """
    digest = sha256(f"{project}\n{checkpoint_id}\n{actor}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share
