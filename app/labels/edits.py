"""How much an edit changed. Pure: two texts in, a severity out.

*Cosmetic* is what changes no word's meaning: case, spaces, punctuation, markup, a typo. In doubt an edit is a rewrite:
then the person's own text teaches, which is right whatever the original was.
"""

import re
import unicodedata
from typing import Literal

from rapidfuzz.distance import OSA

Severity = Literal["unchanged", "cosmetic", "rewrite"]

#: Below this share of equal characters (1 - edits / longer text) even single typos add up to another text.
ALIKE = 0.9
#: Shorter words are often one letter away from another word: now and not, is and it.
TYPO_WORD_LENGTH = 5

#: Numbers with sign, decimals and unit marks; words with their apostrophes; single symbols that carry meaning.
_PARTS = re.compile(r"(?<!\w)[-+−]?\d+(?:[.,:/-]\d+)*[%‰]?|[^\W\d_]+(?:['’][^\W\d_]+)*|[^\s\w]|\d+|_")
#: Unicode categories: punctuation, lone accents, invisible characters. Emoji and vowel signs have a meaning.
_MEANINGLESS = frozenset(["Pc", "Pd", "Pe", "Pf", "Pi", "Po", "Ps", "Sk", "Cf"])
_MEANINGFUL_PUNCTUATION = frozenset("%&/\\@#^")


def severity(original: str, edited: str) -> Severity:
    if original.strip() == edited.strip():
        return "unchanged"
    before, after = _parts(original), _parts(edited)
    if before == after:
        return "cosmetic"
    if _numbers(before) != _numbers(after):
        return "rewrite"
    if "".join(before) == "".join(after):
        return "cosmetic"
    if len(before) != len(after):
        return "rewrite"
    if not OSA.normalized_similarity(" ".join(before), " ".join(after)) >= ALIKE:
        return "rewrite"
    typos = all(old == new or _typo(old, new) for old, new in zip(before, after, strict=True))
    return "cosmetic" if typos else "rewrite"


def _parts(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return [part for part in _PARTS.findall(folded) if not _light(part)]


def _numbers(parts: list[str]) -> list[str]:
    return [part for part in parts if any(character.isdigit() for character in part)]


def _light(part: str) -> bool:
    return len(part) == 1 and part not in _MEANINGFUL_PUNCTUATION and unicodedata.category(part) in _MEANINGLESS


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
