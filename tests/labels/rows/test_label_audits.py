"""Audits in Postgres: the sample, the verdicts, and the audit that a policy may require before a run starts."""

from datetime import timedelta
from uuid import UUID

import pytest
from thumbwheel import wire

from app.database import now, transaction
from app.errors import NotFound, Refused
from app.labels.audits import service as audits
from app.labels.policies import service as policies
from app.runs import service as runs
from tests.desk import DESK, checkpoint, execute, make_project, vote
from tests.logged import store

BY = "key ann"


@pytest.fixture(autouse=True)
def _project(database):
    make_project()


def start(**new) -> wire.Audit:
    with transaction() as session:
        return audits.start(session, DESK, wire.NewAudit(**new), BY)


def shown(audit: wire.Audit) -> wire.Audit:
    with transaction() as session:
        return audits.get(session, DESK, audit.id)


def queue(audit: wire.Audit, *, pending: bool = False, cursor: str | None = None, limit: int = 200):
    with transaction() as session:
        return audits.items(session, DESK, audit.id, pending=pending, cursor=cursor, limit=limit)


def judge(audit: wire.Audit, number: int, verdict: str, *, by: str = BY, note: str = "") -> wire.AuditItem:
    new = wire.NewAuditVerdict.model_validate({"verdict": verdict, "note": note})
    with transaction() as session:
        return audits.give(session, DESK, audit.id, number, new, by)


def judge_all(audit: wire.Audit, *, wrong: int = 0) -> None:
    """Gives a verdict on every row: the first `wrong` rows of each class are wrong, all others right."""
    items = queue(audit).items
    for label in ("desirable", "undesirable"):
        for index, item in enumerate(item for item in items if item.label == label):
            judge(audit, item.number, "disagree" if index < wrong else "agree")


def adopt(**policy) -> wire.StoredLabelPolicy:
    new = wire.NewLabelPolicy.model_validate({"policy": policy})
    with transaction() as session:
        stored, _ = policies.create(session, DESK, new, "key admin")
        policies.adopt(session, DESK, stored.version, "", "key admin")
        return policies.adopted(session, DESK)


def reasons(as_of=None) -> list[str]:
    with transaction() as session:
        return audits.reasons_to_refuse(session, DESK, policies.adopted(session, DESK), as_of)


def drawn(audit: wire.Audit) -> list[tuple[int, str]]:
    return [(item.number, item.completion_id) for item in queue(audit).items]


def test_an_audit_has_as_many_rows_of_each_class_as_requested_with_what_was_shown_and_said():
    vote(40)

    audit = start(per_class=5)

    assert (audit.items, audit.pending, audit.created_by) == (10, 10, BY)
    assert [(part.label, part.rows, part.items, part.precision) for part in audit.classes] == [
        ("desirable", 20, 5, None),
        ("undesirable", 20, 5, None),
    ]
    assert (audit.policy_name, audit.policy_version) == ("default", 0)
    for item in queue(audit).items:
        number = int(item.completion_id.removeprefix("c"))
        assert (item.prompt, item.completion) == (f"Question {number}?", f"Answer {number}.")
        assert (item.label, item.reason) == (
            ("undesirable", "thumbs_down") if number % 2 else ("desirable", "thumbs_up")
        )
        assert (item.kind, item.verdict, item.history) == ("thumbs", None, [])


def test_a_small_project_is_audited_whole():
    vote(12)

    assert start().items == 12


def test_the_same_labels_and_seed_give_the_same_rows_and_new_labels_or_another_seed_others():
    vote(60)

    first, again, other = start(per_class=5), start(per_class=5), start(per_class=5, seed=1)

    assert first.id != again.id
    assert drawn(first) == drawn(again)
    assert drawn(first) != drawn(other)


def test_every_checkpoint_and_kind_of_signal_is_looked_at_and_invented_checkpoints_are_one(tmp_path):
    vote(40)
    checkpoint_id = checkpoint(tmp_path)
    store(
        DESK,
        [
            {
                "completion_id": f"m{number}",
                "actor": f"reader {number}",
                "prompt": "Where is it?",
                "completion": f"Reply {number}.",
                "signal": {"kind": "rating", "value": 5} if number == 0 else {"kind": "thumbs", "value": "up"},
                "checkpoint_id": str(checkpoint_id if number < 2 else UUID(int=number)),
            }
            for number in range(6)
        ],
    )

    audit = start(per_class=3)

    found = {
        (item.checkpoint_id == checkpoint_id, item.kind) for item in queue(audit).items if item.label == "desirable"
    }
    assert found == {(True, "rating"), (True, "thumbs"), (False, "thumbs")}
    assert [(part.label, part.kind, part.items) for part in audit.kinds] == [
        ("desirable", "rating", 1),
        ("desirable", "thumbs", 2),
        ("undesirable", "thumbs", 3),
    ]


