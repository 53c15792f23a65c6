"""The settings of a project on what happens to feedback before it is stored. Pure."""

from dataclasses import dataclass
from uuid import UUID

from thumbwheel import wire

from app.projects.protection.pseudonyms import Pseudonyms

PLAIN: wire.ActorForm = "plain"


@dataclass(frozen=True)
class Protection:
    """A version of a project's settings on redaction and on actors. `id`: None before the first version."""

    id: UUID | None = None
    mode: wire.RedactionMode = "off"
    kinds: frozenset[str] = frozenset()
    hashes_actors: bool = False

    @property
    def changes_feedback(self) -> bool:
        """Returns whether feedback may be stored otherwise than it is sent, which needs the key of pseudonyms."""
        return self.mode == "mask" or self.hashes_actors


#: The settings of a project that were never changed: feedback is stored as it is sent.
UNPROTECTED = Protection()


@dataclass(frozen=True)
class ProjectProtection:
    """The newest version of a project's settings, and the earlier ones, newest first.

    pseudonyms  None if no version needs the key
    trouble     why nothing can be stored now: a sentence with the remedy
    """

    newest: Protection = UNPROTECTED
    earlier: tuple[Protection, ...] = ()
    pseudonyms: Pseudonyms | None = None
    trouble: str | None = None

    def forms_of(self, actor: str) -> tuple[str, ...]:
        """Returns the ids under which events of the actor may be stored; the one of the present settings comes first.

        actor  the caller's own id, or its hash
        """
        if self.pseudonyms is None or not any(each.hashes_actors for each in (self.newest, *self.earlier)):
            return (actor,)
        hashed = self.pseudonyms.of_actor(actor)
        if hashed == actor:
            return (actor,)
        return (hashed, actor) if self.newest.hashes_actors else (actor, hashed)
