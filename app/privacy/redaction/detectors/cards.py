"""Numbers of payment cards: known issuers and lengths, usual grouping, and the check digit of Luhn. Pure."""

import re
from collections.abc import Iterable, Iterator

from app.privacy.redaction.patterns import HYPHENS, SPACES, after, before, compiled, continues_word

_RUN = compiled(rf"[0-9](?:[{SPACES}{HYPHENS}.]{{0,3}}[0-9]){{11,}}")
_GROUP = re.compile("[0-9]+")  # one class: nothing to backtrack
_NAMED = compiled(
    r"card|karte|carte|tarjeta|carta|cart[ãa]o|kaart|kart[ay]?\b|карт|卡|カード|카드|visa|master|maestro|amex"
    r"|american express|discover|diners|\bpan\b|\bcc\b",
    any_case=True,
)
FEWEST, MOST = 12, 19
_NEARBY = 32
#: Groups as they are printed on cards.
_GROUPINGS = {(4, 4, 4, 4, 3), (4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (6, 13), (4, 4, 4)}
FEWEST_DIGITS_OF_GROUP = 2
#: First and last prefix of an issuer, and the lengths of its numbers.
_ISSUERS: tuple[tuple[str, str, frozenset[int]], ...] = (
    ("4", "4", frozenset({16, 19})),  # Visa
    ("51", "55", frozenset({16})),  # Mastercard
    ("2221", "2720", frozenset({16})),
    ("34", "34", frozenset({15})),  # American Express
    ("37", "37", frozenset({15})),
    ("6011", "6011", frozenset({16, 19})),  # Discover
    ("644", "659", frozenset({16, 19})),
    ("3528", "3589", frozenset({16, 19})),  # JCB
    ("62", "62", frozenset({16, 19})),  # UnionPay
)
#: Those whose prefixes or lengths are so common in other numbers that they count only in groups as on cards.
_GROUPED_ISSUERS: tuple[tuple[str, str, frozenset[int]], ...] = (
    ("300", "305", frozenset({14})),  # Diners Club
    ("3095", "3095", frozenset({14})),
    ("36", "36", frozenset({14})),
    ("38", "39", frozenset({14})),
    ("81", "82", frozenset({16})),  # RuPay
    ("508", "508", frozenset({16})),
    ("2200", "2204", frozenset({16, 19})),  # Mir
    ("50", "50", frozenset({16, 19})),  # Maestro, Verve
    ("56", "58", frozenset({16, 19})),
    ("63", "63", frozenset({16, 19})),
    ("67", "67", frozenset({16, 19})),
    ("9792", "9792", frozenset({16})),  # Troy
)
#: The value of a digit, and the sum of the digits of its double.
_VALUES = bytes.maketrans(b"0123456789", bytes((0, 1, 2, 3, 4, 5, 6, 7, 8, 9)))
_DOUBLES = bytes.maketrans(b"0123456789", bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)))


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields where card numbers are."""
    for run in _RUN.finditer(text):
        start, end = run.span()
        if not _continues(text, start, end):
            yield from _in_run(text, start, end)


def _continues(text: str, start: int, end: int) -> bool:
    """Says whether the digits are part of a word or of a decimal number."""
    left, right = before(text, start), after(text, end)
    return continues_word(left) or left in ".$€£#" or continues_word(right) or right == "%"


def _in_run(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    named = bool(_NAMED.search(text[max(0, start - _NEARBY) : start]))
    groups = [group.span() for group in _GROUP.finditer(text, start, end)]
    number = 0
    while number < len(groups):
        size = _groups_of_card(text, groups, number, named=named)
        if size:
            yield groups[number][0], groups[number + size - 1][1]
        number += size or 1


def _groups_of_card(text: str, groups: list[tuple[int, int]], first: int, *, named: bool) -> int:
    """Returns how many groups from the first on are a card number, 0 if none: the same separator is between them."""
    begin = groups[first][0]
    if not named and text[begin] in "017":  # no issuer's prefix
        return 0
    if first and text[begin - 1] == ".":  # digits behind a decimal point
        return 0
    digits, separator, size, longest = "", "", 0, 0
    for start, end in groups[first : first + MOST // FEWEST_DIGITS_OF_GROUP]:
        between = text[groups[first + size - 1][1] : start] if size else ""
        if end - start < FEWEST_DIGITS_OF_GROUP or (size > 1 and between != separator):
            break
        digits, separator, size = digits + text[start:end], between, size + 1
        if len(digits) > MOST:
            break
        if len(digits) >= FEWEST:
            sizes = tuple(end - start for start, end in groups[first : first + size])
            if is_card(digits, named=False, grouped=sizes in _GROUPINGS):
                return size
            if is_card(digits, named=named, grouped=False):
                longest = size
    return longest


def is_card(digits: str, *, named: bool, grouped: bool) -> bool:
    """Says whether the check digit is right and an issuer has numbers of this prefix and length.

    named    a word for a card precedes: then the check digit is enough
    grouped  the digits are written in groups as on a card: then less common issuers count, too
    """
    if named:
        known = FEWEST <= len(digits) <= MOST
    else:
        known = _has_issuer(digits, _ISSUERS) or (grouped and _has_issuer(digits, _GROUPED_ISSUERS))
    return known and _has_check_digit(digits)


def _has_issuer(digits: str, issuers: Iterable[tuple[str, str, frozenset[int]]]) -> bool:
    return any(len(digits) in lengths and first <= digits[: len(first)] <= last for first, last, lengths in issuers)


def _has_check_digit(digits: str) -> bool:
    """Checks the digits by Luhn's formula (ISO/IEC 7812-1). Digits that are all equal belong to nobody."""
    backwards = digits[::-1].encode()
    total = sum(backwards[::2].translate(_VALUES)) + sum(backwards[1::2].translate(_DOUBLES))
    return total % 10 == 0 and len(set(digits)) > 1


def normalised(value: str) -> str:
    return "".join(character for character in value if character.isdigit())
