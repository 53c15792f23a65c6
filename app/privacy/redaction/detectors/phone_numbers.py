"""Phone numbers: international ones, national ones in a form that says so, and others after a word that does. Pure."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from app.privacy.redaction.patterns import HYPHENS, SPACES, after, before, compiled, continues_word

#: Signs of a form: any digit, one from 1 or from 2, a hyphen or point, any separator, and one that may be missing.
_SIGNS = {
    "#": "[0-9]", "Z": "[1-9]", "N": "[2-9]", "-": f"[{HYPHENS}.]", "_": f"[{SPACES}{HYPHENS}.]",
    "~": f"[{SPACES}{HYPHENS}]?", "(": r"\(", ")": r"\)",
}  # fmt: skip
#: National forms that are unmistakable without the trunk prefix 0.
_FORMS = (
    "(N##)~N##_####", "1_(N##)~N##_####", "N##-N##_####", "1-N##-###-####", "N##/N##-####",  # North America
    "(ZZ)~9####_####", "(ZZ)~####_####",  # Brazil
    "8~(N##)~###_##_##", "8-N##-###-##-##",  # Russia
    "1N#-####-####",  # China
)  # fmt: skip
_MORE = rf"[0-9]{{2,8}}(?:[{SPACES}{HYPHENS}./][0-9]{{2,5}}){{0,4}}"
#: The trunk prefix 0 of most other countries: in brackets, before a separator, or before nine or ten digits.
_TRUNK = (
    rf"\(0Z#{{0,4}}\)[{SPACES}{HYPHENS}/]{{0,2}}{_MORE}",
    rf"\(0\)[{SPACES}]?Z#{{1,4}}[{SPACES}{HYPHENS}/]{{1,3}}{_MORE}",
    rf"\b0[{SPACES}]?Z#{{0,4}}[{SPACES}{HYPHENS}./]{{1,3}}{_MORE}",
    r"\b0Z#{8,9}",
)
#: Words after which any digits in groups are a phone number, in the languages of Europe and East Asia.
_NAMES = (
    r"phone|\btel\b|\btel[eé]f[oó]|telefo|\btél|\bcell\b|\bcell?ular|cell\s?phone|\bfax\b|whats\s?app|\bsms\b|\bfon\b",
    r"\bhotline|\bhelpline|\bdial|\bdesk\b|\b(?:my|his|her|your|our|their)\snumber|\b(?:answer|call|reach)[a-z]*\s(?:at|on)\b",
    r"\b(?:call|text|ring|reach|contact)\s(?:me|us|him|her|them|you)\b",
    r"handy|mobilnummer|rufnummer|\b(?:meine|deine|ihre|unsere)\snummer|\brufen\ssie",
    r"\bportable|\bappele[zr]|\bjoindre|\bmon\snum[ée]ro|\bm[óo]vil|\bmi\snúmero|\bll[áa]m[ae]|\bmio\snumero|\bchiam",
    r"\btelem[óo]vel|\bbel\sme|\bkom[óo]rk|\bnumer\stel",
    r"телефон|\bтел\b|звоните|电话|電話|手机|手機|携帯|号码|전화|휴대폰|☎|📞|📱",
)
#: Words that are about phones only right before a number.
_NAMES_RIGHT_BEFORE = r"\bmobile?(?:\s(?:number|no|nr|phone|is)){0,3}|\bcall|\bcontact|\bkontakt|\bt:|\bwa\.me/?"


def _form(signs: str) -> str:
    pattern = "".join(_SIGNS.get(sign, sign) for sign in signs)
    return pattern if signs.startswith("(") else rf"\b{pattern}"


_EXTENSION = r"(?:[ ]?(?:x|ext\.?|extension)[ ]?[0-9]{1,6})?"
_GAP = rf"[{SPACES}{HYPHENS}()./]{{0,3}}"
_INTERNATIONAL = compiled(rf"(?:\+|\b00|\(\+|\+\()[ ]?[1-9](?:{_GAP}[0-9]){{6,16}}{_EXTENSION}", any_case=True)
_NATIONAL = compiled(
    "(?:"
    + "|".join([*(trunk.replace("Z", "[1-9]").replace("#", "[0-9]") for trunk in _TRUNK), *map(_form, _FORMS)])
    + f"){_EXTENSION}",
    any_case=True,
)
_NAMED = compiled(
    rf"(?:(?:{'|'.join(_NAMES)})[^0-9+]{{0,20}}?|(?:{_NAMES_RIGHT_BEFORE})[^0-9+\pL]{{0,4}})"
    rf"(\(?[0-9](?:[{SPACES}{HYPHENS}()./]{{0,2}}[0-9]){{6,13}}{_EXTENSION})",
    any_case=True,
)
_GROUP = re.compile("[0-9]+")  # one class: nothing to backtrack
#: Dates, addresses of the internet, ISBNs, periods of years, numbers in thousands, US social security numbers.
_NO_PHONE = compiled(
    r"\b[0-3]?[0-9][./-][0-3]?[0-9][./-](?:19|20)[0-9]{2}\b|\b(?:19|20)[0-9]{2}[./-][0-3]?[0-9][./-][0-3]?[0-9]\b"
    r"|^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$|^97[89]|^(?:19|20)[0-9]{2}[/-](?:19|20)[0-9]{2}$|^[0-9]{1,3}(?:\.[0-9]{3})+$"
    r"| 000$|^0?123456789|^0?987654321|^[0-9]{3}-[0-9]{2}-[0-9]{4}$"
)
FEWEST_INTERNATIONAL, MOST_INTERNATIONAL = 8, 15
FEWEST_NATIONAL, MOST_NATIONAL = 9, 12
DIGITS_OF_NORTH_AMERICA = 11
#: Digits of a Unix time in seconds, which begins with 1 from 2001 to 2033.
UNIX_SECONDS = 10
MOST_GROUPS = 6
FEWEST_GROUPS_AFTER_SPACE = 3
_NEARBY = 12
#: Country codes of two digits of ITU's E.164.
_SHORT_CODES = {
    *map(str, (20, 27, *range(30, 35), 36, 39, 40, 41, *range(43, 50), *range(51, 59), *range(60, 67), 81, 82)),
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
    for pattern, group, is_phone in _CHECKED:
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
    groups = _GROUP.findall(number)
    if any(len(group) == 1 for group in groups[2:]) or (len(groups) > 1 and len(groups[-1]) == 1):
        return False
    if number.startswith("+ ") and len(groups) < FEWEST_GROUPS_AFTER_SPACE:  # a sum
        return False
    if not FEWEST_INTERNATIONAL <= len(digits) <= MOST_INTERNATIONAL:
        return False
    if digits[0] in "17":  # North America; Russia and Kazakhstan
        return len(digits) == DIGITS_OF_NORTH_AMERICA and (digits[0] == "7" or digits[1] in "23456789")
    return digits[:2] in _SHORT_CODES or digits[:3] not in _UNASSIGNED


def _is_national(value: str) -> bool:
    number = _number(value)
    if number.count("/") > 1 and number[0] == "0":  # tax numbers
        return False
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
_CHECKED: tuple[tuple[Any, int, Callable[[str], bool]], ...] = (
    (_INTERNATIONAL, 0, _is_international),
    (_NATIONAL, 0, _is_national),
    (_NAMED, 1, _is_named),
)
