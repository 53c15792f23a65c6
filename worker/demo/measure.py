"""Measures a model on tickets that no user saw, so that no feedback contains them.

KL is the plain Monte Carlo mean of lp_model − lp_other over replies sampled from the model, in nats per reply (lp
is the summed log-probability of its tokens). Intervals cover 95 %: Wilson's for shares, the normal one for the mean KL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import fmean, median, stdev

from worker.demo.language import Ticket, good, invented_refund
from worker.demo.sampling import Desk, SampledReply, log_probabilities, sample

Z = 1.959964  # 97.5 % of a standard normal lie below


@dataclass(frozen=True)
class Figure:
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    good_share: Figure
    invented_refund_share: Figure
    median_words: float
    replies: list[SampledReply]


def measured(desk: Desk, tickets: Sequence[Ticket], seed: int) -> Measured:
    """Samples one reply per ticket and judges them by the hidden rule."""
    replies = sample(desk, [ticket.prompt for ticket in tickets], seed)
    pairs = list(zip(tickets, replies, strict=True))
    return Measured(
        good_share=share([good(ticket, reply.text) for ticket, reply in pairs]),
        invented_refund_share=share([invented_refund(ticket, reply.text) for ticket, reply in pairs]),
        median_words=median(len(reply.text.split()) for reply in replies),
        replies=replies,
    )


def kl_nats(desk: Desk, other: Desk, replies: Sequence[SampledReply]) -> Figure:
    """Returns KL(desk ‖ other) per reply; `replies` must be samples of `desk`."""
    log_ratios = (log_probabilities(desk, replies) - log_probabilities(other, replies)).tolist()
    value, half = fmean(log_ratios), Z * stdev(log_ratios) / sqrt(len(log_ratios))
    return Figure(value, value - half, value + half)


def share(claims: Sequence[bool]) -> Figure:
    """Returns the share of true claims with Wilson's score interval; (nan, 0, 1) without claims."""
    count = len(claims)
    if count == 0:
        return Figure(float("nan"), 0.0, 1.0)
    p = sum(claims) / count
    middle = (p + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * sqrt(p * (1 - p) / count + Z * Z / (4 * count * count))
    return Figure(p, middle - half, middle + half)
