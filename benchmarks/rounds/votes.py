"""The votes of a round: replies of the live model, its users' reactions, and the rows that they give."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import ceil, exp, log
from pathlib import Path
from random import Random

from thumbwheel.wire import Edit

from app.durable import write_atomically
from app.labels import kept_spans
from benchmarks.desk_study.labels import CHECKPOINT, rows_of
from benchmarks.desk_study.tickets import different_tickets
from benchmarks.desk_study.workdir import Example, Span
from benchmarks.rounds.conditions import Way
from worker.demo import sampling
from worker.demo.language import Ticket, good
from worker.demo.sampling import SampledReply, log_probabilities
from worker.demo.story import USERS
from worker.demo.users import some_users
from worker.demo.votes import ShownReply, votes

#: Replies for each vote: users of a good model are content and often do not vote.
REPLIES_PER_VOTE = 2.2
#: Weight of a row for each round of age.
DECAY = 0.5
#: Bounds of a row's weight by who wrote it.
BY_WRITER = (0.2, 5.0)
#: Rows of each class that an audit looks at.
AUDITED = 200


@dataclass(frozen=True)
class VotedRow:
    """A row of a snapshot, with what the study knows about it."""

    prompt: str
    completion: str
    desirable: bool
    good: bool  # by the hidden rule
    writer_log_prob: float | None  # of its writer, in nats per token; None for a user's text
    edited: str | None = None  # a user's better text


def collected(model: sampling.Desk, seed: int, number: int, count: int, held_out: Iterable[Ticket]) -> list[VotedRow]:
    """Returns the train rows of the first `count` votes on the replies of the live model of round `number`."""
    seen = {ticket.prompt for ticket in held_out}
    tickets = different_tickets(seed, f"drafts {number}", ceil(REPLIES_PER_VOTE * count), seen)
    replies = sampling.sample(model, [ticket.prompt for ticket in tickets], 100 * seed + number)
    shown = [
        ShownReply(f"round{number}-{index}", ticket, reply.text)
        for index, (ticket, reply) in enumerate(zip(tickets, replies, strict=True))
        if reply.text.strip()  # no user sees an empty reply
    ]
    events = votes(shown, some_users(USERS, Random(seed)), CHECKPOINT, 100 * seed + number)[:count]
    if len(events) < count:
        raise ValueError(f"{len(tickets)} replies get {len(events)} votes: {count} are needed")
    log_probs = dict(
        zip(
            ((ticket.prompt, reply.text) for ticket, reply in zip(tickets, replies, strict=True)),
            (log_probabilities(model, replies).numpy() / [len(reply.token_ids) for reply in replies]).tolist(),
            strict=True,
        )
    )
    edits = {
        (str(event.prompt), event.completion): event.signal.text for event in events if isinstance(event.signal, Edit)
    }
    ticket_of = {ticket.prompt: ticket for ticket in tickets}
    return [
        VotedRow(
            row.prompt,
            row.completion,
            row.desirable,
            good(ticket_of[row.prompt], row.completion),
            log_probs.get((row.prompt, row.completion)),
            edits.get((row.prompt, row.completion)),
        )
        for side, row in rows_of(events)
        if side == "train"
    ]


def keep(path: Path, rows: Sequence[VotedRow]) -> None:
    write_atomically(path, json.dumps([asdict(row) for row in rows]).encode())


def kept(path: Path) -> list[VotedRow]:
    return [VotedRow(**row) for row in json.loads(path.read_bytes())]


def examples_of(way: Way, rounds: Sequence[Sequence[VotedRow]], reference: sampling.Desk) -> list[Example]:
    """Returns the rows that `way` learns from. `rounds`: those of each round's votes, the live model's last."""
    used = rounds[-1:] if way.votes == "live" else rounds
    decay = DECAY if way.votes == "all_decayed" else 1.0
    rows = [(row, decay ** (len(used) - 1 - place)) for place, voted in enumerate(used) for row in voted]
    weights = _by_writer([row for row, _ in rows], reference) if way.by_writer else [1.0] * len(rows)
    return [
        Example(
            row.prompt,
            row.completion,
            row.desirable,
            age * weight,
            tuple(spans_of(row, way.kept)) if way.kept != 1 and row.edited is not None else (),
        )
        for (row, age), weight in zip(rows, weights, strict=True)
    ]


def _by_writer(rows: Sequence[VotedRow], reference: sampling.Desk) -> list[float]:
    """Returns weights exp(mean token log-ratio of reference and writer), clipped, with mean 1 in each class."""
    drafts = [_draft(reference, row) for row in rows]
    own = log_probabilities(reference, drafts).numpy() / [len(draft.token_ids) for draft in drafts]
    low, high = (log(bound) for bound in BY_WRITER)
    raw = [
        1.0 if row.writer_log_prob is None else exp(min(high, max(low, value - row.writer_log_prob)))
        for row, value in zip(rows, own.tolist(), strict=True)
    ]
    total = {side: sum(w for row, w in zip(rows, raw, strict=True) if row.desirable == side) for side in (True, False)}
    count = {side: sum(row.desirable == side for row in rows) for side in (True, False)}
    return [w * count[row.desirable] / total[row.desirable] for row, w in zip(rows, raw, strict=True)]


def _draft(desk: sampling.Desk, row: VotedRow) -> SampledReply:
    prompt_ids: list[int] = desk.tokenizer(row.prompt)["input_ids"]
    reply_ids: list[int] = desk.tokenizer(row.completion)["input_ids"]
    return SampledReply(prompt_ids, [*reply_ids, desk.tokenizer.eos_token_id], row.completion)


def spans_of(row: VotedRow, weight: float) -> Iterator[Span]:
    """Yields the parts of an edited reply that the edit kept, with `weight`."""
    for start, end in kept_spans.kept(row.completion, row.edited or "").spans:
        yield start, end, weight


def audited(rows: Sequence[VotedRow], seed: int) -> tuple[float, float]:
    """Returns the share of wrong labels among the desirable and the undesirable rows of an audit."""
    rng = Random(f"audit {seed}")
    shares = []
    for side in (True, False):
        members = [row for row in rows if row.desirable == side]
        looked_at = rng.sample(members, min(AUDITED, len(members)))
        shares.append(sum(row.good != side for row in looked_at) / len(looked_at))
    return shares[0], shares[1]
