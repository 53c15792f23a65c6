"""Finds the parts of a text that an edit kept. Pure: two texts in, the kept characters of the original out.

1. Both texts are split into parts: words, numbers, single signs; in scripts without spaces between words, such as
   Chinese, Japanese and Thai, characters. Parts form sentences.
2. Sentences are aligned in their order: equal ones first, then, between these, similar ones, also one with two. Nothing
   is kept of a sentence without a counterpart, which was rewritten or moved: the words that it shares with others are
   there by accident.
3. Within aligned sentences the equal parts of a shortest edit script (Levenshtein) are kept, except for short matches
   between replacements.

What would take long is not compared, and counts as changed.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from rapidfuzz.distance import Indel, Levenshtein

#: Aligned sentences share at least this much of their parts: 2 · common parts / all parts of both (Indel similarity).
SIMILAR = 0.4
#: A match of more words than this is no accident.
SHORT_MATCH = 2
#: The most pairs of parts, as of two texts with 20,000 each. Of longer texts only equal beginnings and ends are kept.
MOST_PAIRS = 400_000_000
#: Between two equal sentences: the most pairs of sentences, and about how many of them are compared. Of more, those at
#: about the same place in both texts are.
MOST_PAIRS_OF_SENTENCES, COMPARED_SENTENCES = 62_500, 5_000

#: Signs that end a sentence before white space; those that end it anywhere; those that may close it after them.
_ENDS, _WIDE_ENDS, _CLOSES = frozenset(".!?…؟۔।"), frozenset("。！？｡"), frozenset("\"'”’»›)]}」』）】")
#: Scripts without spaces between words: Thai, Lao, Myanmar, Khmer; kana; Chinese characters.
_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)


class KeptParts(NamedTuple):
    """The kept parts of a text.

    spans   (start, end) in characters of the original: ascending, apart from each other, none empty
    ending  whether the edited text ends with the same part as the original
    """

    spans: tuple[tuple[int, int], ...]
    ending: bool


class _TextPart(NamedTuple):
    """A part of a text and the white space before it."""

    start: int
    end: int
    gap: str
    text: str
    is_word: bool


class _Run(NamedTuple):
    """Equal elements of two sequences: where they begin in either, and how many there are."""

    first: int
    second: int
    size: int


def kept(original: str, edited: str) -> KeptParts:
    """Returns the parts of `original` that are in `edited`, in the same order. The white space before a kept part is
    kept if it is the same in both texts.
    """
    if original == edited:
        return KeptParts(((0, len(original)),) if original else (), ending=True)
    before, after = list(_parts(original)), list(_parts(edited))
    runs = list(_kept_runs(before, after))
    spans = [
        (mine.start - (len(mine.gap) if mine.gap == theirs.gap else 0), mine.end)
        for run in runs
        for mine, theirs in zip(
            before[run.first : run.first + run.size], after[run.second : run.second + run.size], strict=True
        )
    ]
    ending = bool(runs) and runs[-1][:2] == (len(before) - runs[-1].size, len(after) - runs[-1].size)
    if ending and original[before[-1].end :] == edited[after[-1].end :]:
        spans[-1] = (spans[-1][0], len(original))
    return KeptParts(_joined(spans), ending)


def kept_by_all(edits: Sequence[KeptParts]) -> KeptParts:
    """Returns what every edit of a text kept. There must be at least one."""
    first, *others = edits
    spans = first.spans
    for other in others:
        spans = tuple(_overlaps(spans, other.spans))
    return KeptParts(spans, all(edit.ending for edit in edits))


def _overlaps(spans: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    i = j = 0
    while i < len(spans) and j < len(others):
        start, end = max(spans[i][0], others[j][0]), min(spans[i][1], others[j][1])
        if start < end:
            yield start, end
        if spans[i][1] < others[j][1]:
            i += 1
        else:
            j += 1


def _parts(text: str) -> Iterator[_TextPart]:
    end = 0
    for match in _pattern().finditer(text):
        yield _TextPart(*match.span(), text[end : match.start()], match[0], match.lastgroup == "word")
        end = match.end()


@cache
def _pattern() -> re.Pattern[str]:
    """Returns the pattern of a part. Marks, which Python's \\w lacks, belong to the sign before them, and so do the
    modifiers and joined signs of an emoji.
    """
    places = [place for place in range(0x300, 0x20000) if unicodedata.category(chr(place)) in ("Mn", "Mc", "Me")]
    marks = "".join(map(chr, places)) + "\u200c\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\U000e0100-\U000e01ef"
    alone, letter, more = f"[{_WITHOUT_SPACES}]", f"[^\\W_{_WITHOUT_SPACES}]", f"[{marks}]*"
    letters = f"(?:{letter}+{more})+"
    word = f"\\d+(?:[.,:/-]\\d+)*(?!{letter})|{letters}(?:['’]{letters})*|{alone}{more}"
    sign = f"[\U0001f1e6-\U0001f1ff]{{2}}|\\S{more}(?:\u200d\\S{more})*"
    return re.compile(f"(?P<word>{word})|(?P<sign>{sign})")


def _sentences(parts: Sequence[_TextPart]) -> list[range]:
    """Returns the parts of each sentence."""
    starts = [0]
    ended = False
    for index, part in enumerate(parts):
        if index and ("\n" in part.gap or (ended and (part.gap or parts[index - 1].text[0] in _WIDE_ENDS))):
            starts.append(index)
            ended = False
        ended = part.text[0] in _ENDS | _WIDE_ENDS or (ended and part.text[0] in _CLOSES)
    return [range(*bounds) for bounds in zip(starts, [*starts[1:], len(parts)], strict=True)]


def _kept_runs(before: Sequence[_TextPart], after: Sequence[_TextPart]) -> Iterator[_Run]:
    """Yields the runs of kept parts, in their order."""
    numbers: dict[str, int] = {}
    mine, theirs = ([numbers.setdefault(part.text, len(numbers)) for part in parts] for parts in (before, after))
    if len(mine) * len(theirs) > MOST_PAIRS:
        yield from _equal_runs(mine, theirs)
        return
    for here, there in _aligned(_sentences(before), _sentences(after), mine, theirs):
        parts, others = before[here.start : here.stop], after[there.start : there.stop]
        runs = _equal_runs(mine[here.start : here.stop], theirs[there.start : there.stop])
        for run in _without_accidents(list(runs), parts, others):
            yield _Run(here.start + run.first, there.start + run.second, run.size)


def _aligned(
    sentences: Sequence[range], others: Sequence[range], mine: Sequence[int], theirs: Sequence[int]
) -> Iterator[tuple[range, range]]:
    """Yields the parts of aligned sentences, in their order. `mine`, `theirs`: the numbers of the texts' parts."""
    numbers: dict[tuple[int, ...], int] = {}
    contents = [
        [numbers.setdefault(tuple(of[each.start : each.stop]), len(numbers)) for each in ranges]
        for of, ranges in ((mine, sentences), (theirs, others))
    ]
    end = other_end = 0
    for run in [*_equal_runs(*contents), _Run(len(sentences), len(others), 0)]:
        yield from _similar(sentences[end : run.first], others[other_end : run.second], mine, theirs)
        end, other_end = run.first + run.size, run.second + run.size
        yield from zip(sentences[run.first : end], others[run.second : other_end], strict=True)