def test_precision_counts_right_and_wrong_and_leaves_out_who_was_unsure():
    vote(20)
    audit = start()
    items = {
        label: [item for item in queue(audit).items if item.label == label] for label in ("desirable", "undesirable")
    }

    for item, verdict in zip(items["desirable"], ["agree"] * 6 + ["disagree"] * 2 + ["unsure"] * 2, strict=True):
        judge(audit, item.number, verdict)

    found = shown(audit)
    desirable, undesirable = found.classes
    assert (desirable.judged, desirable.agreed, desirable.unsure, desirable.precision) == (8, 6, 2, 0.75)
    assert desirable.low == pytest.approx(0.4093, abs=1e-4)
    assert desirable.high == pytest.approx(0.9285, abs=1e-4)
    assert (undesirable.judged, undesirable.precision, undesirable.low) == (0, None, None)
    assert found.pending == 10
    assert found.mislabelled_good is found.mislabelled_bad is None

    judge(audit, items["undesirable"][0].number, "agree")

    # Of 10 labels of each class, 7.5 and 10 are right: all good completions have one, and 2.5 of 12.5 bad ones.
    assert (shown(audit).mislabelled_good, shown(audit).mislabelled_bad) == pytest.approx((0, 0.2))


def test_a_changed_verdict_counts_and_the_earlier_one_stays_in_the_history():
    vote(20)
    audit = start()

    judge(audit, 1, "agree")
    changed = judge(audit, 1, "disagree", note="irony")

    assert changed.verdict == "disagree"
    assert [(given.verdict, given.note, given.by) for given in changed.history] == [
        ("agree", "", BY),
        ("disagree", "irony", BY),
    ]
    assert sum(part.agreed for part in shown(audit).classes) == 0
    assert sum(part.judged for part in shown(audit).classes) == 1


def test_the_same_verdict_again_is_a_replay_and_that_of_another_person_is_not():
    vote(20)
    audit = start()

    assert judge(audit, 1, "agree") == judge(audit, 1, "agree")
    assert len(judge(audit, 1, "agree", by="key bob").history) == 2


def test_the_queue_goes_on_where_it_stopped_and_comes_in_pages():
    vote(20)
    audit = start()
    judge(audit, 1, "agree")
    judge(audit, 3, "unsure")

    first = queue(audit, pending=True, limit=10)
    second = queue(audit, pending=True, cursor=first.next_cursor, limit=10)

    assert [item.number for item in first.items + second.items] == [2, *range(4, 21)]
    assert second.next_cursor is None


