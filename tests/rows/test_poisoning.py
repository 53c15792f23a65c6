"""One actor with 30 % of all votes, each praising one phrase: what the guards leave of them."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from thumbwheel.wire import LabelPolicy

from app.database import transaction
from app.feedback import service as feedback
from app.labels import service as labels
from app.labels.quarantine import service as quarantine
from app.projects.tables import Project
from app.snapshots.selection import Selection, select
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
        session.add(Project(id=P, base_model="/models/base", configuration={}))
    store(P, votes())


def selected(policy: LabelPolicy) -> tuple[Selection, dict[str, tuple[str, ...]]]:
    """The rows, and who is left out of them, as a snapshot takes them."""
    with transaction() as session:
        watermark = feedback.watermark(session, P)
        everybody = labels.resolve_all(session, P, policy, watermark=watermark)
        left_out = quarantine.left_out(session, P, policy, everybody)
        completions = labels.resolved(session, P, policy, watermark=watermark, left_out=left_out)
        return select(completions, P, policy.guards, 0.1, keep_text=lambda _: 0), left_out


def share(selection: Selection) -> float:
    """Of the weight of all training rows, what the attacker has."""
    rows = [row for row in selection.rows if row.split == "train"]
    return sum(row.weight for row in rows if ATTACKER in row.actors) / sum(row.weight for row in rows)


def test_without_guards_the_phrase_has_its_share_of_the_training():
    selection, left_out = selected(LabelPolicy.model_validate({"guards": NO_CAPS | NO_QUARANTINE}))

    assert share(selection) == pytest.approx(0.3, abs=0.02)
    assert not left_out


def test_the_cap_alone_leaves_the_phrase_half_a_percent():
    selection, _ = selected(LabelPolicy.model_validate({"guards": NO_QUARANTINE}))

    # Ten equal shares: about 1,900 of 2,101 actors have a training row.
    assert 0 < share(selection) <= max(LabelPolicy().guards.influence.actor.share, 10 / (0.85 * HONEST))
    assert selection.capped["capped_actor"] == sum(
        row.split == "train" and ATTACKER in row.actors for row in selection.rows
    )


def test_by_default_the_actor_is_in_quarantine_and_the_reason_is_said():
    selection, left_out = selected(LabelPolicy())

    assert left_out == {ATTACKER: ("quarantined_one_way",)}
    assert share(selection) == 0
    assert selection.drops["quarantined"] == POISONED
    assert len(selection.rows) == HONEST
