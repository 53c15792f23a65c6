"""Applies a project's settings on redaction and actors to what an import keeps outside of the log.

Events are masked and hashed on their way into the log. The report of an import has more: the first rows of a dry run,
and reasons that quote values.
"""

from thumbwheel import wire

from app.errors import Unavailable
from app.feedback.importing import Imported, Registered
from app.feedback.ingest.entries import completion_entry, event_entry
from app.feedback.ingest.known_protections import protected_by
from app.feedback.ingest.redaction import Redactor
from app.projects.protection.setting import ProjectProtection


class ItemProtection:
    """The settings of one project, as they were when a process began with the import."""

    def __init__(self, project: str, known: ProjectProtection) -> None:
        self._project = project
        self._known = known

    def as_stored(self, item: Imported | Registered) -> Imported | Registered | str:
        """Returns the item as the log would store it, or the reason why it would not. Raises `Unavailable` without the
        key."""
        if isinstance(item, Imported):
            made = protected_by(self._known, event_entry(self._project, item.event))
        else:
            made = protected_by(self._known, completion_entry(self._project, item.completion_id, item.completion))
        if isinstance(made.refusal, Unavailable):
            raise made.refusal
        if made.refusal is not None:
            return made.refusal.message
        body = made.entry.body
        if isinstance(item, Imported):
            assert isinstance(body, wire.Event)
            return item._replace(event=body)
        assert isinstance(body, wire.Completion)
        return item._replace(completion=body)

    def reason(self, text: str) -> str:
        """Returns a reason without the personal data in the values that it quotes."""
        by = self._known.newest
        return text if by.mode == "off" else Redactor(by.kinds, _placeholder).text(text)


def _placeholder(kind: str, _value: str) -> str:
    """Returns the name of the kind alone: the values that reasons quote may be cut."""
    return f"[{kind.upper()}]"
