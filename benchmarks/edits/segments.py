"""Post-edited translations: what a machine wrote, what a translator made of it, and the rows that a training gets."""

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from app.labels.kept_spans import KeptParts, kept

#: Translations into English, which the model can read at least; of others it knows not one word.
LANGUAGES = ("et-en", "ro-en", "ru-en")
#: Words of the source that a row has as its prompt. The model knows no language but English, so the rest would only
#: take time.
PROMPT_WORDS = 4


class Segment(NamedTuple):
    prompt: str
    original: str
    edited: str
    held_out: bool

    @property
    def kept(self) -> KeptParts:
        return kept(self.original, self.edited)


def segments_in(path: Path) -> Iterator[Segment]:
    """Yields the segments that a translator changed."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["meta"]["pair"] in LANGUAGES and row["completion"] != row["edit"]:
                source = row["prompt"].partition("\n\n")[2].split()
                prompt = " ".join(source[:PROMPT_WORDS])
                yield Segment(f"{prompt}:", f" {row['completion']}", f" {row['edit']}", row["split"] == "dev")


def imitated_rows(segments: Sequence[Segment]) -> list[Mapping[str, Any]]:
    """Returns the originals as rows to be imitated: a model that learnt from them writes as the translator's did."""
    return [{"prompt": segment.prompt, "completion": segment.original, "label": True} for segment in segments]


def rows_of(segments: Sequence[Segment], seed: int, *, elsewhere: bool) -> list[Mapping[str, Any]]:
    """Returns two rows of each segment: the original, undesirable, with what the edit kept; the edited text, desirable.

    `elsewhere` replaces the kept words by as many at random: a control, which says as much about where the fault is as
    a coin does.
    """
    rng = Random(f"edits {seed}")
    rows: list[Mapping[str, Any]] = []
    for segment in segments:
        part = _elsewhere(segment, rng) if elsewhere else segment.kept
        document = {"spans": [{"start": start, "end": end} for start, end in part.spans], "ending": part.ending}
        rows.append({"prompt": segment.prompt, "completion": segment.original, "label": False, "kept": document})
        rows.append({"prompt": segment.prompt, "completion": segment.edited, "label": True, "kept": None})
    return rows


def _elsewhere(segment: Segment, rng: Random) -> KeptParts:
    """Returns spans of as many words as the edit kept, chosen at random."""
    words = words_of(segment.original)
    spans = segment.kept.spans
    count = sum(any(start <= word[0] and word[1] <= end for start, end in spans) for word in words)
    return KeptParts(tuple(sorted(rng.sample(words, count))), segment.kept.ending)


def words_of(text: str) -> list[tuple[int, int]]:
    """Returns the words of a text with the space before each."""
    bounds = []
    start = 0
    for word in text.split(" ")[1:]:
        bounds.append((start, start + 1 + len(word)))
        start += 1 + len(word)
    return bounds
