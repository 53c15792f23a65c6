"""Turns a model's drafts into events of thumbs and edits by its users, as a product backend would send them."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from random import Random
from uuid import UUID

from thumbwheel.wire import Edit, Event, Thumbs

from worker.demo.language import Ticket, new_ticket
from worker.demo.sampling import Desk, sample
from worker.demo.users import Reaction, User, reactions


@dataclass(frozen=True)
class ShownReply:
    """A reply that was shown to a user. `completion_id` is the support desk's own id for it."""

    completion_id: str
    ticket: Ticket
    reply: str


def draft_replies(desk: Desk, count: int, name: str, seed: int, held_out: Set[str] = frozenset()) -> list[ShownReply]:
    """Returns replies to about `count` new tickets, the same ones for the same seed and model.

    `name` begins every completion id. Tickets with a prompt in `held_out` are omitted: no user ever sees them.
    """
    rng = Random(seed)
    tickets = [ticket for ticket in (new_ticket(rng) for _ in range(count)) if ticket.prompt not in held_out]
    replies = sample(desk, [ticket.prompt for ticket in tickets], seed)
    return [
        ShownReply(f"{name}-{number}", ticket, reply.text)
        for number, (ticket, reply) in enumerate(zip(tickets, replies, strict=True), start=1)
        if reply.text.strip()  # no user sees an empty reply
    ]


def votes(drafts: Sequence[ShownReply], users: list[User], checkpoint_id: UUID, seed: int) -> list[Event]:
    """Returns the users' reactions to the drafts as events, with fixed ids: a repeated post stores nothing twice."""
    rng = Random(seed)
    return [
        Event(
            event_id=f"{draft.completion_id}-{reaction.actor}",
            completion_id=draft.completion_id,
            actor=reaction.actor,
            prompt=draft.ticket.prompt,
            completion=draft.reply,
            signal=_signal(reaction),
            checkpoint_id=checkpoint_id,
        )
        for draft in drafts
        for reaction in reactions(users, draft.ticket, draft.reply, rng)
    ]


def expected_labels(events: Sequence[Event]) -> tuple[int, int]:
    """Returns about how many desirable and undesirable labels these events give; an edit gives one of each."""
    ups = sum(isinstance(event.signal, Thumbs) and event.signal.value == "up" for event in events)
    edits = sum(isinstance(event.signal, Edit) for event in events)
    return ups + edits, len(events) - ups


def _signal(reaction: Reaction) -> Thumbs | Edit:
    if reaction.edited is not None:
        return Edit(text=reaction.edited)
    return Thumbs(value="up" if reaction.verdict == "up" else "down")