def test_the_most_suspicious_come_first_also_from_page_to_page():
    vote(10)
    audit = start()
    for number, suspicion in ((4, 0.2), (7, 0.9), (9, 0.2), (2, 0.0)):
        execute(
            "UPDATE label_audit_items SET suspicion = :suspicion WHERE audit_id = :audit AND number = :number",
            suspicion=suspicion,
            audit=audit.id,
            number=number,
        )

    numbers, cursor = [], None
    while True:
        page = queue(audit, cursor=cursor, limit=3)
        numbers += [item.number for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert numbers == [7, 4, 9, 2, 1, 3, 5, 6, 8, 10]


def test_labels_that_a_checkpoint_suspects_come_first_while_they_are_the_same_labels(tmp_path):
    vote(40)
    checkpoint_id = checkpoint(tmp_path)
    with transaction() as session:
        audits.suspect(session, DESK, checkpoint_id, [("c1", False, 0.4), ("c2", True, 0.9), ("c3", False, 0.8)])
        audits.suspect(session, DESK, checkpoint_id, [("c1", False, 0.95), ("c8", True, 0.1), ("gone", True, 1.0)])
    store(DESK, [{"completion_id": "c3", "actor": "user 3", "signal": {"kind": "thumbs", "value": "up"}}])

    first = queue(start()).items[:4]

    assert [(item.completion_id, item.suspicion) for item in first[:3]] == [("c1", 0.95), ("c2", 0.9), ("c8", 0.1)]
    assert first[3].suspicion is None


def test_a_checkpoint_that_suspects_nothing_changes_nothing(tmp_path):
    vote(40)
    checkpoint_id = checkpoint(tmp_path)
    with transaction() as session:
        audits.suspect(session, DESK, checkpoint_id, [])

    assert [item.number for item in queue(start()).items] == list(range(1, 41))


def test_what_was_drawn_stays_what_was_shown_when_the_label_changes():
    vote(10)
    audit = start()
    before = queue(audit).items

    vote(10, start=100)
    store(DESK, [{"completion_id": "c0", "actor": "user 0", "signal": {"kind": "thumbs", "value": "down"}}])

    assert queue(audit).items == before


def test_where_nothing_is_labelled_or_one_class_alone_that_is_said_and_no_audit_is_made():
    with pytest.raises(Refused, match="has no labelled row to audit"):
        start()

    vote(7, values=["up"])
    with pytest.raises(Refused, match=r"All 7 labelled rows of project desk are desirable.* wait for undesirable ones"):
        start()

    with transaction() as session:
        assert audits.page(session, DESK, cursor=None, limit=10).items == []


def test_an_audit_of_another_project_or_a_row_that_it_lacks_is_unknown():
    vote(10)
    make_project("other")
    audit = start()

    with transaction() as session, pytest.raises(NotFound, match=f"Project other has no audit {audit.id}"):
        audits.get(session, "other", audit.id)
    with pytest.raises(NotFound, match=f"Audit {audit.id} has no item 11"):
        judge(audit, 11, "agree")


# -- what a policy requires --------------------------------------------------------------------------------------------


def test_a_policy_that_asks_for_no_audit_refuses_nothing():
    vote(40)

    assert reasons() == []


def test_a_run_waits_for_an_audit_until_it_is_finished():
    vote(40)
    adopt(audit={"minimum_precision": 0.6})

    [missing] = reasons()
    assert missing.endswith("there is none: draw one with `thumbwheel audit start`")

    audit = start()
    judge(audit, 1, "agree")
    [unfinished] = reasons()
    assert f"39 of 40 rows of audit {audit.id} wait for a verdict" in unfinished
    assert f"`thumbwheel audit review {audit.id}`" in unfinished

    judge_all(audit)
    assert reasons() == []


def test_a_class_whose_interval_goes_below_the_minimum_is_named_with_its_figures():
    vote(40)
    adopt(audit={"minimum_precision": 0.8})
    audit = start()
    judge_all(audit)
    wrong = next(item for item in queue(audit).items if item.label == "undesirable")
    judge(audit, wrong.number, "disagree")

    [reason] = reasons()

    # Wilson's interval begins at 0.764 for 19 of 20 and at 0.839 for 20 of 20.
    assert (
        f"of the undesirable labels 19 of 20 were right in audit {audit.id}: precision 0.950, at least 0.764" in reason
    )
    assert "requires 0.8" in reason
    assert "`thumbwheel audit start --per-class`" in reason


def test_an_audit_in_which_nobody_was_sure_of_a_class_is_not_enough():
    vote(10)
    adopt(audit={"minimum_precision": 0.1})
    audit = start()
    for item in queue(audit).items:
        judge(audit, item.number, "agree" if item.label == "desirable" else "unsure")

    [reason] = reasons()

    assert f"no undesirable label of audit {audit.id} was judged right or wrong" in reason


def test_a_newer_audit_that_is_not_finished_leaves_the_finished_one_in_force():
    vote(40)
    adopt(audit={"minimum_precision": 0.6})
    judge_all(start())

    start(seed=1)

    assert reasons() == []


def test_an_audit_grows_old():
    vote(40)
    adopt(audit={"minimum_precision": 0.6, "within_days": 30})
    judge_all(start())

    assert reasons(now() + timedelta(days=29)) == []
    assert "there is none" in reasons(now() + timedelta(days=31))[0]


def test_an_audit_speaks_of_the_policy_that_gave_its_labels_whatever_that_asks_of_audits():
    vote(40)
    judge_all(start())

    adopt(audit={"minimum_precision": 0.6})
    assert reasons() == []

    adopt(audit={"minimum_precision": 0.6}, signals={"copy": None})
    assert "there is none" in reasons()[0]


def test_readiness_and_the_start_of_a_run_say_what_an_audit_lacks():
    vote(40)
    adopt(audit={"minimum_precision": 0.6})

    with transaction() as session:
        readiness = runs.readiness(session, DESK)
    assert not readiness.ready
    assert readiness.reasons == reasons()

    with transaction() as session, pytest.raises(Refused) as refused:
        runs.request(session, DESK, wire.NewRun(), "key test", "requested by a test")
    assert refused.value.reasons == tuple(reasons())

    judge_all(start())
    with transaction() as session:
        assert runs.readiness(session, DESK).ready
