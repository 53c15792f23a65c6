"""Snapshots: the same log gives the same bytes, and the trainer reads them."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pyarrow.parquet as pq
import pytest
from thumbwheel import wire
from thumbwheel.wire.recipe import ObjectiveName, PairsFrom

from app import artifacts
from app.database import new_id, now, transaction
from app.durable import sha256_of
from app.errors import Conflict, NotFound, Refused
from app.feedback import service as feedback
from app.projects import service as projects
from app.projects.tables import Project
from app.readiness import service as readiness
from app.snapshots import service as snapshots
from app.snapshots.files.message_columns import chat_of, prompt_of
from app.snapshots.prompts.split import group_of, key_of, split_of
from app.snapshots.redactions.rewrite import without
from app.snapshots.tables import SnapshotRedaction
from tests import small_snapshot
from tests.bare_project import CONFIGURATION
from tests.logged import register, store

P = "desk"
RULES = wire.SnapshotRules(minimum_per_class=5, holdout_share=0.2)
SHIPPED = UUID(int=7)
LONG_AGO = "2026-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def _project(database):
    with transaction() as session:
        session.add(Project(id=P, base_model="/models/base", configuration=CONFIGURATION))


def side_of(prompt) -> str:
    return split_of(P, key_of(group_of(prompt)), RULES.holdout_share)


def thumb(number: int, value: str, **more) -> dict:
    return {
        "completion_id": f"c{number:03}",
        "actor": f"user {number}",
        "prompt": f"Question {number}?",
        "completion": f"Answer {number}.",
        "signal": {"kind": "thumbs", "value": value},
        **more,
    }


def say(*events: dict) -> None:
    store(P, events)


def say_enough() -> None:
    """Stores 30 thumbs up and 30 down about text prompts, 20 about chats, a rewrite and a copy."""
    say(
        *(thumb(number, "up" if number % 2 else "down") for number in range(60)),
        *(
            thumb(number, "up" if number % 2 else "down", prompt=[{"role": "user", "content": f"Chat {number}"}])
            for number in range(60, 80)
        ),
        thumb(80, "up", signal={"kind": "edit", "text": "Something else entirely."}),
        thumb(81, "up", signal={"kind": "copy"}),
    )


#: Gates without requirements for the holdout.
NO_GATE = wire.GateDocument(name="none")


def build(
    folder: Path,
    rules: wire.SnapshotRules = RULES,
    objective: ObjectiveName = "kto",
    *,
    watermark: int | None = None,
    seed: int = 1,
    pairs: PairsFrom = "compared_and_edits",
) -> snapshots.Built:
    with transaction() as session:
        end = feedback.watermark(session, P) if watermark is None else watermark
        return snapshots.build(
            session,
            P,
            rules,
            objective,
            watermark=end,
            seed=seed,
            shipped_checkpoint_id=SHIPPED,
            folder=folder,
            pairs=pairs,
        )


def ready(rules: wire.SnapshotRules = RULES, since: int = 0, objective: ObjectiveName = "kto") -> wire.Readiness:
    with transaction() as session:
        end = feedback.watermark(session, P)
        return readiness.readiness(
            session, P, rules, NO_GATE, objective, watermark=end, since=since, shipped_checkpoint_id=SHIPPED
        )


def table(folder: Path, name: str) -> list[dict]:
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


def test_the_rows_are_those_of_the_log(tmp_path):
    say_enough()

    built = build(tmp_path / "snapshot")

    text = table(tmp_path / "snapshot", "train-text") + table(tmp_path / "snapshot", "holdout-text")
    chat = table(tmp_path / "snapshot", "train-chat") + table(tmp_path / "snapshot", "holdout-chat")
    assert (len(text), len(chat)) == (63, 20)
    [copied] = [row for row in text if row["reason"] == "copy"]
    assert copied["signal_time"].tzinfo is not None
    assert {name: value for name, value in copied.items() if name not in ("signal_time", "position")} == {
        "prompt": "Question 81?", "completion": "Answer 81.", "label": True, "weight": 0.5, "reason": "copy",
        "completion_id": "c081", "checkpoint_id": None,
    }  # fmt: skip
    [said] = [row for row in chat if row["completion_id"] == "c061"]
    assert said["prompt"] == [{"role": "user", "content": "Chat 61"}]
    assert said["completion"] == [{"role": "assistant", "content": "Answer 61."}]
    assert [row["label"] for row in text if row["completion_id"].startswith("c080")] == [False, True]
    counts = built.manifest["counts"]
    assert counts["train"]["desirable"] + counts["holdout"]["desirable"] == 42
    assert counts["train"]["weight_desirable"] == built.weight_desirable


def test_a_prompt_is_on_the_side_that_its_group_says(tmp_path):
    say_enough()
    build(tmp_path / "snapshot")

    for name in ("train-text", "train-chat", "holdout-text", "holdout-chat"):
        for row in table(tmp_path / "snapshot", name):
            assert side_of(row["prompt"]) == name.split("-")[0]


def test_rows_are_in_the_order_of_time_and_numbered_over_both_formats(tmp_path):
    say_enough()
    build(tmp_path / "snapshot")

    text, chat = (table(tmp_path / "snapshot", name) for name in ("train-text", "train-chat"))

    assert sorted(row["position"] for row in text + chat) == list(range(len(text) + len(chat)))
    for rows in (text, chat):
        assert [row["position"] for row in rows] == sorted(row["position"] for row in rows)
        said = [(row["signal_time"], row["completion_id"]) for row in rows]
        assert said == sorted(said)


def test_the_same_inputs_give_the_same_bytes_and_one_snapshot(tmp_path):
    say_enough()

    first, second = build(tmp_path / "a"), build(tmp_path / "b")

    assert first == second
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_a_watermark_gives_the_same_snapshot_when_more_was_said(tmp_path):
    say_enough()
    before = build(tmp_path / "a", watermark=82)
    say(thumb(1, "down", actor="somebody", event_id="x"), thumb(90, "up"))

    assert build(tmp_path / "b", watermark=82) == before
    assert build(tmp_path / "c").id != before.id


def test_another_seed_or_rule_is_another_snapshot(tmp_path):
    say_enough()
    ids = {
        build(tmp_path / "a").id,
        build(tmp_path / "b", seed=2).id,
        build(tmp_path / "c", wire.SnapshotRules(minimum_per_class=6, holdout_share=0.2)).id,
    }

    assert len(ids) == 3


def test_the_files_are_in_the_store_under_the_hashes_of_the_manifest(tmp_path):
    say_enough()
    built = build(tmp_path / "snapshot")

    assert set(built.files) == {
        "manifest.json", "origin.json", "card.md", "train-text.parquet", "train-chat.parquet", "holdout-text.parquet",
        "holdout-chat.parquet", "pairs.parquet", "members.parquet",
    }  # fmt: skip
    for shard in [*built.manifest["shards"], built.manifest["pairs"], built.manifest["members"]]:
        assert shard["sha256"] == built.files[shard["path"]] == sha256_of(tmp_path / "snapshot" / shard["path"])
    assert json.loads((tmp_path / "snapshot" / "manifest.json").read_text()) == built.manifest
    assert json.loads((tmp_path / "snapshot" / "origin.json").read_text()) == built.origin
    assert not list(tmp_path.glob(".*"))


def test_a_staged_snapshot_is_the_one_that_was_built(tmp_path):
    say_enough()
    built = build(tmp_path / "a")

    with transaction() as session:
        manifest = snapshots.stage(session, built.id, tmp_path / "b")

    assert manifest == built.manifest
    assert {path.name: sha256_of(path) for path in (tmp_path / "b").iterdir()} == built.files


def stored_when_somebody_was_erased(folder: Path, known: Path) -> dict[str, bool]:
    """Registers a snapshot that was read before an erasure, which fails, and returns whether the store has each file.

    known  a file of another snapshot, which this one has as `known.parquet`
    """
    small_snapshot.write(folder)
    shutil.copy(known, folder / "known.parquet")
    with transaction() as session:
        before = projects.erasures(session, P)
        projects.count_erasure(session, P)
    with pytest.raises(Conflict, match="erased"), transaction() as session:
        snapshots.register(session, P, 82, {}, folder, erasures=before)
    return {path.name: Path(artifacts.path_of(sha256_of(path))).exists() for path in folder.iterdir()}


def test_what_was_stored_while_somebody_was_erased_is_deleted_but_for_what_another_snapshot_has(tmp_path):
    say_enough()
    build(tmp_path / "a")

    stored = stored_when_somebody_was_erased(tmp_path / "b", tmp_path / "a" / "train-text.parquet")

    assert len(stored) > 2
    assert [name for name, there in stored.items() if there] == ["known.parquet"]


def test_what_only_a_redacted_snapshot_had_is_deleted_too(tmp_path):
    say_enough()
    built = build(tmp_path / "a")
    values = {"erasure_id": new_id(), "rows": 1, "shards": ["train-text.parquet"], "redacted_at": now()}
    with transaction() as session:
        session.add(SnapshotRedaction(snapshot_id=built.id, **values))

    assert not any(stored_when_somebody_was_erased(tmp_path / "b", tmp_path / "a" / "train-text.parquet").values())


def test_an_unknown_snapshot_cannot_be_staged(tmp_path):
    with pytest.raises(NotFound), transaction() as session:
        snapshots.stage(session, uuid4(), tmp_path / "b")


def test_what_an_earlier_attempt_left_is_replaced(tmp_path):
    say_enough()
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "half-made").touch()

    build(tmp_path / "snapshot")

    assert not (tmp_path / "snapshot" / "half-made").exists()


def test_equal_texts_are_one_row_and_contradictions_follow_the_weight(tmp_path):
    say_enough()
    same = {"prompt": "Same?", "completion": "Yes."}
    say(
        thumb(100, "up", **same),
        thumb(101, "up", **same),
        thumb(102, "down", **same),
        thumb(103, "up", prompt="Same?", completion="Perhaps."),
        thumb(104, "down", prompt="Same?", completion="Perhaps."),
    )

    built = build(tmp_path / "snapshot")

    kept = [row for name in ("train-text", "holdout-text") for row in table(tmp_path / "snapshot", name)]
    [row] = [row for row in kept if row["prompt"] == "Same?"]
    assert (row["completion"], row["label"], row["weight"], row["completion_id"]) == ("Yes.", True, 1.0, "c100")
    assert built.manifest["drops"] == {"contradiction": 2, "duplicate": 1, "outvoted": 1}


def said_pairs(folder: Path) -> list[tuple[str, str, str, str]]:
    """Returns the text of each pair as (shard, prompt, chosen, rejected)."""
    rows = {path.name: pq.read_table(path).to_pylist() for path in folder.glob("*-*.parquet")}
    pairs = []
    for pair in table(folder, "pairs"):
        chosen, rejected = rows[pair["shard"]][pair["chosen"]], rows[pair["shard"]][pair["rejected"]]
        assert chosen["label"]
        assert not rejected["label"]
        assert chosen["prompt"] == rejected["prompt"]
        pairs.append((pair["shard"], chosen["prompt"], chosen["completion"], rejected["completion"]))
    return pairs


def prefer(number: int) -> dict:
    return thumb(number, "up", signal={"kind": "preference", "rejected": f"Worse answer {number}."})


def test_every_preference_and_every_rewrite_is_exactly_its_pair(tmp_path):
    say_enough()
    say(*(prefer(number) for number in range(100, 140)))

    built = build(tmp_path / "snapshot")

    pairs = said_pairs(tmp_path / "snapshot")
    expected = [(f"Question {number}?", f"Answer {number}.", f"Worse answer {number}.") for number in range(100, 140)]
    assert sorted(pair[1:] for pair in pairs) == [*expected, ("Question 80?", "Something else entirely.", "Answer 80.")]
    split = {name: sum(shard.startswith(name) for shard, *_ in pairs) for name in ("train", "holdout")}
    assert {name: built.manifest["pairs"][name] for name in split} == split
    assert min(split.values()) > 0
    card = (tmp_path / "snapshot" / "card.md").read_text()
    assert f"Pairs: {split['train']} for training, {split['holdout']} held out." in card


def test_thumbs_on_several_answers_to_one_prompt_are_paired_in_turn_where_the_recipe_asks_for_it(tmp_path):
    say_enough()
    prompt = next(f"Common {n}?" for n in range(99) if side_of(f"Common {n}?") == "train")
    for number, value in enumerate(("up", "down", "down", "up", "down"), 200):
        say(thumb(number, value, prompt=prompt))

    build(tmp_path / "snapshot", pairs="derived")
    build(tmp_path / "compared alone")

    assert [pair[2:] for pair in said_pairs(tmp_path / "snapshot") if pair[1] == prompt] == [
        ("Answer 200.", "Answer 201."), ("Answer 200.", "Answer 204."), ("Answer 203.", "Answer 202."),
    ]  # fmt: skip
    assert [pair for pair in said_pairs(tmp_path / "compared alone") if pair[1] == prompt] == []


def test_an_objective_that_compares_needs_pairs_and_no_balance_of_classes(tmp_path):
    say(*(thumb(number, "up" if number % 2 else "down") for number in range(40)))

    assert ready().ready
    assert not ready(objective="dpo").ready
    assert "no two completions of one prompt were compared" in ready(objective="dpo").reasons[0]
    with pytest.raises(Refused, match="no two completions of one prompt were compared"):
        build(tmp_path / "refused", objective="dpo")

    say(*(prefer(number) for number in range(100, 120)), *(thumb(number, "up") for number in range(200, 800)))

    assert not ready().ready
    verdict = ready(objective="dpo")
    assert (verdict.ready, verdict.pairs) == (
        True,
        build(tmp_path / "snapshot", objective="dpo").manifest["pairs"]["train"],
    )


def test_desirable_rows_alone_are_a_snapshot_for_sft_without_lambdas(tmp_path):
    say(*(thumb(number, "up") for number in range(40)))

    assert "kto needs both classes" in ready().reasons[1]
    assert ready(objective="sft").ready
    built = build(tmp_path / "snapshot", objective="sft")

    assert built.manifest["lambda"] is None
    assert built.weight_undesirable == 0
    assert table(tmp_path / "snapshot", "pairs") == []
    assert "of one class" in (tmp_path / "snapshot" / "card.md").read_text()


def test_the_same_feedback_is_the_same_snapshot_for_every_objective(tmp_path):
    say_enough()
    say(*(prefer(number) for number in range(100, 120)))

    assert build(tmp_path / "a") == build(tmp_path / "b", objective="dpo") == build(tmp_path / "c", objective="sft")


def test_what_gives_no_row_is_counted_with_its_reason(tmp_path):
    say_enough()
    unknown = {"completion_id": "late", "actor": "ann", "signal": {"kind": "thumbs", "value": "up"}}
    middling = thumb(111, "up", signal={"kind": "rating", "value": 4})
    say(unknown, middling, thumb(1, "down", actor="somebody", event_id="x"))

    built = build(tmp_path / "snapshot")

    assert built.manifest["drops"] == {"no_verdict": 1, "tie": 1, "unknown_text": 1}
    card = (tmp_path / "snapshot" / "card.md").read_text()
    assert "1 completions with as much weight for as against" in card


def test_data_that_cannot_teach_is_refused_with_every_reason_and_leaves_nothing(tmp_path):
    say(*(thumb(number, "up") for number in range(3)))

    with pytest.raises(Refused) as caught:
        build(tmp_path / "snapshot")

    assert len(caught.value.reasons) == 3
    assert list(tmp_path.iterdir()) == []


def test_no_data_at_all_is_refused(tmp_path):
    with pytest.raises(Refused):
        build(tmp_path / "snapshot")


def test_readiness_says_what_a_build_would(tmp_path):
    say(*(thumb(number, "up") for number in range(20)))
    assert not ready().ready
    assert "undesirable" in ready().reasons[0]
    since = 20

    say(*(thumb(number, "down") for number in range(20, 60)))
    verdict = ready(since=since)
    built = build(tmp_path / "snapshot")

    assert (verdict.ready, verdict.reasons, verdict.watermark) == (True, [], 60)
    assert verdict.counts == wire.ClassCounts(desirable=20, undesirable=40)
    assert verdict.new_counts == wire.ClassCounts(desirable=0, undesirable=40)
    assert built.manifest["lambda"] == {
        "desirable": verdict.lambda_desirable,
        "undesirable": verdict.lambda_undesirable,
    }
    assert verdict.lambda_desirable is not None
    assert 1 <= verdict.lambda_desirable * built.weight_desirable / built.weight_undesirable <= 4 / 3


def test_only_completions_of_the_shipped_checkpoint_where_the_rules_say_so(tmp_path):
    say(
        *(thumb(number, "up" if number % 2 else "down") for number in range(40)),
        *(thumb(number, "up" if number % 2 else "down", checkpoint_id=str(SHIPPED)) for number in range(40, 80)),
    )
    rules = wire.SnapshotRules(events="shipped", minimum_per_class=5, holdout_share=0.2)

    build(tmp_path / "snapshot", rules)

    rows = [row for name in ("train-text", "holdout-text") for row in table(tmp_path / "snapshot", name)]
    assert {row["checkpoint_id"] for row in rows} == {str(SHIPPED)}
    assert len(rows) == 40
    assert ready(rules).counts == wire.ClassCounts(desirable=20, undesirable=20)


def test_manifest_and_readiness_say_who_wrote_the_training_rows_and_how_old_they_are(tmp_path):
    say(
        *(thumb(n, "up" if n % 2 else "down", checkpoint_id=str(SHIPPED)) for n in range(20)),
        *(
            thumb(n, "up" if n % 2 else "down", checkpoint_id=str(UUID(int=8)), occurred_at="2026-01-01T00:00:00Z")
            for n in range(20, 80)
        ),
        *(thumb(n, "up" if n % 2 else "down", origin="import") for n in range(80, 90)),
        thumb(90, "up", signal={"kind": "edit", "text": "Something else entirely."}, checkpoint_id=str(SHIPPED)),
    )

    built = build(tmp_path / "snapshot")

    writers = wire.Writers.model_validate(built.origin["writers"])
    assert writers == ready().writers
    rows = table(tmp_path / "snapshot", "train-text")
    wrote = [row["checkpoint_id"] for row in rows if row["reason"] != "edited_text"]
    old = str(UUID(int=8))
    for part, writer in ((writers.reference, str(SHIPPED)), (writers.others, old), (writers.unknown, None)):
        assert part.desirable + part.undesirable == wrote.count(writer)
        assert part.share_of_rows == pytest.approx(wrote.count(writer) / len(rows))
    assert writers.people.desirable == len(rows) - len(wrote)
    weights = [row["weight"] for row in rows]
    assert writers.others.share_of_weight == pytest.approx(
        sum(row["weight"] for row in rows if row["checkpoint_id"] == old) / sum(weights)
    )
    assert writers.age_days.without_time == wrote.count(None)
    age = (now() - datetime(2026, 1, 1, tzinfo=UTC)) / timedelta(days=1)
    assert writers.age_days.oldest == pytest.approx(age, abs=0.1)
    assert writers.age_days.p10 == 0
    [notice] = [line for line in ready().notices if "live" in line]
    assert "set snapshot.events to shipped" in notice
    assert notice in (tmp_path / "snapshot" / "card.md").read_text()


def register_with_log_probs(number: int, log_probs: list[float] | None) -> None:
    tokens = None if log_probs is None else list(range(len(log_probs)))
    body = {"prompt": f"Question {number}?", "completion": f"Answer {number}.", "token_ids": tokens}
    register(P, f"c{number:03}", {**body, "log_probs": log_probs})


def test_registered_log_probs_are_a_column_of_the_shards_as_means_per_token(tmp_path):
    say_enough()
    say(thumb(1, "up", actor="editor", signal={"kind": "edit", "text": "Another text."}))
    register_with_log_probs(1, [-1.0, -2.0, -0.25, 0.0])
    register_with_log_probs(2, [-0.1] * 7)
    register_with_log_probs(3, None)
    register_with_log_probs(4, [])
    register_with_log_probs(5, [-1.7e308, -1.7e308, -0.5])

    built, again = build(tmp_path / "snapshot"), build(tmp_path / "again")

    assert built.id == again.id
    means = {"c001": -0.8125, "c002": pytest.approx(-0.1), "c005": pytest.approx(-2000.5 / 3)}
    assert log_probs_in(tmp_path / "snapshot") == means
    (tmp_path / "rest").mkdir()
    without(built.manifest, tmp_path / "snapshot", ["c002"], tmp_path / "rest")
    del means["c002"]
    assert log_probs_in(tmp_path / "rest") == means


def log_probs_in(folder: Path) -> dict[str, float]:
    rows = [row for path in folder.glob("*-*.parquet") for row in pq.read_table(path).to_pylist()]
    assert len(rows) > 80
    return {row["completion_id"]: row["writer_log_prob"] for row in rows if row["writer_log_prob"] is not None}


def test_shards_of_a_log_without_log_probs_have_no_column_for_them(tmp_path):
    say_enough()
    register_with_log_probs(3, None)
    register_with_log_probs(200, [-1.0])  # nobody has judged it

    build(tmp_path / "snapshot")

    for path in (tmp_path / "snapshot").glob("*-*.parquet"):
        assert "writer_log_prob" not in pq.read_schema(path).names


def test_a_holdout_without_a_class_is_a_warning(tmp_path):
    number_of = {split: [n for n in range(200) if side_of(f"Question {n}?") == split] for split in ("train", "holdout")}
    say(
        *(thumb(number, "up" if number % 2 else "down") for number in number_of["train"]),
        *(thumb(number, "up") for number in number_of["holdout"]),
    )

    built = build(tmp_path / "snapshot")

    assert len(built.manifest["warnings"]) == 1
    assert "no undesirable rows" in built.manifest["warnings"][0]


def test_the_trainer_reads_every_shard_and_every_pair(tmp_path):
    from tests.trainer.tiny import tokenizer
    from worker.training.data.rows import read_pairs, read_rows
    from worker.training.data.tokens import Tokens
    from worker.training.job import Manifest

    say_enough()
    say(*(prefer(number) for number in range(100, 140)))
    built = build(tmp_path / "snapshot")
    manifest = Manifest.model_validate(built.manifest)

    for split in ("train", "holdout"):
        shards = [shard for shard in manifest.shards if shard.split == split]
        read = read_rows(tmp_path / "snapshot", shards, Tokens(tokenizer(chat=True), None), 256)
        counts = built.manifest["counts"][split]
        assert read.dropped == 0
        assert sum(row.desirable for row in read.rows) == counts["desirable"]
        assert len(read.rows) == counts["desirable"] + counts["undesirable"]
        pairs = [
            (read.rows[up], read.rows[down])
            for up, down in read_pairs(tmp_path / "snapshot", manifest.pairs, read, "compared_and_edits")
        ]
        assert len(pairs) == built.manifest["pairs"][split] > 0
        assert all(up.prompt_key == down.prompt_key and up.desirable > down.desirable for up, down in pairs)


def test_rows_held_out_because_they_are_of_late_are_a_split_that_the_trainer_and_the_scorer_pass_over(tmp_path):
    from tests.trainer.tiny import tokenizer
    from worker.training.data.rows import read_pairs, read_rows
    from worker.training.data.tokens import Tokens
    from worker.training.job import Manifest

    say_enough()
    say(*(thumb(number, "up" if number % 2 else "down", occurred_at=LONG_AGO) for number in range(100, 160)))

    built = build(tmp_path / "a", wire.SnapshotRules(minimum_per_class=5, holdout_share=0.2, holdout_days=1))
    with transaction() as session:
        manifest = Manifest.model_validate(snapshots.stage(session, built.id, tmp_path / "b"))

    read = {
        split: read_rows(
            tmp_path / "b", [shard for shard in manifest.shards if shard.split == split],
            Tokens(tokenizer(chat=True), None), 256,
        )
        for split in ("train", "holdout", "later")
    }  # fmt: skip
    ids = {split: {row.completion_id for row in of_it.rows} for split, of_it in read.items()}
    assert {split: len(of_it.rows) for split, of_it in read.items()} == {
        split: counts["desirable"] + counts["undesirable"] for split, counts in built.manifest["counts"].items()
    }
    assert all(number >= "c100" for number in ids["train"])
    assert ids["later"]
    assert all(number < "c100" for number in ids["later"])
    trained = read_pairs(tmp_path / "b", manifest.pairs, read["train"], "compared_and_edits")
    assert len(trained) == built.manifest["pairs"]["train"]


CALL = {"role": "assistant", "tool_calls": [{"id": "t1", "function": {"name": "track", "arguments": {"parcel": "7"}}}]}
ASKED = [{"role": "user", "content": [{"type": "text", "text": "Where is"}, {"type": "text", "text": "it?"}]}]
RESULT = {"role": "tool", "tool_call_id": "t1", "content": "in Leeds"}
TOOLS = [{"type": "function", "function": {"name": "track", "parameters": {"default": None}}}]


def test_tool_calls_results_and_tools_are_rows_whole_and_media_is_counted(tmp_path):
    # given answers after a tool's result, a completion that is a tool call, and a prompt with an image
    say_enough()
    say(thumb(90, "up", prompt={"messages": [*ASKED, CALL, RESULT], "tools": TOOLS}, completion="In Leeds."))
    say(thumb(91, "down", prompt={"messages": ASKED, "tools": TOOLS}, completion={**CALL, "reasoning": "Look it up."}))
    say(thumb(92, "up", prompt=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "a"}}]}]))

    # when a snapshot is built, and built again
    built = build(tmp_path / "snapshot")
    again = build(tmp_path / "again")

    # then the rows hold everything in its normal form, in the columns of whole messages
    rows = {}
    for shard in built.manifest["shards"]:
        assert shard["format"] == "text" or "tools" in pq.read_schema(tmp_path / "snapshot" / shard["path"]).names
        for row in pq.read_table(tmp_path / "snapshot" / shard["path"]).to_pylist():
            rows[row["completion_id"]] = prompt_of(row), chat_of(row["completion"])
    asked = {"role": "user", "content": "Where is\nit?"}
    call = {"id": "t1", "type": "function", "function": {"name": "track", "arguments": '{"parcel": "7"}'}}
    called = {"role": "assistant", "content": "", "tool_calls": [call]}
    assert rows["c090"] == (
        {"messages": [asked, called, RESULT], "tools": TOOLS},
        [{"role": "assistant", "content": "In Leeds."}],
    )
    assert rows["c091"] == (
        {"messages": [asked], "tools": TOOLS},
        [{**called, "reasoning_content": "Look it up."}],
    )
    # and the image is counted, in the card's words, too
    assert built.manifest["drops"]["media_content"] == 1
    assert "1 completions whose prompt or answer has an image" in (tmp_path / "snapshot" / "card.md").read_text()
    assert again.manifest == built.manifest

    # and an erasure leaves the other rows as they are
    rest = tmp_path / "rest"
    rest.mkdir()
    left = without(built.manifest, tmp_path / "snapshot", ["c090"], rest)
    chats = [shard for shard in left.parts["shards"] if shard["format"] == "chat"]
    kept = [row for shard in chats for row in pq.read_table(rest / shard["path"]).to_pylist()]
    assert {row["completion_id"]: chat_of(row["completion"]) for row in kept}["c091"] == rows["c091"][1]
