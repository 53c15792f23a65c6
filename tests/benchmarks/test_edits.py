"""`make study-edits`: its rows, and its figures of tokens and pairs."""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.edits import __main__ as command
from benchmarks.edits.figures import HeldOut, Scores, figures_of
from benchmarks.edits.segments import Segment, rows_of, segments_in, words_of

SEGMENT = Segment("Source:", " One two three four", " One two five four", held_out=False)


def test_segments_are_changed_translations_into_english(tmp_path: Path) -> None:
    rows = [("ro-en", "a b", "a c", "train"), ("ro-en", "a", "a", "train"), ("en-de", "a", "b", "dev")]
    path = tmp_path / "edits.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for pair, completion, edit, split in rows:
            prompt = "Translate:\n\nunu doi trei patru cinci"
            row = {"meta": {"pair": pair}, "prompt": prompt, "completion": completion, "edit": edit, "split": split}
            file.write(json.dumps(row) + "\n")

    assert list(segments_in(path)) == [Segment("unu doi trei patru:", " a b", " a c", held_out=False)]


def test_a_segment_is_an_undesirable_row_with_its_kept_words_and_a_desirable_one() -> None:
    [original, edited] = rows_of([SEGMENT], 1, elsewhere=False)

    assert original["kept"] == {"spans": [{"start": 0, "end": 8}, {"start": 14, "end": 19}], "ending": True}
    assert (original["label"], edited["label"], edited["kept"]) == (False, True, None)


def test_the_control_keeps_as_many_words_at_random() -> None:
    several = [rows_of([SEGMENT], seed, elsewhere=True)[0]["kept"]["spans"] for seed in range(20)]

    bounds = {tuple((span["start"], span["end"]) for span in spans) for spans in several}
    assert {len(spans) for spans in several} == {3}
    assert len(bounds) == 4
    assert set().union(*bounds) == set(words_of(SEGMENT.original))


def test_figures_compare_edited_texts_with_originals_and_changed_with_kept_tokens() -> None:
    rows = HeldOut([], [], [np.array([True, False, False]), np.array([False, True])])
    scores = Scores(
        originals=[np.array([-3.0, 1.0, -1.0, 0.0]), np.array([1.0, 0.0, 0.0])],
        edited=[np.array([1.0, 1.0]), np.array([1.0, 0.0])],
    )

    figures = figures_of(scores, rows)

    assert figures["pair_accuracy"] == 0.75  # one is higher, one is even
    assert figures["pair_accuracy_by_token"] == 1
    assert figures["changed_auroc_within"] == 1
    assert figures["changed_auroc"] == pytest.approx(5 / 6)
    assert (figures["changed"], figures["kept"]) == (-1.5, pytest.approx(1 / 3))


def test_without_post_edits_the_study_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["study-edits", "--data", str(tmp_path)])

    assert command.main() == 0
    assert capsys.readouterr().out.startswith("Skipped: there is no ")
