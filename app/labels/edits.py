"""Classifies how much an edit changed. Pure: two texts in, a severity out.

*Cosmetic* changes affect no word's meaning: case, spaces, punctuation, markup, a typo. Otherwise the severity depends
on the similarity of the texts. If a number or a meaningful sign changed, the original was wrong at any similarity.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import repeat
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import OSA, Levenshtein, Postfix, Prefix
from thumbwheel import wire

Severity = Literal["unchanged", "cosmetic", "substantive", "rewrite"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)

#: Shorter words are often one letter away from another word: now and not, is and it.
TYPO_WORD_LENGTH = 5

#: In texts up to this length, punctuation or markup alone can be a large share. Dissimilar longer texts are never
#: cosmetic.
SHORT = 200

#: Numbers with sign, decimals and unit marks; words with their apostrophes; single symbols that carry meaning.
_PARTS = re.compile(r"(?<!\w)[-+−]?\d+(?:[.,:/-]\d+)*[%‰]?|[^\W\d_]+(?:['’][^\W\d_]+)*|[^\s\w]|\d+|_")
#: Unicode categories: punctuation, lone accents, invisible characters. Emoji and vowel signs have a meaning.
_MEANINGLESS = frozenset(["Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sk", "Cf"])
_MEANINGFUL_PUNCTUATION = frozenset("%&/\\@#^")


class Comparison(NamedTuple):
    """All that a rule needs to know of an edit. The severity follows from it for any thresholds, without the texts.

    alike   Levenshtein similarity, 1 − edits / length of the longer text (rapidfuzz)
    change  one of the numbers below
    long    whether the longer text is longer than `SHORT`
    """

    alike: float
    change: int
    long: bool


#: The kinds of change: nothing but spaces at the ends; cosmetic ones; typos; numbers or signs; words; too much to be
#: examined.
NOTHING, LOOKS, TYPOS, NUMBERS, WORDS, MUCH = range(6)
#: Longer texts below this similarity are not compared word by word: any sensible rule calls them rewritten.
FLOOR = 0.5


def severity(original: str, edited: str, rule: wire.EditRule) -> Severity:
    return severities([original], [edited], rule)[0]


def severities(originals: Sequence[str], edited: Sequence[str], rule: wire.EditRule) -> list[Severity]:
    """Returns the severity of each pair. Compares several at once if there are cores for it."""
    floor = floor_of(rule)
    comparisons = compared(originals, edited, floor=floor)
    return [SEVERITIES[number] for number in judged(*columns(comparisons), rule, floor=floor)]


def floor_of(rule: wire.EditRule) -> float:
    """Returns the lowest similarity that matters for this rule: dissimilar texts take the longest to compare. It lies
    a little below the thresholds, where the cutoff would round differently from the comparison.
    """
    lowest = min(rule.rewrite_below, rule.cosmetic_from)
    return FLOOR if lowest > FLOOR else max(lowest - 0.01, 0.0)


def compared(originals: Sequence[str], edited: Sequence[str], *, floor: float = FLOOR) -> list[Comparison]:
    """Compares each pair. A similarity below `floor` becomes 0, and longer texts below it are not examined further."""
    alike = _each(Levenshtein.normalized_similarity, originals, edited, floor)
    before, after = _each(Prefix.similarity, originals, edited), _each(Postfix.similarity, originals, edited)
    return list(map(_compared, originals, edited, alike, before, after, repeat(floor)))


def judged(
    alike: NDArray[np.float64],
    change: NDArray[np.int8],
    long: NDArray[np.bool_],
    rule: wire.EditRule,
    *,
    floor: float = FLOOR,
) -> NDArray[np.int8]:
    """Returns for each comparison the index of its severity in `SEVERITIES`; -1 if the texts must be compared again, as
    a threshold lies below the `floor` of the comparison.
    """
    unchanged, cosmetic, substantive, rewrite = range(len(SEVERITIES))
    lowest = min(rule.rewrite_below, rule.cosmetic_from)
    words = np.where(alike < rule.rewrite_below, rewrite, substantive)
    typos = np.where(alike >= rule.cosmetic_from, cosmetic, words)
    index = np.choose(change, [unchanged, cosmetic, typos, rewrite, words, rewrite])
    index[(change != NOTHING) & long & (alike < lowest)] = rewrite
    if floor > 0 and lowest <= floor:
        index[(alike < floor) & np.isin(change, [TYPOS, WORDS, MUCH])] = -1
    return index.astype(np.int8)


def columns(comparisons: Sequence[Comparison]) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.bool_]]:
    return (
        np.array([comparison.alike for comparison in comparisons], dtype=np.float64),
        np.array([comparison.change for comparison in comparisons], dtype=np.int8),
        np.array([comparison.long for comparison in comparisons], dtype=np.bool_),
    )


def _each(scorer: Any, originals: Sequence[str], edited: Sequence[str], cutoff: float | None = None) -> list[float]:
    scores = process.cpdist(originals, edited, scorer=scorer, score_cutoff=cutoff, dtype=np.float64, workers=-1)
    similarities: list[float] = scores.tolist()
    return similarities


def _compared(original: str, edited: str, alike: float, before: float, after: float, floor: float) -> Comparison:
    """Compares one pair. `before`, `after`: the number of equal characters at the beginning and at the end."""
    long = max(len(original), len(edited)) > SHORT
    if alike >= 1 or original.strip() == edited.strip():
        return Comparison(alike, NOTHING, long)
    if alike < floor and long:
        return Comparison(alike, MUCH, long)
    # The comparison word by word takes longest, so only the differing middle is read.
    start = original.rfind(" ", 0, int(before)) + 1
    same = min(int(after), min(len(original), len(edited)) - start)
    space = original.find(" ", len(original) - same)
    end = 0 if space < 0 or same == 0 else len(original) - space
    old, new = _parts(original[start : len(original) - end]), _parts(edited[start : len(edited) - end])
    return Comparison(alike, _change(old, new), long)


def _change(old: list[str], new: list[str]) -> int:
    if old == new:
        return LOOKS
    if _numbers_and_signs(old) != _numbers_and_signs(new):
        return NUMBERS
    if "".join(old) == "".join(new):
        return LOOKS
    return TYPOS if _only_typos(old, new) else WORDS


def _parts(text: str) -> list[str]:
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return [part for part in _PARTS.findall(folded) if not _light(part)]


def _numbers_and_signs(parts: list[str]) -> list[str]:
    return [part for part in parts if not part.replace("'", "").isalpha()]


def _light(part: str) -> bool:
    return len(part) == 1 and part not in _MEANINGFUL_PUNCTUATION and unicodedata.category(part) in _MEANINGLESS


def _only_typos(old: list[str], new: list[str]) -> bool:
    return len(old) == len(new) and all(a == b or _typo(a, b) for a, b in zip(old, new, strict=True))


def _typo(old: str, new: str) -> bool:
    """Returns whether one letter is wrong, missing, doubled or swapped inside a longer word of an alphabetic script.

    A change of the first letter is no typo: *a*moral, *h*ire and *f*ire. Nor is one in a script without case, where one
    sign may be a word.
    """
    return (
        min(len(old), len(new)) >= TYPO_WORD_LENGTH
        and old[0] == new[0]
        and all(letter.upper() != letter for letter in old + new if letter != "'")
        and OSA.distance(old, new, score_cutoff=1) <= 1
    )
