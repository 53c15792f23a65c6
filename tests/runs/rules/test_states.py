"""The states of a run and its legal transitions."""

from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from thumbwheel import wire

from app.errors import Conflict
from app.runs.states import (
    ACTIVE,
    COMMANDS,
    CONDITIONS,
    IN_ORDER,
    MEANINGS,
    NEXT,
    STATE_OF_PHASE,
    TERMINAL,
    WORKING,
    Command,
    Hold,
    Reaping,
    RunState,
    ahead_of,
    require,
    require_command,
)
from app.runs.tables import ACTIVE as ACTIVE_IN_THE_INDEX


def test_the_way_of_a_run_that_succeeds_is_legal():
    for before, after in pairwise(IN_ORDER):
        require(before, after, held=before is not RunState.QUEUED)


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
        require(RunState.TRAINING, RunState.QUEUED, held=True)

    assert refused.value.message == (
        "The run is training and cannot become queued. Possible next states: cancelling, evaluating, failed."
    )
    assert refused.value.details == {"state": "training", "allowed": ["cancelling", "evaluating", "failed"]}


def test_a_run_that_is_being_cancelled_can_only_be_cancelled():
    assert NEXT[RunState.CANCELLING] == {RunState.CANCELLED}


@pytest.mark.parametrize("state", sorted(WORKING))
def test_a_run_is_cancelled_at_once_where_no_worker_holds_it_and_by_its_worker_where_one_does(state):
    require(state, RunState.CANCELLED, held=False)
    require(state, RunState.CANCELLING, held=True)
    with pytest.raises(Conflict):
        require(state, RunState.CANCELLING, held=False)
    with pytest.raises(Conflict):
        require(state, RunState.CANCELLED, held=True)


def test_a_phase_never_moves_a_run_back():
    assert ahead_of(RunState.REFERENCING, STATE_OF_PHASE["training"])
    assert not ahead_of(RunState.TRAINING, STATE_OF_PHASE["loading"])
    assert not ahead_of(RunState.TRAINING, STATE_OF_PHASE["training"])


def test_the_index_that_allows_one_active_run_knows_the_same_states():
    assert {name.strip(" '") for name in ACTIVE_IN_THE_INDEX.strip("()").split(",")} == ACTIVE


def test_the_wire_has_the_only_list_of_states_and_its_event_of_the_end_those_that_end():
    assert RunState is wire.RunState
    assert frozenset(get_args(wire.RunEndEvent.model_fields["state"].annotation)) == TERMINAL
    assert wire.RunEndEvent(id="1-0", state="failed", reason=None, checkpoint_id=None).state is RunState.FAILED


def test_each_legal_condition_of_a_run_has_one_meaning():
    assert len(MEANINGS) == sum(len(states) for states, *_ in CONDITIONS)
    assert {condition.state for condition in MEANINGS} == set(RunState)


def test_a_worker_may_claim_what_the_reaper_makes_known_and_what_it_takes_from_a_silent_worker():
    claimable = {condition for condition, meaning in MEANINGS.items() if meaning.claimable}

    assert claimable == {
        condition for condition, meaning in MEANINGS.items() if meaning.reaping in (Reaping.RING, Reaping.LOSE)
    }
    assert not any(condition.paused or condition.waiting for condition in claimable)


def test_the_reaper_takes_every_run_from_a_silent_worker():
    assert {condition for condition in MEANINGS if condition.hold is Hold.SILENT} == {
        condition
        for condition, meaning in MEANINGS.items()
        if meaning.reaping in (Reaping.FREE, Reaping.LOSE, Reaping.CANCEL)
    }


def test_the_document_on_commands_has_every_kind_of_transition_and_every_meaning():
    document = Path("docs/commands-of-a-run.md").read_text()

    assert [kind for kind in wire.RunTransitionKind if f"`{kind}`" not in document] == []
    assert [meaning.sentence for meaning in MEANINGS.values() if f"| {meaning.sentence} |" not in document] == []


def test_every_state_says_what_is_allowed():
    assert set(COMMANDS) == set(RunState)
    for state in RunState:
        for command in Command:
            if command in COMMANDS[state]:
                require_command(state, command)
            else:
                with pytest.raises(Conflict, match=f"The run is {state} and cannot be {command}. Allowed: "):
                    require_command(state, command)