def _similar(
    sentences: Sequence[range], others: Sequence[range], mine: Sequence[int], theirs: Sequence[int]
) -> Iterator[tuple[range, range]]:
    """Yields the parts of similar sentences, in their order: the pairs that have most parts in common. One side of a
    pair can be two adjoining sentences.
    """
    rows, columns = len(sentences), len(others)
    if not rows or not columns or rows * columns > MOST_PAIRS_OF_SENTENCES:
        return
    reach = max(1, COMPARED_SENTENCES // rows // 2)
    best = [[0.0] * (columns + 1) for _ in range(rows + 1)]
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    for i in range(1, rows + 1):
        near = round(i * columns / rows)
        for j in range(1, columns + 1):
            best[i][j] = max(best[i - 1][j], best[i][j - 1])
            for size, other_size in ((1, 1), (2, 1), (1, 2)):
                if size > i or other_size > j or abs(j - near) > reach:
                    continue
                here = mine[sentences[i - size].start : sentences[i - 1].stop]
                there = theirs[others[j - other_size].start : others[j - 1].stop]
                similarity = Indel.normalized_similarity(here, there, score_cutoff=SIMILAR)
                value = best[i - size][j - other_size] + similarity * (len(here) + len(there))
                if value > best[i][j]:
                    best[i][j], sizes[i, j] = value, (size, other_size)
    pairs = []
    i, j = rows, columns
    while i and j:
        if (i, j) in sizes:
            last, other_last = i - 1, j - 1
            i, j = i - sizes[last + 1, other_last + 1][0], j - sizes[last + 1, other_last + 1][1]
            here, there = (
                range(sentences[i].start, sentences[last].stop),
                range(others[j].start, others[other_last].stop),
            )
            pairs.append((here, there))
        elif best[i][j] == best[i - 1][j]:
            i -= 1
        else:
            j -= 1
    yield from reversed(pairs)


def _equal_runs(mine: Sequence[int], theirs: Sequence[int]) -> Iterator[_Run]:
    """Yields the equal runs of a shortest edit script, in their order. Between the equal beginnings and ends of
    sequences that are too long for that, everything counts as different.
    """
    start, most = 0, min(len(mine), len(theirs))
    while start < most and mine[start] == theirs[start]:
        start += 1
    same = 0
    while same < most - start and mine[-1 - same] == theirs[-1 - same]:
        same += 1
    end, other_end = len(mine) - same, len(theirs) - same
    if start:
        yield _Run(0, 0, start)
    if (end - start) * (other_end - start) <= MOST_PAIRS:
        for code in Levenshtein.opcodes(mine[start:end], theirs[start:other_end]):
            if code.tag == "equal":
                yield _Run(start + code.src_start, start + code.dest_start, code.src_end - code.src_start)
    if same:
        yield _Run(end, other_end, same)


def _without_accidents(runs: Sequence[_Run], mine: Sequence[_TextPart], theirs: Sequence[_TextPart]) -> list[_Run]:
    """Returns the runs without short ones between replacements that are no shorter, in characters.

    A run that is left out becomes part of the replacements around it, so the one before it is looked at again.
    """
    ends, other_ends = _ends(mine), _ends(theirs)

    def replaced(run: _Run, following: _Run) -> int:
        """Returns the characters between two runs, in the text that has fewer of them there."""
        return min(
            ends[following.first] - ends[run.first + run.size],
            other_ends[following.second] - other_ends[run.second + run.size],
        )

    def by_accident(before: _Run, run: _Run, following: _Run) -> bool:
        stop = run.first + run.size
        short = sum(part.is_word for part in mine[run.first : stop]) <= SHORT_MATCH
        return short and ends[stop] - ends[run.first] <= min(replaced(before, run), replaced(run, following))

    # Both ends of the sentence are runs without parts.
    left = [_Run(0, 0, 0)]
    for run in [*runs, _Run(len(mine), len(theirs), 0)]:
        while len(left) > 1 and by_accident(left[-2], left[-1], run):
            left.pop()
        left.append(run)
    return left[1:-1]


def _ends(parts: Sequence[_TextPart]) -> list[int]:
    """Returns the number of characters in the parts before each one, and in all of them."""
    ends = [0]
    for part in parts:
        ends.append(ends[-1] + len(part.text))
    return ends


def _joined(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Returns the spans, with adjoining ones as one."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return tuple(joined)
