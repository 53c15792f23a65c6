"""The model card shows ten prompts with the replies of both models, chosen by a rule that it states."""

from app.checkpoints.card import card
from app.checkpoints.samples import files
from app.checkpoints.samples.figures import Replies, compared, figures_of, over_prompts_of
from app.checkpoints.samples.ten import RULE, ten
from tests.checkpoints.rules.test_card import MANIFEST
from tests.sample_rows import held_out, of_suite, written


def sets(tmp_path, rows):
    return files.sets_of(files.read(written(tmp_path / "samples.parquet", rows)))


def thirty(tmp_path):
    """Returns thirty held-out prompts, of which numbers 20 to 24 got other replies, and rows that are not eligible."""
    rows = []
    for number in range(30):
        changed = "nothing in common" if 20 <= number < 25 else "the same old words"
        rows += held_out(f"Question {number}", [changed, "the same old words", "other"])
        rows += held_out(f"Question {number}", ["x", "y", "z"], "sampled")
    return sets(tmp_path, [*rows, *of_suite("manners", 0, "Hello", ["a", "b", "c"])])


def test_five_differ_most_and_five_are_drawn_by_the_seed(tmp_path):
    found = thirty(tmp_path)

    first, again, other = (ten(found, seed) for seed in (1, 1, 2))

    prompts = [of["candidate"]["prompt"] for _, of in first]
    assert [why for why, _ in first] == ["differs most"] * 5 + ["at random"] * 5
    assert prompts[:5] == [f'"Question {number}"' for number in range(20, 25)]
    assert len(set(prompts)) == 10
    assert all(of["candidate"]["decoding"] == "greedy" for _, of in first)
    assert first == again
    assert first[:5] == other[:5]
    assert first[5:] != other[5:]
    assert [why for why, _ in ten(found[:6], 1)] == ["differs most"] * 3
    assert ten([], 1) == []


def test_the_card_shows_figures_the_rule_and_the_replies_as_plain_text(tmp_path):
    rows = held_out(
        [{"role": "user", "content": "Is <b>this</b> a | table?"}], ["Yes | [no](http://x)\n# Big", "Fine.", "c"]
    )
    replies, over = Replies.of(["a b"], [3], [True]), over_prompts_of(1, 100, 0.95, seed=0)
    samples = {
        "prompts": {"holdout": 1, "suites": 0}, "max_new_tokens": 64, "temperature": 0.7, "stopped_by": "minutes",
        **{name: figures_of(replies, over) for name in files.MODELS},
        **{f"against_{name}": compared(replies, replies, over) for name in ("shipped", "ancestor")},
    }  # fmt: skip

    text = card({**MANIFEST, "scores": {**MANIFEST["scores"], "samples": samples}}, sets(tmp_path, rows))

    assert "## What it writes" in text
    assert "sampled at temperature 0.7, of at most 64 tokens" in text
    assert "Sampling was stopped by its limit of minutes." in text
    assert "| tokens of a reply | 3 (3 … 3) | 3 (3 … 3) | 3 (3 … 3) |" in text
    assert RULE in text
    assert r"| differs most | user: Is \<b\>this\</b\> a \| table? | Yes \| \[no\](http://x) ⏎ \# Big | Fine. |" in text


def test_a_card_without_samples_has_no_such_section():
    assert "What it writes" not in card(MANIFEST)
