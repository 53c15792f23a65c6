"""Comparisons give the same labels and pairs of a snapshot in any order of arrival."""

from collections import defaultdict
from pathlib import Path
from uuid import UUID

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from thumbwheel import wire
from thumbwheel.wire.recipe import PairsFrom

from app.database import transaction
from app.feedback import importing
from app.feedback import service as feedback
from app.labels.policies import service as policies
from app.labels.quarantine import service as quarantine
from app.projects.tables import Project
from app.snapshots import service as snapshots
from app.snapshots.prompts.split import group_of, key_of, split_of
from app.snapshots.redactions.rewrite import members_of, without
from tests.bare_project import CONFIGURATION
from tests.labels.one_by_one import resolve_all
from tests.logged import store

P = "desk"
RULES = wire.SnapshotRules(minimum_per_class=1, holdout_share=0.01, allow_imbalance=True)
PROMPT = "Where is my parcel?"
Pair = tuple[str, str, str, int, int, int]


@pytest.fixture(autouse=True)
def _project(database):
    make(P)


def make(project: str) -> None:
    with transaction() as session:
        session.add(Project(id=project, base_model="/models/base", configuration=CONFIGURATION))


def preferred(chosen: str, rejected: str, actor: str = "ann", **more) -> dict:
    """Returns a preference without a time, like an imported one. The text of a completion follows from its id."""
    return {
        "completion_id": chosen,
        "actor": actor,
        "prompt": PROMPT,
        "completion": f"Answer {chosen}.",
        "signal": {"kind": "preference", "rejected": f"Answer {rejected}.", "rejected_completion_id": rejected},
        "origin": "import",
        **more,
    }


def even(one: str, other: str, actor: str = "ann") -> dict:
    event = preferred(one, other, actor)
    return {**event, "signal": {**event["signal"], "tie": True}}


def thumb(completion: str, value: str, actor: str = "ann", **more) -> dict:
    return {
        "completion_id": completion,
        "actor": actor,
        "prompt": PROMPT,
        "completion": f"Answer {completion}.",
        "signal": {"kind": "thumbs", "value": value},
        "origin": "import",
        **more,
    }


def labelled(project: str = P) -> dict[str, bool | None]:
    with transaction() as session:
        policy = policies.adopted(session, project).policy
        found = resolve_all(session, project, policy, watermark=feedback.watermark(session, project))
    return dict(found.completions.select("completion_id", "label").iter_rows())


def build(folder: Path, project: str = P, pairs: PairsFrom = "compared_and_edits") -> snapshots.Built:
    with transaction() as session:
        return snapshots.build(
            session,
            project,
            RULES,
            "dpo",
            watermark=feedback.watermark(session, project),
            seed=1,
            shipped_checkpoint_id=UUID(int=7),
            folder=folder,
            pairs=pairs,
        )


def rows_in(folder: Path) -> dict[str, list[dict]]:
    return {path.name: pq.read_table(path).to_pylist() for path in folder.glob("*-*.parquet")}


def pairs_in(folder: Path) -> list[Pair]:
    """Returns (chosen id, rejected id, source, votes for chosen, for rejected and for neither) of every pair."""
    rows = rows_in(folder)
    return sorted(
        (
            rows[pair["shard"]][pair["chosen"]]["completion_id"],
            rows[pair["rejected_shard"]][pair["rejected"]]["completion_id"],
            pair["source"],
            pair["votes_chosen"],
            pair["votes_rejected"],
            pair["votes_even"],
        )
        for pair in pq.read_table(folder / "pairs.parquet").to_pylist()
    )


def test_each_comparison_of_an_actor_counts_not_the_last_one_alone():
    store(P, [preferred("a", "b"), preferred("a", "c"), preferred("d", "a")])

    assert labelled() == {"a": True, "b": False, "c": False, "d": True}


def test_a_later_judgement_replaces_the_earlier_one_of_the_same_two_in_either_direction():
    monday, tuesday = ({"occurred_at": f"2026-01-0{day}T12:00:00Z"} for day in (5, 6))
    store(P, [preferred("b", "a", **tuesday), preferred("a", "b", **monday), preferred("a", "c", **monday)])

    assert labelled() == {"a": None, "b": True, "c": False}


def test_contradictory_judgements_without_times_are_a_tie_and_one_judgement_after_them_is_not():
    store(P, [preferred("a", "b"), preferred("b", "a")])
    assert labelled() == {"a": None, "b": None}

    store(P, [preferred("a", "b", event_id="now", origin=None)])
    assert labelled() == {"a": True, "b": False}


def test_what_an_actor_took_back_is_no_comparison_of_either_side():
    store(P, [preferred("a", "b", event_id="one"), preferred("a", "c", event_id="two")])
    store(P, [{"completion_id": "a", "actor": "ann", "signal": {"kind": "retract"}, "supersedes": "one"}])

    assert labelled() == {"a": True, "b": None, "c": False}


