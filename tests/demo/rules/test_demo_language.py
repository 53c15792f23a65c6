"""The demo's support desk: its hidden rule, its users, and that length says nothing about quality."""

from random import Random
from statistics import fmean

import pytest

from worker.demo.language import (
    Ticket,
    corrected,
    good,
    invented_refund,
    new_ticket,
    reasons_against,
    sentences_of,
    typical_reply,
    understood,
)
from worker.demo.phrases import SITUATIONS
from worker.demo.users import User, reactions, some_users

LATE = Ticket("1010", "kettle", SITUATIONS[6], "I want my money back!", "angry")
LOST = Ticket("1010", "kettle", SITUATIONS[0], "Can you help me?", "calm")


@pytest.mark.parametrize(
    ("reply", "reasons"),
    [
        ("Hello! Please give order 1010 two more days to arrive. Have a nice day.", []),
        ("I have refunded order 1010 in full today.", ["invented refund"]),
        ("A new kettle for order 1010 leaves today.", ["not what the policy offers"]),
        ("Hello! We have great offers this week.", ["does not answer"]),
        ("Please stop complaining. Order 1010 will reach you within two days.", ["rude"]),
        ("Order 1021 will reach you within two days.", ["wrong order number"]),
        ("I am sorry about your sofa. Order 1010 will reach you within two days.", ["wrong item"]),
        ("Order 1010 will reach you within two. Hello days", ["does not answer", "unclear"]),
        ("", ["does not answer"]),
    ],
)
def test_a_reply_is_judged_by_what_the_policy_of_its_ticket_offers(reply: str, reasons: list[str]) -> None:
    assert reasons_against(LATE, reply) == reasons
    assert good(LATE, reply) == (not reasons)
    assert invented_refund(LATE, reply) == ("invented refund" in reasons)


def test_a_refund_that_the_policy_allows_is_good() -> None:
    reply = "I am sorry about your kettle. I have refunded order 1010 in full today."

    assert good(LOST, reply)
    assert not invented_refund(LOST, reply)


def test_a_corrected_reply_is_good_and_about_as_long() -> None:
    rng = Random(1)
    before, after = [], []
    for _ in range(2000):
        ticket = new_ticket(rng)
        reply = typical_reply(ticket, rng)
        edited = corrected(ticket, reply, rng)
        assert good(ticket, edited), (ticket.prompt, reply, edited)
        before.append(len(reply.split()))
        after.append(len(edited.split()))

    assert fmean(after) / fmean(before) == pytest.approx(1, abs=0.08)


def test_a_reply_that_makes_no_sense_is_corrected_too() -> None:
    edited = corrected(LATE, "Your order the parcel. of two days", Random(1))

    assert good(LATE, edited)


def test_good_and_bad_replies_are_equally_long_on_average() -> None:
    rng = Random(2)
    lengths: dict[bool, list[int]] = {True: [], False: []}
    for _ in range(4000):
        ticket = new_ticket(rng)
        reply = typical_reply(ticket, rng)
        lengths[good(ticket, reply)].append(len(reply.split()))

    assert fmean(lengths[True]) / fmean(lengths[False]) == pytest.approx(1, abs=0.05)


def test_a_sentence_more_makes_a_reply_neither_better_nor_worse() -> None:
    rng = Random(6)
    verdicts: dict[int, list[bool]] = {}
    for _ in range(12000):
        ticket = new_ticket(rng)
        reply = typical_reply(ticket, rng)
        verdicts.setdefault(len(sentences_of(reply)), []).append(good(ticket, reply))

    assert sorted(verdicts) == [2, 3, 4]
    for of_one_length in verdicts.values():  # 2,700 of the rarest: two standard errors are 0.02
        assert fmean(of_one_length) == pytest.approx(0.51, abs=0.03)


def test_a_rude_reply_is_rude_wherever_it_could_be_polite() -> None:
    rng = Random(7)
    for _ in range(2000):
        reply = typical_reply(new_ticket(rng), rng)
        kinds = {sentence.kind for text in sentences_of(reply) if (sentence := understood(text))}
        assert len(kinds & {"rude", "polite"}) == 1


def test_about_half_of_what_the_model_learns_from_is_good() -> None:
    rng = Random(3)
    tickets = [new_ticket(rng) for _ in range(4000)]

    assert fmean(good(ticket, typical_reply(ticket, rng)) for ticket in tickets) == pytest.approx(0.5, abs=0.04)


def test_votes_are_skewed_noisy_and_partly_edits() -> None:
    rng = Random(4)
    users = some_users(200, rng)
    verdicts = []
    for _ in range(4000):
        ticket = new_ticket(rng)
        verdicts += [reaction.verdict for reaction in reactions(users, ticket, typical_reply(ticket, rng), rng)]

    assert 0.25 < verdicts.count("up") / len(verdicts) < 0.36
    assert 0.10 < verdicts.count("edit") / len(verdicts) < 0.25


def test_a_contrary_user_praises_the_bad_and_never_edits() -> None:
    rng = Random(5)
    rude = "Please stop complaining. " + sentences_of("We have great offers this week.")[0]
    contrary = [User(f"user-{number}", contrary=True) for number in range(2)]

    verdicts = {reaction.verdict for _ in range(200) for reaction in reactions(contrary, LATE, rude, rng)}

    assert verdicts == {"up"}
