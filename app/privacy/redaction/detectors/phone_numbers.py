"""Phone numbers: international ones, national ones in a form that says so, and others after a word that does. Pure."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from app.privacy.redaction.patterns import HYPHENS, SPACES, after, before, compiled, continues_word

_GAP = rf"[{SPACES}{HYPHENS}()./]{{0,3}}"
_BETWEEN = rf"[{SPACES}{HYPHENS}]"
_EXTENSION = r"(?:[ ]?(?:x|ext\.?|extension)[ ]?[0-9]{1,6})?"
_INTERNATIONAL = compiled(rf"(?:\+|\b00|\(\+|\+\()[ ]?[1-9](?:{_GAP}[0-9]){{6,16}}{_EXTENSION}", any_case=True)
_MORE = rf"[0-9]{{2,8}}(?:[{SPACES}{HYPHENS}./][0-9]{{2,5}}){{0,4}}"
_LINE = rf"[2-9][0-9]{{2}}[{SPACES}{HYPHENS}.][0-9]{{4}}"
_NATIONAL = compiled(
    "(?:"
    + "|".join(
        (
            # The trunk prefix 0, in brackets, before a separator, or before nine or ten digits.
            rf"\(0[1-9][0-9]{{0,4}}\)[{SPACES}{HYPHENS}/]{{0,2}}{_MORE}",
            rf"\b0[1-9][0-9]{{0,4}}[{SPACES}{HYPHENS}./]{{1,3}}{_MORE}",
            r"\b0[1-9][0-9]{8,9}",
            # An area in brackets, or hyphens or points: North America.
            rf"(?:\b1[{SPACES}{HYPHENS}.])?\([2-9][0-9]{{2}}\){_BETWEEN}?{_LINE}",
            rf"\b[2-9][0-9]{{2}}[{HYPHENS}.]{_LINE}",
            rf"\b1[{HYPHENS}.][2-9][0-9]{{2}}[{HYPHENS}.][0-9]{{3}}[{HYPHENS}.][0-9]{{4}}",
            # Brazil; Russia with its trunk prefix 8.
            rf"\([1-9][1-9]\)[{SPACES}]?9?[0-9]{{4}}{_BETWEEN}[0-9]{{4}}",
            rf"\b8{_BETWEEN}?\([3-9][0-9]{{2}}\){_BETWEEN}?[0-9]{{3}}{_BETWEEN}[0-9]{{2}}{_BETWEEN}[0-9]{{2}}",
        )
    )
    + f"){_EXTENSION}",
    any_case=True,
)
#: Words after which any digits in groups are a phone number, in the languages of Europe and East Asia.
_NAMES = "|".join(
    (
        r"phone|\btel\b|\btel[eé]f[oó]|telefo|\btél|mobil|\bcell\b|\bcell?ular|cell\s?phone|\bfax\b|whats\s?app|\bsms\b",
        r"\bhotline|\bhelpline|\bdial|\bdesk\b|\bmy number|\b(?:answer|call|reach)[a-z]*\s(?:at|on)\b",
        r"\b(?:call|text|ring|reach|contact)\s(?:me|us|him|her|them|you)\b",
        r"handy|rufnummer|\b(?:meine|deine|ihre|unsere)\snummer|\brufen\ssie",
        r"\bportable|\bappele[zr]|\bjoindre|\bmon\snum[ée]ro|\bm[óo]vil|\bmi\snúmero|\bll[áa]m[ae]|\bmio\snumero|\bchiam",
        r"\btelem[óo]vel|\bbel\sme|\bkom[óo]rk|\bnumer\stel",
        r"телефон|\bтел\b|звоните|电话|電話|手机|手機|携帯|号码|전화|휴대폰|☎|📞|📱",
    )
)
_NAMED = compiled(
    rf"(?:{_NAMES})[^0-9+]{{0,20}}?(\(?[0-9](?:[{SPACES}{HYPHENS}()./]{{0,2}}[0-9]){{6,13}}{_EXTENSION})", any_case=True
)
_GROUP = re.compile("[0-9]+")  # one class: nothing to backtrack
#: Dates, addresses of the internet, ISBNs, periods of years, numbers in thousands, US social security numbers.
_NO_PHONE = compiled(
    r"\b[0-3]?[0-9][./-][0-3]?[0-9][./-](?:19|20)[0-9]{2}\b|\b(?:19|20)[0-9]{2}[./-][0-3]?[0-9][./-][0-3]?[0-9]\b"
    r"|^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$|^97[89]|^(?:19|20)[0-9]{2}[/-](?:19|20)[0-9]{2}$|^[0-9]{1,3}(?:\.[0-9]{3})+$"
    r"| 000$|^0?123456789|^[0-9]{3}-[0-9]{2}-[0-9]{4}$"
)
FEWEST_INTERNATIONAL, MOST_INTERNATIONAL = 8, 15
FEWEST_NATIONAL, MOST_NATIONAL = 9, 12
#: Digits of a Unix time in seconds, which begins with 1 from 2001 to 2033.
UNIX_SECONDS = 10
MOST_GROUPS = 6
_NEARBY = 12
#: Country codes of one and two digits of ITU's E.164.
_SHORT_CODES = {
    *map(str, (1, 7, 20, 27, *range(30, 35), 36, 39, 40, 41, *range(43, 50), *range(51, 59), *range(60, 67), 81, 82)),
    *map(str, (84, 86, *range(90, 96), 98)),
}
#: Codes of three digits that no country has.
_UNASSIGNED = {
    *map(str, (210, 214, 215, 217, 219, 259, *range(280, 290), *range(292, 297), 384, 388, 422, *range(424, 430))),
    *map(str, (*range(693, 700), *range(801, 808), 809, 854, 857, 858, 859, *range(871, 878), 879, 884, 885, 887, 889)),
    *map(str, (978, 990, 997, 999)),
}


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields where phone numbers are; a number that several forms fit is yielded for each of them."""
    for pattern, group, is_phone in _FORMS:
        for match in pattern.finditer(text):
            start, end = match.span(group)
            if is_phone(text[start:end]) and _stands_alone(text, start, end):
                yield _without_open_bracket(text, start, end), end


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Says whether no word, sum, identifier or longer number goes on at either end."""
    left, right = before(text, start), after(text, end)
    if continues_word(left) or left in ".$€£#/&%-" or continues_word(right) or right in "%$€£":
        return False
    if right == "-" and text[end + 1 : end + 3].isupper():  # 1-800-FLOWERS
        return False
    if "isbn" in text[max(0, start - _NEARBY) : start].lower():
        return False
    if right in ".,-/: \u00a0" and after(text, end + 1).isdigit() and (right != " " or after(text, end + 2).isdigit()):
        return False
    return not (left in " ,:" and before(text, start - 1).isdigit() and text[start] != "+")


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _number(value: str) -> str:
    """Returns a value without its extension, which begins with a letter."""
    return value.lower().partition("e")[0].partition("x")[0]


def _is_international(value: str) -> bool:
    number = _number(value).replace("(0)", "")
    digits = _digits(number).removeprefix("00")
    if any(len(group) == 1 for group in _GROUP.findall(number)[2:]):
        return False
    if not FEWEST_INTERNATIONAL <= len(digits) <= MOST_INTERNATIONAL:
        return False
    return digits[0] in "17" or digits[:2] in _SHORT_CODES or digits[:3] not in _UNASSIGNED


def _is_national(value: str) -> bool:
    number = _number(value)
    return FEWEST_NATIONAL <= len(_digits(number)) <= MOST_NATIONAL and not _NO_PHONE.search(number)


def _is_named(value: str) -> bool:
    """Says whether the digits are in groups like those of a phone: only the first may be a single digit."""
    number = _number(value)
    groups = _GROUP.findall(number)
    if len(groups) > MOST_GROUPS or any(len(group) == 1 for group in groups[1:]) or groups[0] == "0":
        return False
    digits = "".join(groups)
    if len(groups) == 1 and (len(digits) > MOST_NATIONAL or (digits[0] == "1" and len(digits) == UNIX_SECONDS)):
        return False
    return len(set(digits)) > 1 and not _NO_PHONE.search(number)


def _without_open_bracket(text: str, start: int, end: int) -> int:
    value = text[start:end]
    return start + (value[0] == "(" and value.count("(") > value.count(")"))


def normalised(value: str) -> str:
    """Returns the digits with the code of the country, without the zero that is only dialled at home."""
    return _digits(value.replace("(0)", "")).removeprefix("00")


#: Each form as a pattern, the group of it that is the number, and a check of what the pattern cannot say.
_FORMS: tuple[tuple[Any, int, Callable[[str], bool]], ...] = (
    (_INTERNATIONAL, 0, _is_international),
    (_NATIONAL, 0, _is_national),
    (_NAMED, 1, _is_named),
)
