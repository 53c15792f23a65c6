"""The dataset card that an operator reads before a run."""

import copy
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.snapshots.balance.plan import Cell, plan
from app.snapshots.balance.writers import ages_from, writers_of
from app.snapshots.files.card import card
from app.snapshots.files.plot import WIDTH, Bar, diverging


def tally(up: int, down: int) -> dict[str, float]:
    return {"desirable": up, "undesirable": down, "weight_desirable": up / 2, "weight_undesirable": down}


OLD: dict[str, Any] = {
    "project": "desk",
    "watermark": 1234,
    "policy": {"name": "default", "version": 3, "sha256": "ab" * 32},
    "counts": {"train": tally(300, 100), "holdout": tally(30, 10)},
    "rules": {"holdout_share": 0.1},
    "pairs": {"train": 7, "holdout": 1},
    "lambda": {"desirable": 1.0, "undesirable": 1.3},
    "reasons": {"train": {"thumbs_up": 300, "outcome a|b": 100}, "holdout": {"thumbs_up": 30}},
    "drops": {"tie": 2, "never_train": 4},
    "quarantine": {},
    "capped": {"capped_actor": 0},
    "warnings": [],
}
WORDS = {"longest_shared_words": 14, "holdout_overlapping": 1, "overlapping_from_words": 13}
NEW: dict[str, Any] = {
    **OLD,
    "counts": {**OLD["counts"], "later": tally(5, 4)},
    "rules": {"holdout_share": 0.1, "holdout_days": 14, "disjoint_actors": True},
    "plan": plan(
        [
            Cell("0190-a", "thumbs_up", True, 200, 100.0, 50.0),
            Cell(None, "thumbs_up", True, 100, 50.0, 25.0),
            Cell("0190-a", "thumbs_down", False, 100, 100.0, 100.0),
        ],
        pairs=7,
    ).model_dump(),
    "leakage": {
        "groups_on_both_sides": 0,
        "actors": {"train": 50, "holdout": 9, "on_both_sides": 3, "share_of_training_weight": 0.21},
        "sample": {"train": 350, "holdout": 40, "characters": 2000},
        "prompts": WORDS,
        "completions": {**WORDS, "longest_shared_words": 0},
        "conversations_on_both_sides": 0,
        "contained": {"looked_for": 38, "contained": 1},
    },
    "equal_answers": {"holdout": 40, "equal": 5},
    "conversations": {
        "several_groups": 12,
        "rows": 90,
        "largest_rows": 30,
        "moved": {
            "conversations": 22,
            "groups": 30,
            "rows": 41,
            "listed": [{"conversation": "ab12", "from": "holdout", "to": "train", "groups": 3, "rows": 7}],
        },
    },
    "drops": {"tie": 2, "never_train": 4, "actor_on_both_sides": 8, "between_times": 6},
}


def test_classes_are_drawn_by_split_reason_and_checkpoint():
    text = card(NEW)

    assert text.split("```text\n")[1].split("```")[0] == (
        "                                        desirable │ undesirable\n"
        "train                ████████████████████████ 300 │ 100 ████████\n"
        "holdout                                   ▐██  30 │ 10 █\n"
        "later                                       ▐   5 │ 4 ▌\n"
        "                                                  │\n"
        "thumbs_up            ████████████████████████ 300 │ 0\n"
        "thumbs_down                                     0 │ 100 ████████\n"
        "                                                  │\n"
        "0190-a               ████████████████████████ 200 │ 100 ████████████\n"
        "no checkpoint known              ████████████ 100 │ 0\n"
    )


@pytest.mark.parametrize(
    "said",
    [
        "| later | held out for now: rows of the latest days with prompts new to training | 5 | 4 | 2.5 | 4 |",
        "Desirable to undesirable then weighs 1.50; 1 to 4/3 is sound, and more where most rows are desirable.",
        "(`balance: batch`) it would be 0.50.",
        "Advised: `balance: weights`, as undesirable rows are 25% of all",
        "the 300 desirable training rows say as much as 300 of equal weight",
        "as later: rows of the last 14 days",
        "No actor is on both sides",
        "- Actors: 3 of 9 with held-out rows have training rows, too: 21% of the training weight",
        "- Prompts (without system messages): at most 14 words in a row; 1 held-out ones share 13 or",
        "- Completions: no shared words",
        "- Conversations: 0\n",
        "- Held-out prompts contained in a training prompt: 1 of 38 that are long enough",
        "- Held-out rows with the answer of a training row: 5 of 40\n",
        "- No conversation is on both sides: 12 conversations have several prompt groups, with 90 rows in all;",
        "the largest one has 30 rows.",
        "30 prompt groups of 22 conversations changed sides since the previous snapshot (41 rows here)",
        "| ab12 | holdout | train | 3 | 7 |\n\n21 more are not listed.",
        "| outcome a\\|b | 100 | 0 | 0 |",
        "- 4 labelled completions that an event excludes from training",
        "- 8 training rows of actors who have held-out rows, too (disjoint_actors)",
        "- 6 rows of held-out days whose prompts training has from earlier days (holdout_days)",
    ],
)
def test_the_card_says_how_classes_splits_and_sides_stand(said):
    assert said in card(NEW)


