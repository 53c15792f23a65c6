"""Tickets whose prompts all differ, by the seed and a name."""

from random import Random

from worker.demo.language import Ticket, new_ticket


def different_tickets(seed: int, name: str, count: int, seen: set[str]) -> list[Ticket]:
    """Returns new tickets whose prompts are not in `seen`, and adds their prompts to it."""
    rng = Random(f"{name} {seed}")
    tickets: list[Ticket] = []
    while len(tickets) < count:
        ticket = new_ticket(rng)
        if ticket.prompt not in seen:
            seen.add(ticket.prompt)
            tickets.append(ticket)
    return tickets
