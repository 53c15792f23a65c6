"""`thumbwheel checkpoints samples | compare`."""

from app import artifacts
from app.checkpoints.replay.figures import ReplayedAnswer, Reply, figures_of
from app.suites.figures import Intervals
from tests.cli.conftest import on_a_screen
from tests.desk import execute
from tests.sample_rows import held_out, replayed, written


def with_samples(checkpoint_id, folder, replies):
    """Gives a registered checkpoint samples: replies to prompts 0, 1, … of the candidate, otherwise "yes"."""
    rows = []
    for number, reply in replies.items():
        for decoding in ("greedy", "sampled"):
            rows += held_out(f"Question {number}", [reply, "yes", "yes"], decoding)
    sha256 = artifacts.put(written(folder / "samples.parquet", rows)).sha256
    files = "jsonb_build_object('samples.parquet', CAST(:sha256 AS text))"
    execute(f"INSERT INTO checkpoint_texts VALUES (:id, {files})", id=checkpoint_id, sha256=sha256)
    return str(checkpoint_id)


def test_samples_are_listed_and_bounded(cli, registered, tmp_path):
    checkpoint = with_samples(registered(), tmp_path, {number: f"reply {number}" for number in range(3)})

    assert len(cli("checkpoints", "samples", checkpoint[-6:]).document) == 6
    [item] = cli("checkpoints", "samples", checkpoint, "--decoding", "greedy", "--limit", "1").document
    assert (item["prompt"], item["candidate"]["completion"]) == ("Question 0", "reply 0")
    assert "has no samples" in cli.refused("checkpoints", "samples", str(registered()))


def test_answers_that_users_disliked_are_shown_beside_the_new_replies(cli, registered, tmp_path):
    rows = replayed("Where is it?", "No idea.", ["Here.", "No idea.", "?"], completion_id="c7", split="train")
    sha256 = artifacts.put(written(tmp_path / "samples.parquet", rows)).sha256
    replies = {"candidate": Reply("Here.", finished=True), "shipped": Reply("No idea.", finished=True)}
    answer = ReplayedAnswer("No idea.", desirable=False, held_out=False, replies=replies)
    checkpoint = registered(scores={"replay": figures_of([answer], Intervals(100, 0.95, 0))})
    files = "jsonb_build_object('samples.parquet', CAST(:sha256 AS text))"
    execute(f"INSERT INTO checkpoint_texts VALUES (:id, {files})", id=checkpoint, sha256=sha256)

    [item] = cli("checkpoints", "samples", str(checkpoint), "--source", "disliked").document
    assert (item["answer"], item["candidate"]["completion"]) == ("No idea.", "Here.")
    assert cli("checkpoints", "samples", str(checkpoint), "--source", "liked").document == []
    side_by_side = on_a_screen(cli, "checkpoints", "samples", str(checkpoint))
    assert "c7 (train), greedy: Where is it?" in side_by_side
    assert "disliked answer" in side_by_side
    shown = " ".join(on_a_screen(cli, "checkpoints", "show", str(checkpoint)).split())
    assert "Of 1 answers that users disliked, 0 are repeated word for word (0 … 79 %; the shipped" in shown


def test_two_checkpoints_are_compared_on_the_prompts_that_both_answered(cli, registered, tmp_path):
    first = with_samples(registered(), tmp_path, {0: "yes it is", 1: "no", 2: "I can't help with that."})
    second = with_samples(registered(), tmp_path, {1: "no", 2: "yes", 3: "yes"})

    document = cli("checkpoints", "compare", first, second, "--samples").document

    assert document["checkpoints"] == [first, second]
    assert [side["value"] for side in document["figures"]["auroc"]] == [0.71, 0.71]
    same = document["same_prompts"]
    assert (same["prompts"], same["unchanged_share"]["value"], same["refusal_difference"]["value"]) == (2, 0.5, 0.5)
    assert same["length_ratio"]["value"] == (2 + 6) / (2 + 2)
    assert [pair[0]["prompt"] for pair in document["samples"]] == ["Question 1"] * 2 + ["Question 2"] * 2


def test_checkpoints_without_samples_are_compared_by_their_figures(cli, registered):
    document = cli("checkpoints", "compare", str(registered()), str(registered())).document

    assert document["same_prompts"] == {"prompts": 0}
    assert list(document["figures"]) == ["auroc"]
