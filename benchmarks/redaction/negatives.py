"""Texts that look like personal data or secrets but are none, made at random. Shares no code with the detectors."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from benchmarks.redaction import values
from benchmarks.redaction.values import BASE62, DIGITS, HEX, UPPER, of

_TIMES = (
    "%d.%m.%Y %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y%m%d%H%M%S",
    "%d-%m-%Y",
    "%Y-%m-%dT%H:%M:%S.%fZ",
)
_ORDERS = ("order", "Bestellung", "commande", "invoice no.", "ticket #", "SKU", "ref", "case", "Rechnung", "customer")


def _when(random: Random) -> datetime:
    return datetime(2015, 1, 1) + timedelta(seconds=random.randrange(12 * 365 * 86400))  # noqa: DTZ001


def _number(random: Random, fewest: int = 7, most: int = 18) -> str:
    return of(DIGITS[1:], 1, random) + of(DIGITS, random.randrange(fewest - 1, most), random)


def _between(random: Random, *bounds: int) -> str:
    """Returns numbers below each bound, joined by points."""
    return ".".join(str(random.randrange(bound)) for bound in bounds)


def _changed(text: str, random: Random) -> str:
    """Returns the text with another digit in place of one, so that a checksum is wrong."""
    place = random.choice([place for place, character in enumerate(text) if character.isdigit() and place > 1])
    return text[:place] + str((int(text[place]) + random.randrange(1, 9)) % 10) + text[place + 1 :]


def _order(random: Random) -> str:
    padded = "000" + of(DIGITS, random.randrange(4, 9), random)
    lettered = of(UPPER, 2, random) + "-" + of(DIGITS, random.randrange(6, 12), random)
    return f"{random.choice(_ORDERS)} {random.choice([_number(random), _number(random), padded, lettered])}"


def _isbn(random: Random) -> str:
    body = "978" + of(DIGITS, 9, random)
    check = -sum(int(digit) * (1, 3)[place % 2] for place, digit in enumerate(body)) % 10
    short = "0" + of(DIGITS, 8, random)
    last = -sum(int(digit) * (10 - place) for place, digit in enumerate(short)) % 11
    last_sign = "X" if last == 10 else str(last)
    return "ISBN " + random.choice(
        [
            f"{body[:3]}-{body[3]}-{body[4:8]}-{body[8:]}-{check}",
            f"{body}{check}",
            f"{short[0]}-{short[1:4]}-{short[4:]}-{last_sign}",
            f"{short}{last_sign}",
        ]
    )


def _time(random: Random) -> str:
    return _when(random).strftime(random.choice(_TIMES))


def _unix_time(random: Random) -> str:
    seconds = _when(random).timestamp()
    return random.choice([f"{seconds:.0f}", f"{seconds * 1000:.0f}", f"{seconds:.6f}"])


def _version(random: Random) -> str:
    return random.choice(
        [
            f"v{_between(random, 20, 40, 99)}",
            f"version {_between(random, 9, 20, 30, 90)}",
            "Python 3.11.9, 2.4.1.post1",
            f"Chrome/{random.randrange(90, 140)}.0.{_between(random, 10000, 200)}",
            f"Section {_between(random, 9, 9, 9, 9)}",
            f"Chrome/{random.randrange(90, 140)}.0.0.0",
        ]
    )


def _hash(random: Random) -> str:
    digest = of(HEX, random.choice([7, 32, 40, 64]), random)
    return random.choice(["", "", "sha256:", "commit "]) + digest


def _price(random: Random) -> str:
    cents = f"{random.randrange(100):02d}"
    return random.choice(
        [
            f"${random.randrange(10**6):,}.{cents}",
            f"{random.randrange(10**3)}.{random.randrange(1000):03d},{cents} €",
            f"CHF {random.randrange(10**4)}.-",
            f"EUR {random.randrange(10**9)}",
            f"{random.randrange(10**4, 10**9)} USD",
            f"£{random.randrange(10**7)}",
            f"{random.randrange(1, 999)} 000 000 $",
            f"{_between(random, 999)}.000.000 kr",
        ]
    )


def _private_address(random: Random) -> str:
    return random.choice(
        [
            "127.0.0.1",
            "0.0.0.0",
            f"10.{_between(random, 256)}.0.1",
            f"192.168.{_between(random, 256, 256)}",
            f"192.0.2.{_between(random, 256)}",
            "::1",
            "fe80::1ff:fe23:4567:890a",
            "2001:db8::1",
        ]
    )


def _wrong_key(random: Random) -> str:
    token = values.with_crc32(random.choice(["ghp_", "npm_"]), random)
    return token[:8] + ("a" if token[8] != "a" else "b") + token[9:]


def _handle(random: Random) -> str:
    first, last = random.choice(values.FIRST), random.choice(values.LAST)
    return random.choice([f"@{first}_{random.randrange(100)}", f"@{first}@mastodon.social", f"u/{last}"])


def _science(random: Random) -> str:
    return random.choice(
        [
            rf"\frac{{{random.randrange(10**6)}}}{{{random.randrange(10**6)}}} + \sum_{{i=0}}^{{100}} x_i^{{2}}",
            f"$x = {random.uniform(-1e6, 1e6):.6f}$, p < 0.001, n = {random.randrange(10**7)}",
            f"{random.random():.16f}",
            f"π ≈ 3.14159265358979323846, e ≈ 2.71828182845904523536, run {random.randrange(100)}",
            f"{random.uniform(-90, 90):.6f}, {random.uniform(-180, 180):.6f}",
            f"48° 51' {random.uniform(0, 59):.2f}\" N",
            f"DOI 10.{_number(random, 4, 4)}/s{_number(random, 5, 5)}-021-{_number(random, 5, 5)}-6",
            f"Nature 521, 436-{random.randrange(440, 460)} (2015)",
            f"Phys. Rev. Lett. 116, 0{random.randrange(61100, 61200)}",
            f"1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, {random.randrange(1000)}",
            "0.1 0.25 0.5 0.75 1.0",
            f"{random.randrange(1, 99)} 000 000 km",
            ",".join(_number(random, 3, 3) for _ in range(3)),
        ]
    )


def _score(random: Random) -> str:
    years = f"{random.randrange(1900, 2027)}-{random.randrange(1900, 2027)}"
    return f"{random.randrange(200)}-{random.randrange(200)}, {random.randrange(10)}:{random.randrange(10)}, {years}"


def _registered(random: Random) -> str:
    """Returns a number of another register: articles, works, devices, shares, chemicals, taxes."""
    body = of(DIGITS, 15, random)
    return random.choice(
        [
            f"ISSN {of(DIGITS, 4, random)}-{of(DIGITS, 4, random)}",
            f"https://orcid.org/0000-000{body[0]}-{body[1:5]}-{body[5:9]}",
            f"EAN 40{body[:11]}",
            f"US{body[:10]}",
            f"CAS {body[:5]}-{body[5:7]}-{body[7]}",
            f"IMEI 35{body[:13]}",
            f"DE{body[:9]}",
            f"USt-IdNr. DE{body[:9]}",
            f"Steuernummer {body[:2]}/{body[2:5]}/{body[5:10]}",
            f"BLZ {body[:8]}",
            f"arXiv:24{body[:2]}.{body[2:7]}",
            f"PMID {body[:8]}",
            f"doi:10.1038/s4{body[:4]}-0{body[4:6]}-{body[6:11]}-{body[11]}",
            f"GTIN 0{body[:12]}",
            f"USPS {body[:4]} {body[4:8]} {body[8:12]} {body[3:7]} {body[1:5]} {body[:2]}",
            f"VIN WVWZZZ1JZ{of(UPPER, 2, random)}{body[:6]}",
        ]
    )


def _machine(random: Random) -> str:
    """Returns lines of logs, listings and interfaces of programs."""
    number = _number(random, 9, 12)
    return random.choice(
        [
            f"[{_when(random):%Y-%m-%d %H:%M:%S},{number[:3]}] WARNING pid={number[:5]} took {number[:4]} ms",
            f"@@ -{number[:3]},{number[3]} +{number[4:7]},{number[7]} @@ def main():",
            f"rgb({number[:2]}, {number[2:4]}, {number[4:6]})",
            f"0x{of(HEX, 16, random)}",
            f"{':'.join(of(HEX, 2, random) for _ in range(6))}",
            f"id: {number}, parent: {number[::-1]}",
            f"SELECT * FROM t WHERE id IN ({number[:6]}, {number[3:]})",
            f"data:image/png;base64,{of(BASE62, 120, random)}",
            f"https://acme.io/watch?v={of(BASE62, 11, random)}&t={number[:4]}",
            f"/var/log/app.{number[:8]}.log.gz",
            f"loss={number[0]}.{number[1:]}e-05 step={number[:6]}",
            f"eth0: mtu 1500 inet 10.{number[:2]}.0.7/16",
            f"GET /items/{number} 200 {number[:5]}",
            f"{number[:2]}%|███ | {number[:4]}/{number[:6]} [00:12<01:03, {number[:3]}.5it/s]",
            f"-rw-r--r-- 1 ada staff {number} May 12 09:4{number[0]} notes.txt",
            f"Error code: 0x{of(HEX, 8, random).upper()} (-{number})",
        ]
    )


def _prose(random: Random) -> str:
    """Returns sentences with numbers and with words that also stand before secrets and phones."""
    number = _number(random, 5, 9)
    return random.choice(
        [
            f"In {random.randrange(1500, 2026)} about {int(number):,} people lived there.",
            f"The iPhone {number[0]} costs {number[:4]} euros.",
            f"Your tokens: {number} of {number}000 left this month",
            "Never tell anybody your password!",
            "The secret is to rest the dough.",
            "What is a bearer token and how do I use it?",
            "I forgot my password: what should I do now?",
            "Set a strong password (12+ characters)",
            f"Mobile users: {number}, desktop users: {number[::-1]}",
            f"He called on {random.randrange(1, 29)} May, at {random.randrange(10, 20)}:30.",
            f"Call stack depth: {number}",
            f"We text 2 or 3 times a week, {number[:3]} in all.",
            f"Room 4{number[:2]}, building {number[2:4]}",
            "See example.com/@ada or twitter.com/ada",
            "user@localhost:~$ ls -la",
            "x@y = z@w",
            "Reach level 12 to get 3000 points",
            f"The key to {number[0]}{number[1]} doors",
            "Access key: the Enter key",
            f"phone book of {random.randrange(1950, 2020)}-{random.randrange(1950, 2020)}",
            f"token {number} is not in the vocabulary of 50257 tokens",
            f"contact us 24/7, 365 days, since {random.randrange(1950, 2020)}",
        ]
    )


def makers(code: Sequence[str]) -> Mapping[str, Callable[[Random], str]]:
    """Returns what makes texts of each group; `code` has lines of source code and of its documentation."""
    return {
        "order number": _order,
        "parcel number": lambda r: f"Sendung {of(DIGITS, r.choice([12, 14, 20]), r)} / 1Z{of(BASE62[:36], 16, r)}",
        "ISBN": _isbn,
        "date and time": _time,
        "Unix time": _unix_time,
        "version": _version,
        "hash": _hash,
        "UUID": lambda r: str(UUID(int=r.getrandbits(128), version=4)),
        "price": _price,
        "private address": _private_address,
        "card, wrong digit": lambda r: _changed(values.card(r), r),
        "IBAN, wrong digit": lambda r: _changed(values.iban(r), r),
        "key, wrong checksum": _wrong_key,
        "JWT without a header": lambda r: f"ey{of(BASE62, 30, r)}.{of(BASE62, 40, r)}.{of(BASE62, 40, r)}",
        "handle": _handle,
        "code": lambda r: r.choice(code),
        "science": _science,
        "long number": lambda r: _number(r, 10, 30),
        "digits in groups": lambda r: " ".join(of(DIGITS, r.randrange(1, 5), r) for _ in range(r.randrange(3, 8))),
        "score and years": _score,
        "number of a register": _registered,
        "log or listing": _machine,
        "prose": _prose,
    }
