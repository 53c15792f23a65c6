"""Phone numbers: international ones, common national forms, and others where a word says so. Pure."""

from collections.abc import Iterator

from app.privacy.redaction.patterns import after, before, compiled

_GAP = r"[ \x{a0}\x{202f}().\x{2011}\x{2013}/-]{0,3}"
_INTERNATIONAL = compiled(rf"(?:\+|\b00)[ ]?[1-9](?:{_GAP}[0-9]){{6,14}}")
_NORTH_AMERICAN = compiled(r"(?:\b1[ .-])?(?:\([2-9][0-9]{2}\)[ -]?|\b[2-9][0-9]{2}[.-])[2-9][0-9]{2}[ .-][0-9]{4}\b")
_TRUNK = compiled(
    r"(?:\(0[1-9][0-9]{0,4}\)|\b0[1-9][0-9]{0,4})[ \x{a0}./-]{1,3}[0-9]{2,8}(?:[ \x{a0}.-][0-9]{2,5}){0,4}\b"
)
_NAMED = compiled(
    r"(?:\b(?:tele?(?:ph)?(?:one?|fone?|fon)?|phone|mobile?|cell(?:ulare?)?|handy|fax|whatsapp|signal|sms|call|ring|text"
    r"|rufen?|appel(?:ez|er)?|llam(?:a|e|ame|ar)|tél(?:éphone)?|portable|tel[ée]fono|m[óo]vil|celular|numero|número|numéro"
    r"|nummer)|телефон|тел|电话|手机|電話|携帯|전화|☎|📞)[^0-9+\n]{0,24}?(\(?[0-9](?:[ \x{a0}().\x{2011}\x{2013}/-]{0,2}[0-9]){6,14})",
    any_case=True,
)
FEWEST, MOST = 7, 15


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields where phone numbers are, each place once."""
    found = sorted(
        span
        for pattern, check in ((_INTERNATIONAL, _is_international), (_NORTH_AMERICAN, _is_plain), (_TRUNK, _is_trunk))
        for match in pattern.finditer(text)
        if check(text, *(span := match.span()))
    )
    found += [match.span(1) for match in _NAMED.finditer(text) if _is_named(text, *match.span(1))]
    last = -1
    for start, end in sorted(found):
        if start >= last:
            yield start, end
            last = end


def _ends_well(text: str, start: int, end: int) -> bool:
    left, right = before(text, start), after(text, end)
    if left.isalnum() or left in "_.$€£#/=&-" or right.isalnum() or right in "_%$€£":
        return False
    return not (right in ".,-/" and after(text, end + 1).isdigit())


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _is_international(text: str, start: int, end: int) -> bool:
    digits = _digits(text[start:end]).removeprefix("00")
    return FEWEST < len(digits) <= MOST and _ends_well(text, start, end)


def _is_plain(text: str, start: int, end: int) -> bool:
    return _ends_well(text, start, end)


def _is_trunk(text: str, start: int, end: int) -> bool:
    return 9 <= len(_digits(text[start:end])) <= 12 and _ends_well(text, start, end)


def _is_named(text: str, start: int, end: int) -> bool:
    return _ends_well(text, start, end)


def normalised(value: str) -> str:
    """Returns the digits with the country's code, without the zero that is only dialled within the country."""
    text = value.replace("(0)", "")
    return _digits(text).removeprefix("00")
