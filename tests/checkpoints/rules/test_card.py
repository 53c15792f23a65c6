"""The model card."""

import copy
from typing import Any, get_args

import pytest
from thumbwheel.wire.recipe import ObjectiveName

from app.checkpoints.card import OBJECTIVES, card

MANIFEST: dict[str, Any] = {
    "project": "support-desk",
    "run_id": "run-1",
    "kind": "adapter",
    "weights_sha256": "ab" * 32,
    "reference_checkpoint_id": "checkpoint-0",
    "base_model": "/models/base",
    "snapshot": {
        "id": "snapshot-1",
        "sha256": "cd" * 32,
        "counts": {"train": {"desirable": 280}},
        "pairs": {"train": 31},
    },
    "recipe": {"objective": "kto", "seed": 1, "beta": 0.1, "lora": {"rank": 16}},
    "training": {"rows_trained": 900, "steps": 28, "rows_dropped": 2, "rows_truncated": 1},
    "scores": {
        "rows": 100,
        "confidence": 0.95,
        "auroc": {"value": 0.81, "low": 0.74, "high": 0.88},
        "kl": {"nats_per_token": {"value": None, "low": None, "high": None, "reason": "no prompts were sampled"}},
        "length": {"candidate_median": 12.0, "reference_median": None},
    },
    "verdict": "refused",
    "reasons": ["kl.nats_per_token: unknown (no prompts were sampled)"],
}


def test_the_distance_from_the_models_that_wrote_the_rows_is_on_the_card():
    report = {
        "rows_with_log_probs": 1600, "rows_without": 400, "mean_absolute_difference": 0.31, "clipped": 3,
        "effective_share": 0.78, "effective_share_with_row_weights": 0.7, "corrected": True,
    }  # fmt: skip

    def told(**changes):
        return card({**MANIFEST, "training": {**MANIFEST["training"], "off_policy": {**report, **changes}}})

    assert "Of the rows, 1,600 have the log-probs with which they were sampled, 400 have none." in told()
    assert "differ by 0.31 nats per token on average; over 0.5 is far. Rows were weighed by who wrote them" in told()
    assert "would leave 78% of the rows' worth; behaviour_correction was off." in told(corrected=False)
    assert "nats per token on average" not in card(MANIFEST)


def test_the_card_of_a_comparison_with_another_base_model_says_what_it_was_measured_against():
    other = card({**MANIFEST, "shipped_checkpoint_id": "checkpoint-7"})

    assert "starting from a base model of its own for a comparison, and measured against it" in other
    assert "starting from the checkpoint that was shipped" in card(MANIFEST | {"shipped_checkpoint_id": "checkpoint-0"})


def test_what_edits_kept_is_on_the_card_if_the_recipe_weighs_it():
    def told(**edits):
        training = {**MANIFEST["training"], "recipe": {"edit_kept_weight": 0.1}, "edits": edits or None}
        return card({**MANIFEST, "training": training})

    assert "1,200 were edited by users, who kept 80% of the 30,000 tokens. A kept token weighed 0.1" in told(
        rows=1200, tokens=30_000, kept_tokens=24_000, kept_share=0.8
    )
    assert "so edit_kept_weight changed nothing." in told(rows=0, tokens=0, kept_tokens=0, kept_share=None)
    assert "edit_kept_weight" not in told()


def test_the_card_says_what_it_is_where_it_comes_from_and_what_the_gates_said():
    text = card(MANIFEST)

    for sentence in (
        "library_name: peft",
        "# support-desk: checkpoint of run run-1",
        "tags: [kto, thumbwheel]",
        "A LoRA adapter, trained with KTO (arXiv 2402.01306) on the feedback of project support-desk",
        "**refused**",
        "- kl.nats_per_token: unknown (no prompts were sampled)",
        "| snapshot | snapshot-1 (sha256 " + "cd" * 32 + ") |",
        "| pairs.train | 31 |",
        "| train.desirable | 280 |",
        "| lora.rank | 16 |",
        "| AUROC | 0.81 | 0.74 … 0.88 |",
        "| drift, nats per token | none | no prompts were sampled |",
        "Trained on 900 rows in 28 steps; 2 rows were dropped and 1 cut to fit.",
        "12 tokens, of the reference's unknown.",
    ):
        assert sentence in text


@pytest.mark.parametrize(
    ("auroc", "sentence"),
    [
        ({"value": 0.81, "low": 0.74, "high": 0.88}, "The model learnt to tell good from bad"),
        ({"value": 0.58, "low": 0.53, "high": 0.63}, "The model learnt something, not much"),
        ({"value": 0.52, "low": 0.45, "high": 0.6}, "The model learnt little"),
        ({"value": None, "low": None, "high": None, "reason": "one class only"}, "is unknown: AUROC has no value (one"),
    ],
)
def test_the_card_is_honest_about_what_was_learnt(auroc, sentence):
    manifest = copy.deepcopy(MANIFEST)
    manifest["scores"]["auroc"] = auroc

    assert sentence in card(manifest)


@pytest.mark.parametrize("objective", get_args(ObjectiveName))
def test_the_card_names_every_objective_that_a_recipe_may_have(objective):
    manifest = {**MANIFEST, "recipe": {"objective": objective, "seed": 1}}

    text = card(manifest)

    assert f"trained with {OBJECTIVES[objective]} on the feedback" in text
    assert f"tags: [{objective}, thumbwheel]" in text


def test_a_training_on_pairs_says_how_many():
    manifest = {**MANIFEST, "training": {**MANIFEST["training"], "pairs_trained": 31}}

    assert "Trained on 900 rows (31 pairs) in 28 steps; 2 rows" in card(manifest)


def test_text_from_outside_cannot_break_a_table():
    manifest = {**MANIFEST, "base_model": "/models/a|b\nc"}

    assert "| base model | /models/a\\|b c |" in card(manifest)


def test_the_card_says_which_rows_were_dropped_and_what_prompts_lose():
    dropped = {
        "reasons": {"train": {"unknown_role": 2}, "holdout": {"too_long": 1}},
        "rows": [{"completion_id": "c7", "split": "train", "reason": "unknown_role"}],
        "control_tokens_in_prompts": {"train": 3},
        "prompts_trimmed": {"train": 1200, "holdout": 34},
    }

    text = card({**MANIFEST, "training": {**MANIFEST["training"], "dropped": dropped}})

    for sentence in (
        "| 2 | train | a message has an unknown role | use one of system, developer, user, assistant, tool |",
        "| 1 | holdout | max_length leaves nothing of the answer | raise max_length |",
        "- c7 (train): unknown_role",
        "3 prompts have control tokens",
        "The chat template trims the white space at the ends of 1,234 prompts.",
    ):
        assert sentence in text
