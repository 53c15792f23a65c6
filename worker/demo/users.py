"""Simulated users of the support desk, and their reactions to a reply. Pure.

They judge by the hidden rule, as people would: mostly right, sometimes wrong. Content users often do not vote, annoyed
ones nearly always do. Some edit a bad reply instead of only voting it down, and a few vote against the rule. This
gives 25 thumbs up in 100 votes on a model whose replies are good in 43 of 100 cases.
"""

from dataclasses import dataclass
from random import Random
from typing import Literal

from worker.demo.language import Ticket, corrected, good

#: Share of content readers who vote; the others do not.
PRAISE_SHARE = 0.42
#: Share of misjudged replies.
NOISE_SHARE = 0.04
#: Share of bad replies that their reader edits.
EDIT_SHARE = 0.25
#: Share of users who vote bad replies up and good ones down.
CONTRARY_SHARE = 0.02
#: Share of replies that a second user reads, too.
SECOND_READER_SHARE = 0.05


@dataclass(frozen=True)
class User:
    actor: str
    contrary: bool


@dataclass(frozen=True)
class Reaction:
    """The reaction of one user to one reply; `edited` is the user's preferred text."""

    actor: str
    verdict: Literal["up", "down", "edit"]
    edited: str | None = None


def some_users(count: int, rng: Random) -> list[User]:
    return [User(f"user-{number:03}", contrary=rng.random() < CONTRARY_SHARE) for number in range(1, count + 1)]


def reactions(users: list[User], ticket: Ticket, reply: str, rng: Random) -> list[Reaction]:
    """Returns the reactions of the readers of a reply; empty if no reader reacted."""
    readers = rng.sample(users, 2 if rng.random() < SECOND_READER_SHARE else 1)
    return [reaction for user in readers if (reaction := _reaction(user, ticket, reply, rng))]


def _reaction(user: User, ticket: Ticket, reply: str, rng: Random) -> Reaction | None:
    likes = good(ticket, reply) != (user.contrary or rng.random() < NOISE_SHARE)
    if likes:
        return Reaction(user.actor, "up") if rng.random() < PRAISE_SHARE else None
    edited = corrected(ticket, reply, rng)
    if edited != reply and not user.contrary and rng.random() < EDIT_SHARE:
        return Reaction(user.actor, "edit", edited)
    return Reaction(user.actor, "down")