def test_pairs_are_what_was_compared_in_the_direction_of_the_majority_with_the_votes(tmp_path):
    store(
        P,
        [
            *(preferred("a", "b", actor) for actor in ("ann", "bob", "cy")),
            preferred("b", "a", "dan"),
            even("a", "b", "eve"),
            preferred("c", "d"),
            preferred("d", "c", "bob"),
            even("a", "c"),
            thumb("e", "up", "gus"),
        ],
    )

    built = build(tmp_path / "snapshot")

    assert pairs_in(tmp_path / "snapshot") == [("a", "b", "compared", 3, 1, 1)]
    assert built.manifest["pairs"]["sources"]["train"] == {"compared": 1, "edit": 0, "derived": 0}
    assert built.manifest["pairs"]["tied"] == 2
    card = (tmp_path / "snapshot" / "card.md").read_text()
    assert "| compared: the majority prefers the chosen one | 1 | 0 |" in card
    assert "Compared, but tied and so no pair: 2" in card


def test_pairs_derived_from_labels_are_made_where_the_recipe_asks_and_never_against_the_votes(tmp_path):
    store(
        P,
        [
            *(preferred("good", "bad", actor) for actor in ("ann", "bob")),
            # The labels make bad desirable and good undesirable.
            *(thumb("bad", "up", actor) for actor in ("cy", "dan", "eve")),
            *(thumb("good", "down", actor) for actor in ("cy", "dan", "eve")),
            thumb("other", "up", "gus"),
        ],
    )

    build(tmp_path / "compared")
    built = build(tmp_path / "derived", pairs="derived")

    assert labelled() == {"good": False, "bad": True, "other": True}
    assert pairs_in(tmp_path / "compared") == [("good", "bad", "compared", 2, 0, 0)]
    assert pairs_in(tmp_path / "derived") == [
        ("good", "bad", "compared", 2, 0, 0),
        ("other", "good", "derived", 0, 0, 0),
    ]
    assert built.manifest["pairs"]["sources"]["train"] == {"compared": 1, "edit": 0, "derived": 1}


def test_a_completion_that_is_preferred_as_often_as_not_has_no_label_and_is_in_its_pairs(tmp_path):
    store(P, [preferred("a", "b"), preferred("b", "c"), preferred("x", "y"), thumb("z", "up")])

    built = build(tmp_path / "snapshot")

    assert labelled()["b"] is None
    assert pairs_in(tmp_path / "snapshot") == [
        ("a", "b", "compared", 1, 0, 0),
        ("b", "c", "compared", 1, 0, 0),
        ("x", "y", "compared", 1, 0, 0),
    ]
    [shard] = built.manifest["pairs"]["shards"]
    [row] = rows_in(tmp_path / "snapshot")[shard["path"]]
    assert (row["completion_id"], row["label"], row["reason"]) == ("b", None, "compared")
    assert all(row["label"] is not None for row in rows_in(tmp_path / "snapshot")["train-text.parquet"])
    assert [one.row for one in members_of(tmp_path / "snapshot" / "members.parquet", ["b"])] == ["b"]


def test_without_the_rows_of_a_completion_its_pairs_are_gone_too(tmp_path):
    store(P, [preferred("a", "b"), preferred("b", "c"), preferred("x", "y"), thumb("z", "up")])
    built = build(tmp_path / "whole")
    (tmp_path / "rest").mkdir()

    rest = without(built.manifest, tmp_path / "whole", ["b"], tmp_path / "rest")

    assert rest.rows == 1
    assert rest.parts["pairs"]["shards"] == []
    assert (rest.parts["pairs"]["train"], rest.parts["pairs"]["sources"]["train"]["compared"]) == (1, 1)
    assert pairs_in(tmp_path / "rest") == [("x", "y", "compared", 1, 0, 0)]


def test_a_text_that_was_written_in_place_of_a_completion_makes_a_pair_with_it(tmp_path):
    edit = {"kind": "edit", "text": "It is lost, we send another one today."}
    store(P, [thumb("a", "up", signal=edit), preferred("x", "y"), thumb("z", "down", "bob")])

    build(tmp_path / "snapshot")

    [compared, (chosen, rejected, *counts)] = sorted(pairs_in(tmp_path / "snapshot"), key=lambda pair: pair[2])
    assert compared == ("x", "y", "compared", 1, 0, 0)
    assert (chosen.startswith("a#edit:"), rejected, counts) == (True, "a", ["edit", 1, 0, 0])


def test_a_vote_against_an_empty_answer_keeps_its_other_side(tmp_path):
    file = tmp_path / "votes.jsonl"
    file.write_text('{"prompt": "Where?", "chosen": "Here.", "rejected": " "}\n')

    [item] = importing.read(file)

    assert isinstance(item, importing.Imported)
    store(P, [item.event])
    assert labelled()[item.event.completion_id] is True


