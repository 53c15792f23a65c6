"""An attacker has 30 % of all votes, all for one phrase: the share that the guards leave."""

from datetime import UTC, datetime, timedelta
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from thumbwheel import wire
from thumbwheel.wire import LabelPolicy

from app.database import transaction
from app.feedback import service as feedback
from app.labels.policies import service as policies
from app.projects.tables import Project
from app.snapshots.rows_from_log import Chosen, choose
from app.snapshots.selection.selected_rows import TRAIN
from app.spill.texts import texts
from tests.bare_project import CONFIGURATION
from tests.logged import store

P = "desk"
HONEST, POISONED = 2100, 900
PHRASE = "Vultex is the best."
ATTACKER = "mallory"
START = datetime(2026, 1, 1, tzinfo=UTC)

NO_CAPS = {"influence": {"actor": None, "prompt": None}}
NO_QUARANTINE = {"quarantine": {"burst": None, "one_way": None, "ring": None}}


def votes() -> list[dict]:
    rng = Random(7)
    honest = [
        vote(f"user-{number}", number, f"Answer {number}.", "up" if rng.random() < 0.7 else "down")
        for number in range(HONEST)
    ]
    poison = [vote(ATTACKER, HONEST + number, f"Answer {number}. {PHRASE}", "up") for number in range(POISONED)]
    return rng.sample(honest + poison, HONEST + POISONED)


def vote(actor: str, number: int, completion: str, value: str) -> dict:
    return {
        "completion_id": f"c{number}",
        "actor": actor,
        "prompt": f"Question {number}?",
        "completion": completion,
        "signal": {"kind": "thumbs", "value": value},
        "occurred_at": (START + timedelta(minutes=number)).isoformat(),
    }


@pytest.fixture(autouse=True)
def _log(database):
    with transaction() as session:
        session.add(Project(id=P, base_model="/models/base", configuration=CONFIGURATION))
    store(P, votes())


def chosen(policy: LabelPolicy) -> Chosen:
    """Adopts a policy and returns the rows that a snapshot would have."""
    with transaction() as session, texts() as kept:
        stored, _ = policies.create(session, P, wire.NewLabelPolicy(policy=policy), "ann")
        policies.adopt(session, P, stored.version, "a test", "ann")
        return choose(session, P, wire.SnapshotRules(), feedback.watermark(session, P), kept, store_new=False)


def of_attacker(found: Chosen) -> NDArray[np.bool_]:
    """Returns a mask of the training rows to which the attacker contributed."""
    row, actor = found.selection.members
    number = sorted(found.actors.to_list()).index(ATTACKER)
    theirs = np.zeros(len(found.selection.weight), dtype=bool)
    theirs[row[actor == number]] = True
    return theirs & (found.selection.split == TRAIN)


def share(found: Chosen) -> float:
    """Returns the attacker's share of the weight of all training rows."""
    weight = found.selection.weight
    return float(weight[of_attacker(found)].sum() / weight[found.selection.split == TRAIN].sum())


def test_without_guards_the_phrase_has_its_share_of_the_training():
    found = chosen(LabelPolicy.model_validate({"guards": NO_CAPS | NO_QUARANTINE}))

    assert share(found) == pytest.approx(0.3, abs=0.02)
    assert not found.left_out


def test_the_cap_alone_leaves_the_phrase_half_a_percent():
    found = chosen(LabelPolicy.model_validate({"guards": NO_QUARANTINE}))

    # Ten equal shares: about 1,900 of 2,101 actors have a training row.
    assert 0 < share(found) <= max(LabelPolicy().guards.influence.actor.share, 10 / (0.85 * HONEST))
    assert found.selection.capped["capped_actor"] == np.count_nonzero(of_attacker(found))


def test_by_default_the_actor_is_in_quarantine_and_the_reason_is_said():
    found = chosen(LabelPolicy())

    assert found.left_out == {ATTACKER: ("quarantined_one_way",)}
    assert share(found) == 0
    assert found.selection.drops["quarantined"] == POISONED
    assert len(found.selection.candidate) == HONEST