def test_the_card_says_who_wrote_the_rows_and_that_too_few_are_of_the_live_model():
    live, old = UUID(int=1), UUID(int=2)
    cells = [Cell(str(live), "thumbs_up", True, 40, 40.0, 40.0), Cell(str(live), "thumbs_down", False, 30, 30.0, 30.0)]
    cells += [Cell(str(old), "thumbs_up", True, 300, 300.0, 300.0), Cell(None, "edit", True, 10, 30.0, 90.0)]
    cells.append(Cell(str(live), "edited_text", True, 20, 100.0, 500.0))
    day = 86_400_000_000
    ages = ages_from(np.array([0, 100, 97, 90, 10]) * day, newest=101 * day)
    manifest = {**NEW, "writers": writers_of(cells, live, ages).model_dump(mode="json")}

    few, many = (card({**manifest, "rules": {**NEW["rules"], "minimum_per_class": least}}) for least in (200, 30))

    assert "| the checkpoint that was live: the reference of the run | 40 | 30 | 18% | 14% |\n" in few
    assert "| other checkpoints | 300 | 0 | 75% | 60% |\n" in few
    assert "| people: texts in place of completions | 20 | 0 | 5% | 20% |\n" in few
    assert "| unknown: no `checkpoint_id` was sent | 10 | 0 | 2% | 6% |\n" in few
    assert "4 at the median, 1 and 91 at the first and the last tenth, 91 at most." in few
    assert "only 14% of the training weight was written by the checkpoint that is live, 60% by other" in few
    assert "collect more feedback on this one: it has 40 desirable and 30 undesirable training rows, too few" in few
    assert "set snapshot.events to shipped, which leaves about 40 desirable and 30 undesirable" in many
    assert "Warning" not in card(
        {
            **manifest,
            "writers": writers_of(cells[:2], live, ages).model_dump(mode="json"),
            "rules": {**NEW["rules"], "minimum_per_class": 200},
        }
    )


def test_a_manifest_without_plan_and_leakage_has_a_card():
    text = card(OLD)

    assert "Balanced weights: λ desirable 1, λ undesirable 1.3, where the recipe says `auto`.\n" in text
    assert "Overlap of the sides" not in text
    assert "later" not in text


def test_many_contained_prompts_and_equal_answers_are_warned_of():
    manifest = copy.deepcopy(NEW)
    assert "**Warning**" not in card(manifest)

    manifest["leakage"]["contained"]["contained"] = 3
    assert "- **Warning**: training has seen these prompts. Send `conversation_id`" in card(manifest)

    manifest["leakage"]["contained"]["contained"] = 0
    manifest["equal_answers"]["equal"] = 9
    assert "- **Warning**: training has seen many of the held-out answers" in card(manifest)


def test_much_overlap_is_pointed_out():
    manifest = copy.deepcopy(NEW)
    manifest["leakage"]["prompts"]["holdout_overlapping"] = 30

    assert "75% of these held-out prompts share long runs of words" in card(manifest)


def test_one_class_has_a_card():
    manifest = {**NEW, "lambda": None, "plan": plan([Cell(None, "thumbs_up", True, 3, 3.0, 3.0)], pairs=0).model_dump()}

    assert "of one class" in card(manifest)


names = st.text(alphabet="ab |`\n", max_size=60)


@given(st.lists(st.builds(Bar, names, st.integers(0, 10**7), st.integers(0, 10**7)), max_size=5))
def test_the_line_is_straight_and_the_longest_bar_fills_its_side(bars):
    lines = diverging("desirable", "undesirable", [bars, bars])

    assert len({line.index("│") for line in lines}) == 1
    sides = [sum(character in "█▌▐" for character in side) for line in lines for side in line.split("│")]
    assert max(sides) == (WIDTH if any(bar.left or bar.right for bar in bars) else 0)
    assert sum(side > 0 for side in sides) == 2 * sum((bar.left > 0) + (bar.right > 0) for bar in bars)