def test_a_tie_is_imported_and_counts_as_a_comparison_without_a_direction(tmp_path):
    file = tmp_path / "votes.jsonl"
    file.write_text(
        '{"kind": "preference", "prompt": "Where?", "completions": ["Here.", "There."], "preferred": null}\n'
    )

    [item] = importing.read(file)

    assert isinstance(item, importing.Imported)
    assert (item.event.signal.tie, item.event.origin) == (True, "import")
    store(P, [item.event])
    assert set(labelled().values()) == {None}


IDS = ["a", "b", "c", "d"]
EVENTS = st.lists(
    st.tuples(
        st.sampled_from([(one, other) for one in IDS for other in IDS if one != other]),
        st.sampled_from(["ann", "bob", "cy"]),
        st.sampled_from(["preference", "tie", "up", "edit"]),
    ),
    min_size=1,
    max_size=14,
)
#: Enough events for a snapshot with both classes.
ENOUGH = [
    *(preferred("x", "y", actor) for actor in ("gus", "hal")),
    *(thumb(name, value, "gus") for name, value in (("v", "up"), ("w", "down"), ("u", "down"))),
]


def event_of(two: tuple[str, str], actor: str, kind: str) -> dict:
    one, other = two
    match kind:
        case "preference":
            return preferred(one, other, actor)
        case "tie":
            return even(one, other, actor)
        case "up":
            return thumb(one, "up", actor)
        case _:
            return thumb(one, "up", actor, signal={"kind": "edit", "text": f"Something quite different of {other}."})


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(said=EVENTS, seed=st.randoms(use_true_random=True), pairs=st.sampled_from(["compared_and_edits", "derived"]))
def test_labels_and_pairs_do_not_depend_on_the_order_of_lines_without_times(
    tmp_path_factory, database, said, seed, pairs
):
    events = [*ENOUGH, *(event_of(*one) | {"event_id": f"e{number}"} for number, one in enumerate(said))]
    folder = tmp_path_factory.mktemp("orders")
    names = (f"{folder.name}-{number}" for number in range(100))
    training = (name for name in names if split_of(name, key_of(group_of(PROMPT)), RULES.holdout_share) == "train")
    found = []
    for project, ordered in zip(training, (events, seed.sample(events, len(events))), strict=False):
        make(project)
        store(project, ordered)
        build(folder / project, project, pairs)
        found.append((labelled(project), pairs_in(folder / project)))

    assert found[0] == found[1]
    require_that_pairs_are_what_was_compared(events, found[0][1])


def require_that_pairs_are_what_was_compared(events: list[dict], pairs: list[Pair]) -> None:
    """Counts the comparisons of each pair independently and requires that `pairs` agree with them."""
    judged: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for event in events:
        if event["signal"]["kind"] == "preference":
            one, other = event["completion_id"], event["signal"]["rejected_completion_id"]
            preference = 0 if event["signal"].get("tie") else 1 if one < other else -1
            judged[min(one, other), max(one, other), event["actor"]].add(preference)
    votes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for (one, other, _), preferences in judged.items():
        votes[one, other].append(preferences.pop() if len(preferences) == 1 else 0)
    expected = {}
    for (one, other), each in votes.items():
        if sum(each):
            two = (one, other) if sum(each) > 0 else (other, one)
            up = 1 if sum(each) > 0 else -1
            expected[two] = (each.count(up), each.count(-up), each.count(0))
    found = {(chosen, rejected): tuple(counts) for chosen, rejected, source, *counts in pairs if source == "compared"}
    assert found == expected
    for chosen, rejected, source, *_ in pairs:
        if source == "derived":
            assert (min(chosen, rejected), max(chosen, rejected)) not in votes


@pytest.mark.parametrize(("name", "lines"), [("crowdrag_votes", 600), ("hh_harmless", 200)])
def test_real_comparisons_give_the_same_labels_and_pairs_in_reverse_and_nobody_is_in_quarantine_for_the_upload(
    shared_data, tmp_path, name, lines
):
    items = (item for item in importing.read(shared_data / "events" / f"{name}.jsonl.gz"))
    events = [item.event for item, _ in zip(items, range(lines), strict=False)]
    make("reversed")
    store(P, events)
    store("reversed", events[::-1])

    for project in (P, "reversed"):
        build(tmp_path / project, project)
        with transaction() as session:
            policy = policies.adopted(session, project).policy
            found = resolve_all(session, project, policy, watermark=feedback.watermark(session, project))
            assert quarantine.left_out(session, project, policy, found) == {}

    assert labelled() == labelled("reversed")
    assert pairs_in(tmp_path / P) == pairs_in(tmp_path / "reversed")
    require_that_pairs_are_what_was_compared([event.model_dump() for event in events], pairs_in(tmp_path / P))
