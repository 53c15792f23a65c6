"""`make bench-redaction`: its corpus, its figures, and what the detectors may not lose."""

import pytest

from app.privacy.redaction.detection import find
from app.privacy.redaction.findings import BUILT_IN_KINDS
from benchmarks.redaction.corpus import MadeText, negatives, positives
from benchmarks.redaction.figures import measured

KINDS = frozenset(BUILT_IN_KINDS)
#: Groups of values that the detectors are known to miss in part: the limits that docs/privacy.md names.
LIMITS = {
    "phone, plain without a name", "token, without its name", "password, a word", "email, written out",
    "phone, as typed", "card, as typed",
}  # fmt: skip


def test_a_corpus_depends_on_its_seed_alone_and_its_spans_lie_within_the_texts() -> None:
    texts = list(positives(1, 3))

    assert texts == list(positives(1, 3))
    assert texts != list(positives(2, 3))
    assert all(0 <= text.start < text.end <= len(text.text) and text.kind in KINDS for text in texts)
    assert all(text.kind is None for text in negatives(1, 3))


def test_figures_count_covered_values_overlapping_spans_and_mistaken_texts() -> None:
    good = [MadeText("a bb", "card", "card", 2, 4), MadeText("a bb", "card", "card", 2, 4)]
    bad = [MadeText("bb", "ISBN", None, 0, 0), MadeText("cc", "ISBN", None, 0, 0)]
    answers = iter([[("card", 1, 4)], [("card", 3, 4), ("phone", 0, 1)], [("card", 0, 2)], []])

    figures = measured(lambda _: next(answers), good, bad)

    assert figures["recall"]["card"] | {"low": 0, "high": 1} == {
        "of": 2,
        "share": 0.5,
        "low": 0,
        "high": 1,
        "exact": 0.0,
    }
    assert {kind: (row["share"], row["of"]) for kind, row in figures["precision"].items()} == {
        "card": (pytest.approx(2 / 3, abs=1e-4), 3),
        "phone": (0.0, 1),
    }
    assert figures["mistaken"]["all"]["share"] == 0.5


def test_the_detectors_find_nearly_all_values_and_mistake_hardly_a_lookalike() -> None:
    figures = measured(lambda text: find(text, KINDS), positives(7, 40), negatives(7, 40))

    missed = {
        group: row["share"] for group, row in figures["recall"].items() if group not in LIMITS and row["share"] < 0.95
    }
    assert missed == {}
    assert figures["mistaken"]["all"]["share"] < 0.01
    assert {kind: row["share"] for kind, row in figures["precision"].items() if row["share"] < 0.95} == {}
