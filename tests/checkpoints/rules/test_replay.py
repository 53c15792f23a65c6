"""Figures of replayed answers, computed by hand, and the sentences about them."""

import pyarrow as pa
import pytest

from app.checkpoints.card import card
from app.checkpoints.replay.figures import ReplayedAnswer, Reply, figures_of, judged_figures_of
from app.checkpoints.replay.section import sentences
from app.checkpoints.samples import files
from app.statistics.shares import wilson
from app.suites.figures import Intervals
from app.suites.judge.preference import UNCHANGED, JudgedPair
from tests.checkpoints.rules.test_card import MANIFEST
from tests.sample_rows import held_out

INTERVALS = Intervals(resamples=500, confidence=0.95, seed=0)
WON, LOST = JudgedPair(1, consistent=True), JudgedPair(0, consistent=True)
EVEN, MISSING = JudgedPair(0.5, consistent=False), JudgedPair(None, missing="no answer")
LEANING = JudgedPair(0.75, consistent=False)  # preferred in one order, a tie in the other


def answer(text: str, candidate: str, shipped: str, *, liked: bool = False, held_out: bool = True) -> ReplayedAnswer:
    """Returns an answer with replies, of which those that end with … were cut off."""
    replies = {
        name: Reply(reply.removesuffix("…"), not reply.endswith("…"))
        for name, reply in (("candidate", candidate), ("shipped", shipped))
    }
    return ReplayedAnswer(text, desirable=liked, held_out=held_out, replies=replies)


def test_an_answer_is_given_again_if_the_reply_has_its_words():
    answers = [
        answer("No refund, sorry.", "Gladly.", " No  refund,\nsorry. "),
        answer("No refund, sorry.", "No refund…", "No refund", held_out=False),
        answer("No refund, sorry.", "…", "No refunds…"),
        answer("No refund, sorry.", "no refund, sorry.", "No refund, sorry."),
        answer("Gladly.", "Gladly.", "Gladly.", liked=True),
        answer("Gladly.", "No.", "Gladly.", liked=True, held_out=False),
    ]

    figures = figures_of(answers, INTERVALS)

    assert figures["answers"] == {"disliked": 4, "liked": 2}
    assert figures["held_out"] == {"disliked": 3, "liked": 1}
    values = {
        name: {model: figures[name][model]["value"] for model in ("candidate", "shipped", "difference")}
        for name in ("repeated", "kept")
    }
    assert values == {
        "repeated": {"candidate": 0, "shipped": 2 / 4, "difference": -1},  # two of the candidate's are cut off
        "kept": {"candidate": 1 / 2, "shipped": 1, "difference": -1 / 2},
    }
    assert (figures["kept"]["shipped"]["low"], figures["kept"]["shipped"]["high"]) == wilson(2, 2)
    groups = {name: figures["repeated"][name]["groups"] for name in ("candidate", "shipped", "difference")}
    assert groups == {"candidate": 2, "shipped": 4, "difference": 2}


def test_only_a_preference_in_both_orders_mends_or_breaks_and_what_is_missing_counts_in_nothing():
    desirable = [False] * 5 + [True] * 4
    judged = {
        "candidate": [WON, WON, LEANING, LOST, MISSING, LOST, WON, EVEN, UNCHANGED],
        "shipped": [LOST, UNCHANGED, WON, MISSING, WON, LOST, LOST, LOST, MISSING],
    }

    figures = judged_figures_of(desirable, judged, INTERVALS)

    mended, broken = figures["mended"], figures["broken"]
    assert (mended["candidate"]["value"], mended["candidate"]["groups"]) == (2 / 4, 4)
    assert (mended["candidate"]["low"], mended["candidate"]["high"]) == wilson(2, 4)
    assert (mended["shipped"]["value"], mended["shipped"]["groups"]) == (2 / 4, 4)
    # paired: the three disliked answers that were judged for both
    assert (mended["difference"]["value"], mended["difference"]["groups"]) == (pytest.approx(2 / 3 - 1 / 3), 3)
    assert (broken["candidate"]["value"], broken["candidate"]["groups"]) == (1 / 4, 4)
    assert (broken["shipped"]["value"], broken["difference"]["value"]) == (1, pytest.approx(1 / 3 - 1))
    assert figures["missing"] == {"candidate": 1, "shipped": 2}
    assert figures["missing_reasons"] == {"no answer": 3}


def test_without_answers_or_judgements_figures_are_null_with_a_reason():
    replayed = figures_of([answer("a", "b", "c")], INTERVALS)
    judged = judged_figures_of([False], {"candidate": [MISSING], "shipped": [WON]}, INTERVALS)

    for figure in (replayed["kept"]["candidate"], replayed["kept"]["difference"]):
        assert (figure["value"], figure["groups"], figure["reason"]) == (None, 0, "no such answer was replayed")
    for figure in (judged["mended"]["candidate"], judged["mended"]["difference"], judged["broken"]["shipped"]):
        assert (figure["value"], figure["groups"]) == (None, 0)
        assert figure["reason"] == "the judge compared no such answer in both orders"


def test_card_and_sentences_count_what_is_mended_and_what_is_broken():
    disliked = [answer("bad", "good", "bad", held_out=number < 40) for number in range(200)]
    liked = [answer("good", "good" if number < 120 else "fine", "good", liked=True) for number in range(200)]
    replay = figures_of([*disliked, *liked], INTERVALS)
    judged = {
        "candidate": [WON] * 131 + [EVEN] * 69 + [LOST] * 9 + [UNCHANGED] * 191,
        "shipped": [UNCHANGED] * 200 + [MISSING] * 200,
    }
    desirable = [False] * 200 + [True] * 200
    judge = {"model": "arbiter", "replay": judged_figures_of(desirable, judged, INTERVALS)}

    said = sentences({"replay": replay, "judge": judge})

    by_judge, again, of_holdout = said
    assert by_judge == (
        "Of 200 answers that users disliked, 131 are mended (59 … 72 %; the shipped checkpoint's replies: 0 %); of 200 "
        "that they liked, 9 are broken (2 … 8 %), according to the judge arbiter. Replies without a judgement: 200."
    )
    assert again == (
        "Of 200 answers that users disliked, 0 are repeated word for word (0 … 2 %; the shipped checkpoint's replies: "
        "100 %); of 200 that they liked, 120 are kept word for word (53 … 67 %; the shipped checkpoint's replies: "
        "100 %)."
    )
    assert of_holdout == (
        "The prompts of 40 of the 200 disliked and of 200 of the 200 liked answers are held out from training."
    )
    assert sentences({"replay": replay}) == said[1:]
    text = card({**MANIFEST, "scores": {**MANIFEST["scores"], "replay": replay}})
    assert f"## Replay of judged answers\n\n{said[1]} {said[2]}" in text
    assert "## Replay" not in card(MANIFEST)
    assert sentences({"replay": figures_of([], INTERVALS)}) == []


def test_samples_of_an_earlier_version_have_no_answers_and_lose_erased_prompts_as_before():
    rows = [*held_out("a", ["1", "2", "3"]), *held_out("b", ["1", "2", "3"])]
    later = ("completion_id", "answer", "split")
    table = pa.Table.from_pylist(rows, files.SCHEMA).drop_columns(later)

    left = files.without_erased(table, {rows[0]["group"]}, files.replayed_ids(table))

    assert left.to_pylist() == table.to_pylist()[:3]
