"""An override of the gates names its rules and its reason, and stays on the card of the checkpoint."""

import pytest
from sqlalchemy.exc import IntegrityError
from thumbwheel import wire

from app import artifacts
from app.checkpoints import service as checkpoints
from app.database import new_id, transaction
from app.errors import Invalid, Refused
from app.releases import service as releases
from tests.desk import DESK, execute, finish, make_project, ready_to_finish, vote

WHY = "the incident of today needs it"
REASONS = ["kl.nats_per_token: 3 nats", "rows: 32 rows were held out"]


@pytest.fixture(autouse=True)
def _project(database):
    make_project()
    vote()


@pytest.fixture
def made(tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# card\n")
    weights = tmp_path / "adapter_model.safetensors"
    weights.write_text("weights")
    files = {weights.name: weights, "README.md": card}
    return finish(ready_to_finish(tmp_path), tmp_path, reasons=REASONS, verdict="undecided", files=files)


def ship(**how):
    with transaction() as session:
        return releases.ship(session, DESK, wire.NewRelease(**how), "key test")


def shown(checkpoint_id):
    with transaction(read_only=True) as session:
        return checkpoints.get(session, DESK, checkpoint_id), checkpoints.card(session, DESK, checkpoint_id)


def test_an_undecided_checkpoint_ships_only_with_a_reason(made):
    with pytest.raises(Refused, match="could not decide") as refused:
        ship(checkpoint_id=made)
    assert refused.value.reasons == tuple(REASONS)

    assert ship(checkpoint_id=made, override_reason=WHY).override_scope == ["kl.nats_per_token", "rows"]


def test_a_scope_names_rules_that_did_not_pass_and_covers_them_all(made):
    with pytest.raises(Invalid) as unknown:
        ship(checkpoint_id=made, override_reason=WHY, override_scope=["rows", "auroc"])
    assert [fault.pointer for fault in unknown.value.faults] == ["/override_scope/1"]
    assert "those that did not pass are kl.nats_per_token, rows" in unknown.value.message
    with pytest.raises(Refused, match=r"does not cover kl\.nats_per_token"):
        ship(checkpoint_id=made, override_reason=WHY, override_scope=["rows"])
    with pytest.raises(ValueError, match="needs an override_reason"):
        wire.NewRelease(checkpoint_id=made, override_scope=["rows"])

    scope = ["rows", "kl.nats_per_token"]
    assert ship(checkpoint_id=made, override_reason=WHY, override_scope=scope).override_scope == scope


def test_every_override_is_on_the_card_for_ever(made):
    assert shown(made)[1] == "# card\n"
    ship(checkpoint_id=made, override_reason=WHY)
    base = execute("SELECT id FROM checkpoints WHERE kind = 'base'")[0][0]
    ship(checkpoint_id=base, reason="complaints")
    ship(checkpoint_id=made, override_reason="and once again, after a talk")

    checkpoint, card = shown(made)

    assert [(item.number, item.override_reason, item.by) for item in checkpoint.overrides] == [
        (2, WHY, "key test"),
        (4, "and once again, after a talk", "key test"),
    ]
    assert card.startswith("# card\n\n## Overrides\n")
    assert f"| key test | kl.nats_per_token, rows | {WHY} |" in card
    assert artifacts.open_verified(checkpoint.files["README.md"]).size == len("# card\n")
    with transaction(read_only=True) as session:
        listed = checkpoints.page(session, DESK, cursor=None, limit=9).items
    assert [len(item.overrides) for item in listed] == [2, 0]


def test_a_rollback_keeps_the_earlier_override(made):
    ship(checkpoint_id=made, override_reason=WHY)
    base = execute("SELECT id FROM checkpoints WHERE kind = 'base'")[0][0]
    ship(checkpoint_id=base)

    again = ship(rollback=True, reason="worse")

    assert (again.checkpoint_id, again.override_reason, again.override_scope) == (
        made,
        WHY,
        ["kl.nats_per_token", "rows"],
    )


@pytest.mark.parametrize(("reason", "scope"), [(None, '["rows"]'), (WHY, None), (None, None)])
def test_postgres_itself_refuses_an_override_without_reason_or_scope(made, reason, scope):
    with pytest.raises(IntegrityError, match="ck_releases_passed_or_overridden"):
        execute(
            "INSERT INTO releases (id, project_id, number, checkpoint_id, verdict, action, reason, override_reason, "
            "override_scope, by, created_at) VALUES (:id, 'desk', 2, :made, 'undecided', 'ship', '', :why, "
            "CAST(:scope AS jsonb), 'a back door', now())",
            id=new_id(),
            made=made,
            why=reason,
            scope=scope,
        )
