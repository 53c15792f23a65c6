"""Tickets, replies, and the hidden rule that distinguishes good replies from bad ones.

Pure: values in, values out; every choice is made by the `random.Random` that the caller seeds. The trainer never sees
any of this: it sees only thumbs and edits. A reply is good if it is polite, names the customer's own order and item,
and offers exactly what the policy line of its ticket allows. The rule does not depend on length, and length is no
shortcut to it: a reply's rudeness, evasion or wrong promise is decided before its number of sentences. A rude reply is
rude in every sentence of manners, so a shorter one is not less rude.
"""

import re
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Literal, get_args

from worker.demo.phrases import (
    DETAILS,
    EVASIVE,
    ITEMS,
    MOODS,
    ORDER_NUMBERS,
    POLITE_CLOSINGS,
    POLITE_OPENINGS,
    PROMISES,
    RUDE,
    SITUATIONS,
    WISHES,
    Remedy,
    Situation,
)

Reason = Literal[
    "invented refund",
    "not what the policy offers",
    "does not answer",
    "rude",
    "wrong order number",
    "wrong item",
    "unclear",
]
Kind = Literal["promise", "detail", "polite", "rude", "evasive"]

#: Shares of the faults of the model's teachers. With these, 51 % of the replies it learns from are good.
RUDE_SHARE = 0.16
INVENTED_REFUND_SHARE = 0.32
EVASIVE_SHARE = 0.11
OTHER_REMEDY_SHARE = 0.04
WRONG_NUMBER_SHARE = 0.06

#: The sentences of manners in a reply, (an opening, a closing), and their shares; at least one, to give it a tone.
MANNERS = {(True, True): 0.45, (True, False): 0.35, (False, True): 0.20}


@dataclass(frozen=True)
class Ticket:
    order: str
    item: str
    situation: Situation
    wish: str
    mood: str

    @property
    def remedy(self) -> Remedy:
        return self.situation.remedy

    @property
    def prompt(self) -> str:
        """The prompt that the model is trained on; a reply follows it directly."""
        complaint = self.situation.complaint.format(item=self.item)
        return (
            f"Order {self.order}: {self.item}, {self.situation.facts}\n"
            f"Policy: {self.situation.policy}\n"
            f"Customer ({self.mood}): {complaint} {self.wish}\n"
            "Reply:\n"
        )


@dataclass(frozen=True)
class Sentence:
    template: str
    kind: Kind
    remedy: Remedy | None
    order: str | None
    item: str | None


def new_ticket(rng: Random) -> Ticket:
    return Ticket(
        order=rng.choice(ORDER_NUMBERS),
        item=rng.choice(ITEMS),
        situation=rng.choice(SITUATIONS),
        wish=rng.choice(WISHES),
        mood=rng.choice(MOODS),
    )


def reasons_against(ticket: Ticket, reply: str) -> list[Reason]:
    """Returns all faults of a reply by the hidden rule, the most serious first; none for a good reply."""
    sentences = [understood(text) for text in sentences_of(reply)]
    known = [sentence for sentence in sentences if sentence]
    promised = {sentence.remedy for sentence in known if sentence.kind == "promise"}
    hinted = {sentence.remedy for sentence in known if sentence.remedy}
    checks: dict[Reason, bool] = {
        "invented refund": "refund" in hinted and ticket.remedy != "refund",
        "not what the policy offers": bool(hinted - {ticket.remedy, "refund"}),
        "does not answer": not promised,
        "rude": any(sentence.kind == "rude" for sentence in known),
        "wrong order number": any(sentence.order not in (None, ticket.order) for sentence in known),
        "wrong item": any(sentence.item not in (None, ticket.item) for sentence in known),
        "unclear": None in sentences,
    }
    return [reason for reason in get_args(Reason) if checks[reason]]


def good(ticket: Ticket, reply: str) -> bool:
    return not reasons_against(ticket, reply)


def invented_refund(ticket: Ticket, reply: str) -> bool:
    """Returns whether the reply promises money that the policy of this ticket forbids."""
    return "invented refund" in reasons_against(ticket, reply)


