"""The states of a run."""

from itertools import pairwise

import pytest

from app.errors import Conflict
from app.runs.states import (
    ACTIVE,
    COMMANDS,
    IN_ORDER,
    NEXT,
    STATE_OF_PHASE,
    TERMINAL,
    Command,
    RunState,
    ahead_of,
    require,
    require_command,
)
from app.runs.tables import ACTIVE as ACTIVE_IN_THE_INDEX


def test_the_way_of_a_run_that_succeeds_is_legal():
    for before, after in pairwise(IN_ORDER):
        require(before, after)


def test_nothing_follows_an_end_and_every_state_can_come_to_one():
    assert {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED} == TERMINAL
    for state in ACTIVE:
        reached, fresh = set(), {state}
        while fresh:
            reached |= fresh
            fresh = {after for before in fresh for after in NEXT[before]} - reached
        assert reached & TERMINAL


def test_an_illegal_transition_says_what_is_allowed():
    with pytest.raises(Conflict) as refused:
        require(RunState.TRAINING, RunState.QUEUED)

    assert refused.value.message == (
        "A run that is training cannot become queued; what may follow is cancelling, evaluating, failed."
    )
    assert refused.value.details == {"state": "training", "allowed": ["cancelling", "evaluating", "failed"]}


def test_a_run_that_is_being_cancelled_can_only_be_cancelled():
    assert NEXT[RunState.CANCELLING] == {RunState.CANCELLED}


def test_a_phase_never_moves_a_run_back():
    assert ahead_of(RunState.REFERENCING, STATE_OF_PHASE["training"])
    assert not ahead_of(RunState.TRAINING, STATE_OF_PHASE["loading"])
    assert not ahead_of(RunState.TRAINING, STATE_OF_PHASE["training"])


def test_the_index_that_allows_one_active_run_knows_the_same_states():
    assert {name.strip(" '") for name in ACTIVE_IN_THE_INDEX.strip("()").split(",")} == ACTIVE


def test_what_may_be_asked_is_said_of_every_state():
    assert set(COMMANDS) == set(RunState)
    for state in RunState:
        for command in Command:
            if command in COMMANDS[state]:
                require_command(state, command)
            else:
                with pytest.raises(Conflict, match=f"A run that is {state} cannot be {command}; what it can be is "):
                    require_command(state, command)
