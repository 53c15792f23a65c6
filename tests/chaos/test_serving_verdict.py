"""The verdict of `make chaos-serving` finds what it counts."""

from uuid import UUID

import pytest

from tests.chaos.serving.plan import KILLED, blows
from tests.chaos.serving.verdict import Answer, two_live

A, B = UUID(int=1), UUID(int=2)
CONTENTS = {A: "weights 1", B: "weights 2"}


def answer(state=1, actor="user 1", assigned=A, wrote="weights 1", by_rule=None) -> Answer:
    return Answer(state, actor, assigned, wrote, "gpu-1", by_rule or assigned)


@pytest.mark.parametrize(
    ("second", "sentence"),
    [
        (answer(wrote="weights 2"), "'weights 2' answered, assigned was 'weights 1'"),
        (answer(assigned=B, wrote="weights 2"), "'weights 2' answered after 'weights 1'"),
        (answer(by_rule=B), "the rule says"),
    ],
)
def test_an_actor_with_two_adapters_is_found(second, sentence):
    [found] = two_live([answer(), second], CONTENTS)

    assert sentence in found


def test_another_actor_or_state_of_the_ledger_may_have_another_adapter():
    others = [answer(state=2, assigned=B, wrote="weights 2"), answer(actor="user 2", assigned=B, wrote="weights 2")]

    assert two_live([answer(), answer(), *others], CONTENTS) == []


def test_every_process_is_killed_equally_often_in_an_order_that_a_seed_repeats():
    drawn = blows(7, 30)

    assert [sum(blow.killed == name for blow in drawn) for name in KILLED] == [10, 10, 10]
    assert drawn == blows(7, 30) != blows(8, 30)