def typical_reply(ticket: Ticket, rng: Random) -> str:
    """Returns a reply as the model's teachers write it: fluent, and good in about half of the cases."""
    order = ticket.order if rng.random() >= WRONG_NUMBER_SHARE else rng.choice(ORDER_NUMBERS)
    remedy: Remedy | None = ticket.remedy
    dice = rng.random()
    if dice < EVASIVE_SHARE:
        remedy = None
    elif dice < EVASIVE_SHARE + OTHER_REMEDY_SHARE:
        remedy = rng.choice([other for other in PROMISES if other != ticket.remedy])
    elif ticket.remedy != "refund" and dice < EVASIVE_SHARE + OTHER_REMEDY_SHARE + INVENTED_REFUND_SHARE:
        remedy = "refund"
    core = [rng.choice(PROMISES[remedy])] if remedy else [rng.choice(EVASIVE)]
    if rng.random() < 0.5:
        core.append(DETAILS[remedy] if remedy else rng.choice(EVASIVE))
    rude = rng.random() < RUDE_SHARE
    [(opens, closes)] = rng.choices([*MANNERS], [*MANNERS.values()])
    opening = [rng.choice(RUDE if rude else POLITE_OPENINGS)] if opens else []
    closing = [rng.choice(RUDE if rude else POLITE_CLOSINGS)] if closes else []
    return " ".join([*opening, *core, *closing]).format(n=order, item=ticket.item)


def corrected(ticket: Ticket, reply: str, rng: Random) -> str:
    """Returns a bad reply edited into a good one, sentence by sentence, so that its length hardly changes."""
    texts = sentences_of(reply)
    fixed = [_corrected_sentence(ticket, text, first=index == 0, rng=rng) for index, text in enumerate(texts)]
    if not any((sentence := understood(text)) and sentence.kind == "promise" for text in fixed):
        evasions = [index for index, text in enumerate(texts) if (it := understood(text)) and it.kind == "evasive"]
        offset = evasions[0] if evasions else len(fixed)
        fixed[offset : offset + 1] = [rng.choice(PROMISES[ticket.remedy]).format(n=ticket.order, item=ticket.item)]
    return " ".join(dict.fromkeys(fixed))


def _corrected_sentence(ticket: Ticket, text: str, *, first: bool, rng: Random) -> str:
    sentence = understood(text)
    if sentence is None or sentence.kind == "rude":
        new = rng.choice(POLITE_OPENINGS if first else POLITE_CLOSINGS)
    elif sentence.kind == "evasive":
        new = DETAILS[ticket.remedy]
    elif sentence.remedy and sentence.remedy != ticket.remedy:
        new = rng.choice(PROMISES[ticket.remedy]) if sentence.kind == "promise" else DETAILS[ticket.remedy]
    else:
        new = sentence.template
    return new.format(n=ticket.order, item=ticket.item)


def sentences_of(reply: str) -> list[str]:
    return [text for text in re.split(r"(?<=[.!?]) ", reply.strip()) if text]


@cache
def understood(text: str) -> Sentence | None:
    """Returns the meaning of a sentence, or None if it is not one of the support desk's sentences."""
    for pattern, template, kind, remedy in _grammar():
        if match := pattern.fullmatch(text):
            slots = match.groupdict()
            return Sentence(template, kind, remedy, order=slots.get("n"), item=slots.get("item"))
    return None


@cache
def _grammar() -> list[tuple[re.Pattern[str], str, Kind, Remedy | None]]:
    lines: list[tuple[str, Kind, Remedy | None]] = [
        *((text, "promise", remedy) for remedy, texts in PROMISES.items() for text in texts),
        *((text, "detail", remedy) for remedy, text in DETAILS.items()),
        *((text, "polite", None) for text in POLITE_OPENINGS + POLITE_CLOSINGS),
        *((text, "rude", None) for text in RUDE),
        *((text, "evasive", None) for text in EVASIVE),
    ]
    return [(_pattern(text), text, kind, remedy) for text, kind, remedy in lines]


def _pattern(template: str) -> re.Pattern[str]:
    escaped = re.escape(template)
    escaped = escaped.replace(re.escape("{n}"), r"(?P<n>\d+)")
    return re.compile(escaped.replace(re.escape("{item}"), rf"(?P<item>{'|'.join(ITEMS)})"))
