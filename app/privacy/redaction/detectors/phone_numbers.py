"""Phone numbers: international ones, national ones in a form that says so, and others after a word that does. Pure."""

from collections.abc import Iterator

from app.privacy.redaction.patterns import HYPHENS, SPACES, after, before, compiled, continues_word

_GAP = rf"[{SPACES}{HYPHENS}()./]{{0,3}}"
_INTERNATIONAL = compiled(rf"(?:\+|\b00|\(\+|\+\()[ ]?[1-9](?:{_GAP}[0-9]){{6,16}}")
#: The trunk prefix 0, or 8 in Russia; an area in brackets; the hyphens and points of North America.
_NATIONAL = compiled(
    rf"\(0[1-9][0-9]{{0,4}}\)[{SPACES}{HYPHENS}/]{{0,2}}[0-9]{{2,8}}(?:[{SPACES}{HYPHENS}][0-9]{{2,5}}){{0,4}}"
    rf"|\b0[1-9][0-9]{{0,4}}[{SPACES}{HYPHENS}./]{{1,3}}[0-9]{{2,8}}(?:[{SPACES}{HYPHENS}.][0-9]{{2,5}}){{0,4}}"
    rf"|\b(?:1[{SPACES}{HYPHENS}.])?\([2-9][0-9]{{2}}\)[{SPACES}{HYPHENS}]?[2-9][0-9]{{2}}[{SPACES}{HYPHENS}.][0-9]{{4}}"
    rf"|\([2-9][0-9]{{2}}\)[{SPACES}{HYPHENS}]?[2-9][0-9]{{2}}[{SPACES}{HYPHENS}.][0-9]{{4}}"
    rf"|\b(?:1[{HYPHENS}.])?[2-9][0-9]{{2}}[{HYPHENS}.][2-9][0-9]{{2}}[{HYPHENS}.][0-9]{{4}}"
    rf"|\([1-9][1-9]\)[{SPACES}]?9?[0-9]{{4}}[{SPACES}{HYPHENS}][0-9]{{4}}"
    rf"|\b8[{SPACES}{HYPHENS}]?\([3-9][0-9]{{2}}\)[{SPACES}{HYPHENS}]?[0-9]{{3}}[{SPACES}{HYPHENS}][0-9]{{2}}[{SPACES}{HYPHENS}][0-9]{{2}}"
)
_NAMES = (
    r"\b(?:tele)?phone?s?(?:\s?(?:number|no))?|\bphones?(?:\s?(?:number|no))?|\btel|\bmobile?(?:\s(?:number|no))?|\bcell(?:ular|ulare|phone)?(?:\snumber)?"
    r"|\bfax|\bwhats?app|\bsignal|\bsms|\bhotline|\bhelpline|\bextension"
    r"|\b(?:call|text|ring|reach|phone|contact|dial)\s(?:me|us|him|her|them|you)|\bdial|\bmy number|\bnumber is"
    r"|telefon(?:nummer|o|e)?|handy(?:nummer)?|\bmobilnummer|\bmobil|rufnummer|\b(?:meine|deine|ihre|unsere) nummer|\brufen sie"
    r"|\btéléphone|\btél|\bportable|\bappele[zr]|\bjoindre|\bmon numéro|\bteléfono|\bm[óo]vil|\bcelular|\bmi número|\bll[áa]m[ae](?:me)?"
    r"|\bcellulare|\bmio numero|\bchiamami|\btelem[óo]vel|\btelefoonnummer|\bbel me|\bkom[óo]rk\w+|\bnumer telefonu"
    r"|телефон\w*|\bтел|номер телефона|звоните|позвоните|电话|手机|電話|携帯|전화|휴대폰|☎|📞|📱"
)
_NAMED = compiled(
    rf"(?:{_NAMES})[^0-9+\n]{{0,20}}?(\(?[0-9](?:[{SPACES}{HYPHENS}().]{{0,2}}[0-9]){{6,13}})", any_case=True
)
_GROUP = compiled(r"[0-9]+")
#: Dates, addresses of the internet, ISBNs, periods of years, numbers in thousands.
_NO_PHONE = compiled(
    r"\b[0-3]?[0-9][./-][0-3]?[0-9][./-](?:19|20)[0-9]{2}\b|\b(?:19|20)[0-9]{2}[./-][0-3]?[0-9][./-][0-3]?[0-9]\b"
    r"|^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$|^97[89]|^(?:19|20)[0-9]{2}[/-](?:19|20)[0-9]{2}$|^[0-9]{1,3}(?:\.[0-9]{3})+$| 000$"
)
FEWEST, MOST = 7, 15
FEWEST_INTERNATIONAL = 8
FEWEST_NATIONAL, MOST_NATIONAL = 9, 12
#: Country codes of ITU's E.164 with one and two digits; others have three.
_SHORT_CODES = frozenset(
    "1 7 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86"
    " 90 91 92 93 94 95 98".split()
)
_UNASSIGNED = frozenset(
    "210 214 215 217 219 259 280 281 282 283 284 285 286 287 288 289 292 293 294 295 296 384 388 422 424 425 426 427 428"
    " 429 693 694 695 696 697 698 699 801 802 803 804 805 806 807 809 854 857 858 859 871 872 873 874 875 876 877 879 884"
    " 885 887 889 978 990 997 999".split()
)


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields where phone numbers are, sorted and without overlaps."""
    found = [span for span in _of(_INTERNATIONAL, text) if _is_international(text, *span)]
    found += [span for span in _of(_NATIONAL, text) if _is_national(text, *span)]
    found += [match.span(1) for match in _NAMED.finditer(text) if _is_named(text, *match.span(1))]
    last = -1
    for start, end in sorted(found, key=lambda span: (span[0], -span[1])):
        if start >= last:
            yield _without_open_bracket(text, start, end), end
            last = end


def _of(pattern: object, text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in pattern.finditer(text))  # type: ignore[attr-defined]


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Says whether no word, sum, identifier or longer number goes on at either end."""
    left, right = before(text, start), after(text, end)
    if continues_word(left) or left in ".$€£#/=&%-" or continues_word(right) or right in "%$€£":
        return False
    if right in ".,-/: \u00a0" and after(text, end + 1).isdigit() and (right != " " or after(text, end + 2).isdigit()):
        return False
    return not (left in " ,:" and before(text, start - 1).isdigit() and text[start] != "+")


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _is_international(text: str, start: int, end: int) -> bool:
    digits = _digits(text[start:end]).removeprefix("00").lstrip("(+ ")
    if not FEWEST_INTERNATIONAL <= len(digits.replace("(0)", "")) <= MOST + 1 or not _stands_alone(text, start, end):
        return False
    return digits[0] in "17" or digits[:2] in _SHORT_CODES or digits[:3] not in _UNASSIGNED


def _is_national(text: str, start: int, end: int) -> bool:
    number = text[start:end]
    return (
        FEWEST_NATIONAL <= len(_digits(number)) <= MOST_NATIONAL
        and _stands_alone(text, start, end)
        and not _NO_PHONE.search(number)
    )


def _is_named(text: str, start: int, end: int) -> bool:
    """Says whether the digits are in groups like those of a phone: only the first may be a single digit."""
    number = text[start:end]
    groups = _GROUP.findall(number)
    if len(groups) > 6 or any(len(group) == 1 for group in groups[1:]) or groups[0] == "0":
        return False
    digits = "".join(groups)
    if len(groups) == 1 and (len(digits) > MOST_NATIONAL or len(digits) < FEWEST or digits[0] == "1" and len(digits) != 11):
        return False
    return len(set(digits)) > 1 and _stands_alone(text, start, end) and not _NO_PHONE.search(number)


def _without_open_bracket(text: str, start: int, end: int) -> int:
    return start + (text[start] == "(" and ")" not in text[start:end])


def normalised(value: str) -> str:
    """Returns the digits with the code of the country, without the zero that is only dialled at home."""
    return _digits(value.replace("(0)", "")).removeprefix("00")
