"""How much an edit changed. Pure: two texts in, a severity out.

*Cosmetic* is what changes no word's meaning: case, spaces, punctuation, markup, a typo. Else the severity goes by how
alike the texts are; but where a number or a sign with a meaning changed, the original was wrong however alike they are.
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

#: In so short a text, punctuation or markup alone can be a large share; in longer ones unlike texts are never cosmetic.
SHORT = 200

#: Numbers with sign, decimals and unit marks; words with their apostrophes; single symbols that carry meaning.
_PARTS = re.compile(r"(?<!\w)[-+−]?\d+(?:[.,:/-]\d+)*[%‰]?|[^\W\d_]+(?:['’][^\W\d_]+)*|[^\s\w]|\d+|_")
#: Unicode categories: punctuation, lone accents, invisible characters. Emoji and vowel signs have a meaning.
_MEANINGLESS = frozenset(["Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sk", "Cf"])
_MEANINGFUL_PUNCTUATION = frozenset("%&/\\@#^")


class Comparison(NamedTuple):
    """All that a rule needs to know of an edit: its severity follows, whatever the thresholds, without the texts.

    alike   Levenshtein similarity, 1 − edits / length of the longer text (rapidfuzz)
    change  one of the numbers below
    long    whether the longer text is longer than `SHORT`
    """

    alike: float
    change: int
    long: bool


#: What differs: nothing but spaces at the ends; what is cosmetic; typos; numbers or signs; words; so much that it was
#: not looked at.
NOTHING, LOOKS, TYPOS, NUMBERS, WORDS, MUCH = range(6)
#: Longer texts less alike are not read word by word: no sensible rule calls them anything but rewritten.
FLOOR = 0.5


def severity(original: str, edited: str, rule: wire.EditRule) -> Severity:
    return severities([original], [edited], rule)[0]


def severities(originals: Sequence[str], edited: Sequence[str], rule: wire.EditRule) -> list[Severity]:
    """`severity` of each pair; several at once where there are cores for it."""
    floor = floor_of(rule)
    found = compared(originals, edited, floor=floor)
    return [SEVERITIES[number] for number in judged(*columns(found), rule, floor=floor)]


def floor_of(rule: wire.EditRule) -> float:
    """How far down texts have to be compared for this rule: finding out how alike they are takes longest where they are
    not. Not exactly at a threshold: there a cutoff rounds otherwise than the comparison."""
    lowest = min(rule.rewrite_below, rule.cosmetic_from)
    return FLOOR if lowest > FLOOR else max(lowest - 0.01, 0.0)


def compared(originals: Sequence[str], edited: Sequence[str], *, floor: float = FLOOR) -> list[Comparison]:
    """Each pair compared; texts less than `floor` alike are 0 alike, and the longer ones of them read no further."""
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
    """Of each comparison the number of its severity in `SEVERITIES`; -1 where the texts have to be looked at, because
    a threshold lies below the `floor` that they were compared with."""
    unchanged, cosmetic, substantive, rewrite = range(len(SEVERITIES))
    lowest = min(rule.rewrite_below, rule.cosmetic_from)
    words = np.where(alike < rule.rewrite_below, rewrite, substantive)
    typos = np.where(alike >= rule.cosmetic_from, cosmetic, words)
    found = np.choose(change, [unchanged, cosmetic, typos, rewrite, words, rewrite])
    found[(change != NOTHING) & long & (alike < lowest)] = rewrite
    if floor > 0 and lowest <= floor:
        found[(alike < floor) & np.isin(change, [TYPOS, WORDS, MUCH])] = -1
    return found.astype(np.int8)


def columns(found: Sequence[Comparison]) -> tuple[NDArray[np.float64], NDArray[np.int8], NDArray[np.bool_]]:
    return (
        np.array([one.alike for one in found], dtype=np.float64),
        np.array([one.change for one in found], dtype=np.int8),
        np.array([one.long for one in found], dtype=np.bool_),
    )


def _each(scorer: Any, originals: Sequence[str], edited: Sequence[str], cutoff: float | None = None) -> list[float]:
    scores = process.cpdist(originals, edited, scorer=scorer, score_cutoff=cutoff, dtype=np.float64, workers=-1)
    found: list[float] = scores.tolist()
    return found


def _compared(original: str, edited: str, alike: float, before: float, after: float, floor: float) -> Comparison:
    """`before`, `after`: characters at the beginning and at the end that are the same."""
    long = max(len(original), len(edited)) > SHORT
    if alike >= 1 or original.strip() == edited.strip():
        return Comparison(alike, NOTHING, long)
    if alike < floor and long:
        return Comparison(alike, MUCH, long)
    # What is cosmetic is read word by word: only where the texts differ, as that takes longest.
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
    return len(old) == len(new) and all(one == other or _typo(one, other) for one, other in zip(old, new, strict=True))


def _typo(old: str, new: str) -> bool:
    """One letter wrong, missing, doubled or swapped inside a longer word of a script that writes words in letters.

    Not in the first letter: *a*moral, *h*ire and *f*ire. Not in scripts without case, where one sign may be a word.
    """
    return (
        min(len(old), len(new)) >= TYPO_WORD_LENGTH
        and old[0] == new[0]
        and all(letter.upper() != letter for letter in old + new if letter != "'")
        and OSA.distance(old, new, score_cutoff=1) <= 1
    )
