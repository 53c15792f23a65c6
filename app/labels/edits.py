"""How much an edit changed. Pure: two texts in, a severity out.

*Cosmetic* is what changes no word's meaning: case, spaces, punctuation, markup, a typo. Else the severity goes by how
alike the texts are; but where a number or a sign with a meaning changed, the original was wrong however alike they are.
"""

import re
import unicodedata
from collections.abc import Sequence
from itertools import repeat
from typing import Any, Literal

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import OSA, Levenshtein, Postfix, Prefix
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
    return severities([original], [edited], rule)[0]


def severities(originals: Sequence[str], edited: Sequence[str], rule: wire.EditRule) -> list[Severity]:
    """`severity` of each pair; several at once where there are cores for it."""
    # Similarities below the cutoff come as 0: what they are makes no difference, and finding out takes longest.
    cutoff = min(rule.rewrite_below, rule.cosmetic_from)
    alike = _each(Levenshtein.normalized_similarity, originals, edited, cutoff)
    before, after = _each(Prefix.similarity, originals, edited), _each(Postfix.similarity, originals, edited)
    return list(map(_severity, originals, edited, alike, before, after, repeat(rule)))


def _each(scorer: Any, originals: Sequence[str], edited: Sequence[str], cutoff: float | None = None) -> list[float]:
    scores = process.cpdist(originals, edited, scorer=scorer, score_cutoff=cutoff, dtype=np.float64, workers=-1)
    found: list[float] = scores.tolist()
    return found


def _severity(original: str, edited: str, alike: float, before: float, after: float, rule: wire.EditRule) -> Severity:
    """`before`, `after`: characters at the beginning and at the end that are the same."""
    if alike >= 1 or original.strip() == edited.strip():
        return "unchanged"
    if alike < rule.rewrite_below and alike < rule.cosmetic_from and max(len(original), len(edited)) > SHORT:
        return "rewrite"
    # What is cosmetic is read word by word: only where the texts differ, as that takes longest.
    start = original.rfind(" ", 0, int(before)) + 1
    same = min(int(after), min(len(original), len(edited)) - start)
    space = original.find(" ", len(original) - same)
    end = 0 if space < 0 or same == 0 else len(original) - space
    old, new = _parts(original[start : len(original) - end]), _parts(edited[start : len(edited) - end])
    if old == new:
        return "cosmetic"
    if _numbers_and_signs(old) != _numbers_and_signs(new):
        return "rewrite"
    if "".join(old) == "".join(new) or (alike >= rule.cosmetic_from and _only_typos(old, new)):
        return "cosmetic"
    return "rewrite" if alike < rule.rewrite_below else "substantive"


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
