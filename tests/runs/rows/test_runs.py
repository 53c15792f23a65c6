"""Runs as rows: one active run per project, one worker per run, no lost work, no writes of a stale worker."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError
from thumbwheel import wire
from thumbwheel.wire.recipe import PAIRED, Recipe, recipe_of

from app import settings
from app.database import new_id, transaction
from app.errors import Conflict, Invalid, NotFound, Refused, StaleLease, Unavailable
from app.project_setup import service as project_setup
from app.projects import service as projects
from app.runs import commands
from app.runs import service as runs
from app.runs.leases import service as leases
from app.runs.states import RunState
from tests.desk import (
    DESK,
    advance,
    at_once,
    claim,
    execute,
    expire,
    finish,
    make_project,
    messages,
    ready_to_finish,
    reap,
    request,
    shown,
    snapshot,
    vote,
)
from tests.logged import store

PASSED = {"verdict": "passed", "reasons": []}
pytestmark = pytest.mark.usefixtures("project")


# -- requested --------------------------------------------------------------------------------------------------------


def test_a_request_freezes_what_decides_the_run_and_asks_workers_to_look():
    run = request(changes={"beta": 0.2})

    with transaction() as session:
        project_setup.change(session, DESK, wire.ProjectChange(gates="strict"), "key test")
    vote(10, start=100)
    claimed = claim(run.id)

    assert run.state == "queued"
    assert messages() == [str(run.id)]
    assert claimed.recipe.beta == 0.2
    assert (claimed.configuration.gates.document.name, claimed.configuration.gates.version) == ("toy", 1)
    assert claimed.watermark == 40
    assert [(move.from_state, move.to_state) for move in shown(run.id).transitions] == [
        (None, "queued"),
        ("queued", "snapshotting"),
    ]


def test_a_request_without_enough_feedback_is_refused_with_every_reason_and_leaves_nothing():
    make_project("empty")

    with pytest.raises(Refused) as refused:
        request("empty")

    assert refused.value.code == "not_ready"
    assert refused.value.reasons
    assert execute("SELECT count(*) FROM runs") == [(0,)]
    assert messages() == []


@pytest.mark.parametrize("objective", sorted(PAIRED))
def test_an_objective_that_compares_is_refused_where_nothing_was_compared(objective):
    with pytest.raises(Refused) as refused:
        request(changes={"objective": objective})

    assert refused.value.code == "not_ready"
    (reason,) = refused.value.reasons
    assert reason.startswith(f"no two completions of one prompt were compared, {objective} learns")
    assert reason.endswith("or set its objective to kto, which needs no pairs")


def test_desirable_feedback_alone_is_enough_for_sft_and_its_recipe_resolves_without_lambdas(tmp_path):
    make_project("praise")
    vote(40, project="praise", values=["up"])
    with pytest.raises(Refused, match="kto needs both classes"):
        request("praise")

    claimed = ready_to_finish(tmp_path, "praise", changes={"objective": "sft"})

    recipe = shown(claimed.lease.run_id, "praise").recipe
    assert (recipe.lambda_desirable, recipe.lambda_undesirable) == (1.0, 1.0)
    assert recipe.learning_rate != "auto"


def test_uneven_feedback_is_refused_where_classes_are_weighed_and_taken_where_pairs_are_compared():
    vote(800, start=100, values=["up"])
    preferred = [
        {
            "completion_id": f"p{number}",
            "actor": "ann",
            "prompt": f"Which {number}?",
            "completion": "This.",
            "signal": {"kind": "preference", "rejected": "That."},
        }
        for number in range(20)
    ]
    store(DESK, preferred)
    for objective in ("kto", "bco", "apo_zero_unpaired", "ppo_clip", "tkto"):
        with pytest.raises(Refused, match="outside 1:10"):
            request(changes={"objective": objective})

    assert request(changes={"objective": "dpo"}).recipe.objective == "dpo"


def test_readiness_is_that_of_the_projects_own_objective():
    def ready() -> wire.Readiness:
        with transaction() as session:
            return runs.readiness(session, DESK)

    assert ready().ready
    with transaction() as session:
        chosen = wire.RecipeChoice(changes={"objective": "dpo"})
        projects.change(session, DESK, wire.ProjectChange(recipe=chosen))

    assert not ready().ready
    assert ready().pairs == 0


def test_a_recipe_whose_fields_do_not_fit_each_other_is_refused_at_its_fields():
    with pytest.raises(Invalid) as refused:
        request(changes={"objective": "dpo", "lambda_desirable": 2.0})

    assert [fault.pointer for fault in refused.value.faults] == ["/changes/lambda_desirable"]
    assert execute("SELECT count(*) FROM runs") == [(0,)]


def test_a_second_request_names_the_active_run():
    first = request()

    with pytest.raises(Conflict) as refused:
        request()

    assert refused.value.code == "run_active"
    assert refused.value.details == {"active_run_id": str(first.id)}


def test_of_many_requests_at_once_one_makes_a_run():
    outcomes = at_once(6, lambda _: request())

    assert [type(outcome) for outcome in outcomes].count(wire.Run) == 1
    assert {error.code for error in outcomes if isinstance(error, Conflict)} == {"run_active"}
    assert len(messages()) == 1


def test_postgres_itself_allows_one_active_run_per_project():
    run = request()

    columns = (
        "project_id, state, trigger, configuration, recipe, watermark, reference_checkpoint_id, created_at, "
        "lease_epoch, lost, rung_at, phase_done, phase_total, warnings"
    )
    with pytest.raises(IntegrityError, match="ix_runs_one_active_per_project"):
        execute(f"INSERT INTO runs (id, {columns}) SELECT :new, {columns} FROM runs WHERE id = :id",
                new=new_id(), id=run.id)  # fmt: skip


# -- claimed ----------------------------------------------------------------------------------------------------------


def test_of_many_workers_that_look_at_once_one_gets_the_run():
    run = request()

    def look(number: int) -> Any:
        with transaction() as session:
            return leases.claim(session, run.id, f"worker {number}")

    won = [claimed for claimed in at_once(6, look) if claimed is not None]

    assert [claimed.lease.epoch for claimed in won] == [1]
    assert shown(run.id).state == "snapshotting"


def test_a_second_delivery_finds_nothing_to_claim():
    run = request()
    claim(run.id)

    with transaction() as session:
        assert leases.claim(session, run.id, "worker 2") is None
        assert leases.claim(session, new_id(), "worker 2") is None


def test_an_ended_run_cannot_be_claimed(tmp_path):
    claimed = ready_to_finish(tmp_path)
    finish(claimed, tmp_path)

    with transaction() as session:
        assert leases.claim(session, claimed.lease.run_id, "worker 2") is None


def test_an_expired_lease_lets_the_next_worker_in_and_the_state_stays():
    claimed = claim(request().id)
    advance(claimed.lease, RunState.REFERENCING)
    expire(claimed.lease.run_id)

    second = claim(claimed.lease.run_id, "worker 2")

    assert second.lease.epoch == 2
    assert second.state is RunState.REFERENCING


WRITES: dict[str, Callable[..., Any]] = {
    "renew": leases.renew,
    "trained": lambda session, lease: leases.trained(session, lease, recipe_of("lora-8b", {"micro_batch_size": 4})),
    "advance": lambda session, lease: leases.advance(session, lease, RunState.TRAINING),
    "report": lambda session, lease: leases.report(session, lease, leases.Report(done=1, total=2)),
    "metrics": lambda session, lease: leases.report(session, lease, leases.Report(metrics=[{"step": 1}])),
    "finish": lambda session, lease: leases.finish(
        session, lease, weights_sha256="", files={}, manifest={**PASSED, "kind": "adapter", "scores": {}}
    ),
    "fail": lambda session, lease: leases.fail(session, lease, "because"),
    "cancelled": leases.cancelled,
    "release": leases.release,
    "lose": lambda session, lease: leases.lose(session, lease, "because"),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("meanwhile", ["claimed by another", "reaped"])
def test_a_worker_that_lost_its_lease_writes_nothing(write, meanwhile, tmp_path):
    stale = ready_to_finish(tmp_path).lease
    expire(stale.run_id)
    if meanwhile == "reaped":
        assert reap() == 1
    else:
        claim(stale.run_id, "worker 2")
    before = execute("SELECT to_jsonb(runs) FROM runs")

    with pytest.raises(StaleLease), transaction() as session:
        WRITES[write](session, stale)

    assert execute("SELECT to_jsonb(runs) FROM runs") == before
    assert execute("SELECT count(*) FROM run_metrics") == [(0,)]
    assert execute("SELECT count(*) FROM checkpoints WHERE kind <> 'base'") == [(0,)]


@pytest.mark.parametrize("write", ["renew", "metrics", "finish"])
def test_a_worker_frozen_in_the_middle_of_a_write_holds_its_run_no_longer_than_a_lease(write, tmp_path, monkeypatch):
    short = settings.current().model_copy(update={"lease_seconds": 0.2})
    monkeypatch.setattr(settings, "current", lambda: short)
    frozen = ready_to_finish(tmp_path).lease

    writing = transaction()
    WRITES[write](writing.__enter__(), frozen)
    expire(frozen.run_id)  # waits for the row

    assert claim(frozen.run_id, "worker 2").lease.epoch == 2
    with pytest.raises(Unavailable):
        writing.__exit__(None, None, None)


def test_a_released_run_is_made_known_and_claimed_at_once_and_counts_as_no_loss():
    claimed = claim(request().id)
    with transaction() as session:
        leases.release(session, claimed.lease)

    assert messages() == [str(claimed.lease.run_id)] * 2
    assert claim(claimed.lease.run_id, "worker 2").lease.epoch == 2
    assert execute("SELECT lost FROM runs") == [(0,)]


# -- reaped -----------------------------------------------------------------------------------------------------------


def test_a_run_whose_worker_fell_silent_is_made_known_again_once():
    claimed = claim(request().id)
    assert reap() == 0
    expire(claimed.lease.run_id)

    assert (reap(), reap()) == (1, 0)

    assert messages() == [str(claimed.lease.run_id)] * 2
    assert [line.kind for line in shown(claimed.lease.run_id).transitions] == ["requested", "claimed", "silent"]


def test_a_run_that_is_lost_too_often_fails_with_the_cause():
    run = request()
    for number in range(1, 6):
        claim(run.id, f"worker {number}")
        expire(run.id)
        assert reap() == 1

    ended = shown(run.id)

    assert ended.state == "failed"
    assert ended.reason == "given up after 5 lost attempts, the last one: worker worker 5 fell silent"
    assert (ended.transitions[-1].kind, ended.transitions[-1].attempt) == ("given_up", 5)
    assert ended.finished_at is not None
    assert request().state == "queued"


def test_a_run_that_nobody_took_for_long_is_made_known_again():
    run = request()
    assert reap() == 0

    execute("UPDATE runs SET rung_at = now() - interval '2 minutes'")
    assert (reap(), reap()) == (1, 0)

    assert messages() == [str(run.id)] * 2


# -- cancelled --------------------------------------------------------------------------------------------------------


def cancel(run_id: Any) -> wire.Run:
    with transaction() as session:
        return commands.cancel(session, DESK, run_id, "key test")


def test_a_queued_run_is_cancelled_at_once_and_again_changes_nothing():
    run = request()

    assert cancel(run.id).state == "cancelled"
    assert cancel(run.id) == shown(run.id)

    with transaction() as session:
        assert leases.claim(session, run.id, "worker 1") is None


def test_the_worker_of_a_cancelled_run_sees_it_and_ends_it():
    claimed = claim(request().id)

    assert cancel(claimed.lease.run_id).state == "cancelling"
    with transaction() as session:
        assert leases.renew(session, claimed.lease).state is RunState.CANCELLING
        assert leases.advance(session, claimed.lease, RunState.TRAINING) is RunState.CANCELLING
        leases.cancelled(session, claimed.lease)

    ended = shown(claimed.lease.run_id)
    assert (ended.state, ended.reason) == ("cancelled", "cancelled by key test")


@pytest.mark.parametrize("end", ["fail", "release", "lose"])
def test_a_run_that_is_being_cancelled_ends_as_cancelled_whatever_happens(end):
    claimed = claim(request().id)
    cancel(claimed.lease.run_id)

    with transaction() as session:
        WRITES[end](session, claimed.lease)

    assert shown(claimed.lease.run_id).state == "cancelled"


def test_a_cancelled_run_registers_nothing(tmp_path):
    claimed = ready_to_finish(tmp_path)
    cancel(claimed.lease.run_id)

    with pytest.raises(Conflict, match="The run is cancelling and cannot become succeeded"):
        finish(claimed, tmp_path)

    assert execute("SELECT count(*) FROM checkpoints WHERE kind <> 'base'") == [(0,)]


def test_a_run_between_two_workers_is_cancelled_at_once():
    claimed = claim(request().id)
    with transaction() as session:
        leases.release(session, claimed.lease)

    assert cancel(claimed.lease.run_id).state == "cancelled"

    last = shown(claimed.lease.run_id).transitions[-1]
    assert (last.kind, last.from_state) == ("ended", "snapshotting")


def test_a_worker_does_not_cancel_a_run_that_nobody_cancelled():
    claimed = claim(request().id)

    with pytest.raises(Conflict, match="The run is snapshotting and cannot become cancelled"), transaction() as session:
        leases.cancelled(session, claimed.lease)

    assert shown(claimed.lease.run_id).state == "snapshotting"


def test_the_reaper_ends_a_cancelled_run_whose_worker_is_gone():
    claimed = claim(request().id)
    cancel(claimed.lease.run_id)
    expire(claimed.lease.run_id)

    assert reap() == 1

    assert shown(claimed.lease.run_id).state == "cancelled"


def test_an_ended_run_cannot_be_cancelled(tmp_path):
    claimed = ready_to_finish(tmp_path)
    finish(claimed, tmp_path)

    with pytest.raises(Conflict, match=r"The run is succeeded and cannot be cancelled\. Allowed: reproduce\."):
        cancel(claimed.lease.run_id)


# -- reported ---------------------------------------------------------------------------------------------------------


DROPPED = {
    "reason": "too_long",
    "meaning": "max_length leaves nothing of the answer",
    "remedy": "raise max_length",
    "count": 2,
    "splits": {"train": 1, "holdout": 1},
    "examples": [{"split": "train", "completion_id": "c1", "detail": ""}],
}


def test_progress_metrics_warnings_and_dropped_rows_are_kept_and_a_step_taken_again_replaces_its_row():
    claimed = claim(request().id)
    advance(claimed.lease, RunState.REFERENCING, RunState.TRAINING)
    news = leases.Report(
        done=3,
        total=10,
        eta_seconds=7.5,
        metrics=[{"step": step, "loss": 1.0} for step in (1, 2, 3)],
        warnings=["look"],
        dropped_rows=[DROPPED],
    )

    with transaction() as session:
        leases.report(session, claimed.lease, news)
        leases.report(session, claimed.lease, leases.Report(metrics=[{"step": 3, "loss": 0.5}]))

    run = shown(claimed.lease.run_id)
    assert (run.phase_done, run.phase_total, run.eta_seconds, run.warnings) == (3, 10, 7.5, ["look"])
    assert run.last_metrics == {"step": 3, "loss": 0.5}
    assert [rows.model_dump() for rows in run.dropped_rows] == [DROPPED]
    with transaction() as session:
        steps = runs.metrics(session, DESK, run.id, limit=10).steps
    assert [(line["step"], line["loss"]) for line in steps] == [(1, 1.0), (2, 1.0), (3, 0.5)]


def test_what_the_trainer_measured_stands_in_the_recipe_of_the_run(tmp_path):
    # given a run whose recipe leaves the micro-batch to the machine
    claimed = ready_to_finish(tmp_path, changes={"micro_batch_size": "auto"})
    resolved = Recipe.model_validate(shown(claimed.lease.run_id).recipe.given())
    assert resolved.micro_batch_size == "auto"
    assert resolved.resolved

    with transaction() as session:
        leases.trained(session, claimed.lease, resolved.model_copy(update={"micro_batch_size": 4}))

    assert shown(claimed.lease.run_id).recipe.given() == {**resolved.model_dump(mode="json"), "micro_batch_size": 4}


def test_a_long_series_is_thinned_evenly_and_keeps_its_ends():
    claimed = claim(request().id)
    with transaction() as session:
        lines = [{"step": step} for step in range(1, 2501)]
        leases.report(session, claimed.lease, leases.Report(metrics=lines))
        steps = [line["step"] for line in runs.metrics(session, DESK, claimed.lease.run_id, limit=100).steps]

    assert steps == [*range(1, 2501, 25), 2500]


def test_steps_that_measured_drift_are_not_thinned_away():
    claimed = claim(request().id)
    checked = {625: 0.01, 1250: 0.02, 1875: 0.0, 2500: 0.04}
    with transaction() as session:
        lines = [{"step": step, "kl_nats_per_token": checked.get(step)} for step in range(1, 2501)]
        leases.report(session, claimed.lease, leases.Report(metrics=lines))
        kept = runs.metrics(session, DESK, claimed.lease.run_id, limit=100).steps

    assert {
        line["step"]: line["kl_nats_per_token"] for line in kept if line["kl_nats_per_token"] is not None
    } == checked
    assert len(kept) <= 104


def test_a_finished_run_has_its_checkpoint_recipe_and_history(tmp_path):
    claimed = ready_to_finish(tmp_path)

    checkpoint_id = finish(claimed, tmp_path, reasons=["auroc: too low"])

    run = shown(claimed.lease.run_id)
    assert (run.state, run.checkpoint_id, run.attempts) == ("succeeded", checkpoint_id, 1)
    assert run.recipe.lambda_undesirable != "auto"
    assert run.snapshot_id is not None
    assert [move.to_state for move in run.transitions] == [
        "queued", "snapshotting", "referencing", "training", "evaluating", "succeeded",
    ]  # fmt: skip
    assert "its gates refused it" in run.transitions[-1].reason


def test_an_attempt_after_a_lost_one_has_the_snapshot_and_the_resolved_recipe(tmp_path):
    claimed = claim(request().id)
    snapshot(claimed, tmp_path)
    expire(claimed.lease.run_id)

    second = claim(claimed.lease.run_id, "worker 2")

    assert second.snapshot_id is not None
    assert second.recipe.resolved


def test_runs_of_another_project_are_not_there():
    run = request()
    make_project("other")

    with pytest.raises(NotFound), transaction() as session:
        runs.get(session, "other", run.id)
    with pytest.raises(NotFound), transaction() as session:
        commands.cancel(session, "other", run.id, "key test")
    with transaction() as session:
        assert runs.page(session, "other", cursor=None, limit=10).items == []
