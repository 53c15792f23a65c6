"""International bank account numbers: country, its length, and the remainder modulo 97 (ISO 13616). Pure."""

from collections.abc import Iterator

from app.privacy.redaction.patterns import after, before, compiled, continues_word

#: Characters of an IBAN by country, from the registry of SWIFT.
LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip
_SEPARATORS = " \u00a0\u202f.\u2011-"
_HEAD = compiled(r"\b[A-Z]{2}[0-9]{2}", any_case=True)


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields where IBANs are, in groups of any size with single separators or without."""
    for match in _HEAD.finditer(text):
        start = match.start()
        length = LENGTHS.get(text[start : start + 2].upper())
        if length is None or before(text, start) == "-" or continues_word(before(text, start)):
            continue
        end = _end(text, start, length)
        if end is not None and is_iban("".join(filter(str.isalnum, text[start:end]))):
            yield start, end


def _end(text: str, start: int, length: int) -> int | None:
    """Returns the end of `length` letters and digits from `start` on, None if there are fewer or a word goes on."""
    place, seen = start, 0
    while seen < length:
        character = text[place : place + 1]
        if character.isascii() and character.isalnum():
            seen += 1
        elif not character or character not in _SEPARATORS or text[place - 1] in _SEPARATORS:
            return None
        place += 1
    return None if continues_word(after(text, place)) else place


def is_iban(characters: str) -> bool:
    """Says whether the country, the length and the check digits are right."""
    upper = characters.upper()
    if LENGTHS.get(upper[:2]) != len(upper) or not upper.isascii() or not upper.isalnum():
        return False
    return int("".join(str(int(character, 36)) for character in upper[4:] + upper[:4])) % 97 == 1


def normalised(value: str) -> str:
    return "".join(filter(str.isalnum, value)).lower()
