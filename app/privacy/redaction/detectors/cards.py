"""Numbers of payment cards: known issuers and lengths, usual grouping, and the check digit of Luhn. Pure."""

from collections.abc import Iterator

from app.privacy.redaction.patterns import after, before, compiled

_SEPARATORS = " \u00a0\u2009\u202f.\u2010\u2011\u2013-"
_RUN = compiled(rf"[0-9](?:[{_SEPARATORS}]?[0-9])+")
_GROUP = compiled(r"[0-9]+")
FEWEST, MOST = 14, 19
#: Groups as they are printed on cards. A number without separators is one group.
_GROUPINGS = ((4, 4, 4, 4, 3), (4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (6, 13), (4, 4, 4, 3))
#: First and last prefix of an issuer, and the lengths of its numbers.
_ISSUERS: tuple[tuple[str, str, frozenset[int]], ...] = (
    ("4", "4", frozenset({16, 19})),  # Visa
    ("51", "55", frozenset({16})),  # Mastercard
    ("2221", "2720", frozenset({16})),  # Mastercard
    ("34", "34", frozenset({15})),  # American Express
    ("37", "37", frozenset({15})),
    ("6011", "6011", frozenset({16, 19})),  # Discover
    ("644", "659", frozenset({16, 19})),
    ("300", "305", frozenset({14})),  # Diners Club
    ("3095", "3095", frozenset({14})),
    ("36", "36", frozenset({14})),
    ("38", "39", frozenset({14})),
    ("3528", "3589", frozenset({16, 19})),  # JCB
    ("62", "62", frozenset({16, 17, 18, 19})),  # UnionPay
    ("81", "82", frozenset({16})),  # UnionPay, RuPay
    ("508", "508", frozenset({16})),  # RuPay
    ("2200", "2204", frozenset({16, 19})),  # Mir
    ("5018", "5018", frozenset({16, 18, 19})),  # Maestro
    ("5020", "5020", frozenset({16, 18, 19})),
    ("5038", "5038", frozenset({16, 18, 19})),
    ("5893", "5893", frozenset({16, 18, 19})),
    ("6304", "6304", frozenset({16, 18, 19})),
    ("6759", "6763", frozenset({16, 18, 19})),
    ("5060", "5061", frozenset({16, 18, 19})),  # Verve
    ("9792", "9792", frozenset({16})),  # Troy
)
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields where card numbers are."""
    for run in _RUN.finditer(text):
        start, end = run.span()
        if end - start >= FEWEST and not _continues(text, start, end):
            yield from _in_run(text, start, end)


def _continues(text: str, start: int, end: int) -> bool:
    """Says whether the digits are part of a word or of a decimal number."""
    left, right = before(text, start), after(text, end)
    return left.isalnum() or left in "_.$€£#" or right.isalnum() or right in "_%"


def _in_run(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    groups = [(start + group.start(), start + group.end()) for group in _GROUP.finditer(text[start:end])]
    number = 0
    while number < len(groups):
        size = _groups_of_card(text, groups, number)
        if size:
            yield groups[number][0], groups[number + size - 1][1]
        number += size or 1


def _groups_of_card(text: str, groups: list[tuple[int, int]], first: int) -> int:
    """Returns how many groups from the first on are a card number, 0 if none."""
    start, end = groups[first]
    if end - start > 6:
        return int(FEWEST <= end - start <= MOST and is_card(text[start:end]))
    if end - start < 4:
        return 0
    for grouping in _GROUPINGS:
        chosen = groups[first : first + len(grouping)]
        if tuple(end - start for start, end in chosen) != grouping:
            continue
        between = {text[left[1] : right[0]] for left, right in zip(chosen, chosen[1:], strict=False)}
        if len(between) == 1 and is_card("".join(text[start:end] for start, end in chosen)):
            return len(grouping)
    return 0


def is_card(digits: str) -> bool:
    """Says whether an issuer has numbers of this prefix and length, and the check digit is right."""
    return any(
        len(digits) in lengths and first <= digits[: len(first)] <= last for first, last, lengths in _ISSUERS
    ) and _has_check_digit(digits)


def _has_check_digit(digits: str) -> bool:
    """Checks the digits by Luhn's formula (ISO/IEC 7812-1). Digits that are all equal belong to nobody."""
    values = [int(digit) for digit in reversed(digits)]
    total = sum(values[::2]) + sum(_DOUBLED[value] for value in values[1::2])
    return total % 10 == 0 and len(set(values)) > 1


def normalised(value: str) -> str:
    return "".join(character for character in value if character.isdigit())
