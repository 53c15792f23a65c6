"""How much an edit changed. Pure: two texts in, a severity out.

*Cosmetic* is what changes no word's meaning: case, spaces, punctuation, markup, a typo. Else the severity goes by how
alike the texts are; but where a number or a sign with a meaning changed, the original was wrong however alike they are.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import OSA, Levenshtein
from thumbwheel import wire

Severity = Literal["unchanged", "cosmetic", "substantive", "rewrite"]

#: Shorter words are often one letter away from another word: now and not, is and it.
TYPO_WORD_LENGTH = 5

#: In so short a text, punctuation or markup alone can be a large share; in longer ones unlike texts are never cosmetic.
SHORT = 200

#: Numbers with sign, decimals and unit marks; words with their apostrophes; single symbols that carry meaning.
_PARTS = re.compile(r"(?<!\w)[-+−]?\d+(?:[.,:/-]\d+)*[%‰]?|[^\W\d_]+(?:['’][^\W\d_]+)*|[^\s\w]|\d+|_")
#: Unicode categories: punctuation, lone accents, invisible characters. Emoji and vowel signs have a meaning.
_MEANINGLESS = frozenset(["Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sk", "Cf"])
_MEANINGFUL_PUNCTUATION = frozenset("%&/\\@#^")


def severity(original: str, edited: str, rule: wire.EditRule) -> Severity:
    """By Levenshtein similarity, 1 − edits / length of the longer text (rapidfuzz)."""
    alike = Levenshtein.normalized_similarity(original, edited, score_cutoff=_cutoff(rule))
    return _severity(original, edited, alike, rule)


def severities(originals: Sequence[str], edited: Sequence[str], rule: wire.EditRule) -> list[Severity]:
    """`severity` of each pair; several at once where there are cores for it."""
    alike = process.cpdist(
        originals, edited, scorer=Levenshtein.normalized_similarity, score_cutoff=_cutoff(rule), dtype=np.float64,
        workers=-1,
    )  # fmt: skip
    return [_severity(*pair, rule) for pair in zip(originals, edited, alike.tolist(), strict=True)]


def _cutoff(rule: wire.EditRule) -> float:
    """Similarities below count as 0: what they are makes no difference, and finding out takes longest."""
    return min(rule.rewrite_below, rule.cosmetic_from)


def _severity(original: str, edited: str, alike: float, rule: wire.EditRule) -> Severity:
    if alike >= 1 or original.strip() == edited.strip():
        return "unchanged"
    if alike < _cutoff(rule) and max(len(original), len(edited)) > SHORT:
        return "rewrite"
    # What is cosmetic is read word by word: only where the texts differ, as that takes longest.
    old, new = map(_parts, _different(original, edited))
    if old == new:
        return "cosmetic"
    if _numbers_and_signs(old) != _numbers_and_signs(new):
        return "rewrite"
    if "".join(old) == "".join(new) or (alike >= rule.cosmetic_from and _only_typos(old, new)):
        return "cosmetic"
    return "rewrite" if alike < rule.rewrite_below else "substantive"


def _different(original: str, edited: str) -> tuple[str, str]:
    """Both without the words at the beginning and at the end that are the same."""
    start = original.rfind(" ", 0, _common(original, edited)) + 1
    old, new = original[start:], edited[start:]
    tail = old[len(old) - _common(old[::-1], new[::-1]) :]
    end = len(tail) - tail.find(" ") if " " in tail else 0
    return old[: len(old) - end], new[: len(new) - end]


def _common(one: str, other: str) -> int:
    """Characters that both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _parts(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
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
