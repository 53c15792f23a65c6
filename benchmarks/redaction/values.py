"""Values of each kind, made at random with right checksums, and their spellings. Shares no code with the detectors."""

import base64
import json
import zlib
from collections.abc import Callable, Sequence
from random import Random

DIGITS, UPPER, LOWER = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz"
HEX, BASE62 = "0123456789abcdef", DIGITS + UPPER + LOWER
BASE64URL = BASE62 + "-_"

FIRST = (
    "anna", "ben", "carla", "david", "eva", "femi", "grace", "hiro", "ines", "jonas", "karim", "lena", "marco",
    "nadia", "olu", "priya", "raj", "sofia", "tom", "yuki",
)  # fmt: skip
LAST = (
    "müller", "smith", "garcia", "rossi", "dubois", "kowalski", "tanaka", "silva", "okafor", "janssen", "novak",
    "sharma", "lindqvist", "o'brien", "wang",
)  # fmt: skip
HOSTS = (
    "gmail.com", "outlook.com", "gmx.de", "web.de", "orange.fr", "libero.it", "yahoo.co.jp", "mail.ru", "qq.com",
    "acme.io", "sub.dept.example.org", "uni-münchen.de", "xn--mnchen-3ya.de", "example.museum", "startup.ai",
    "firma.co.at", "корпорация.рф", "例子.广告", "stadt.hamburg",
)  # fmt: skip

#: Account numbers of banks by country: a digit for 9, a capital letter for A, either for C.
ACCOUNTS = {
    "DE": "9" * 18, "FR": "9" * 10 + "C" * 11 + "99", "GB": "AAAA" + "9" * 14, "NL": "AAAA" + "9" * 10, "ES": "9" * 20,
    "IT": "A" + "9" * 10 + "C" * 12, "AT": "9" * 16, "CH": "99999" + "C" * 12, "BE": "9" * 12, "PL": "9" * 24,
    "PT": "9" * 21, "SE": "9" * 20, "NO": "9" * 11, "MT": "AAAA99999" + "C" * 18, "IE": "AAAA" + "9" * 14,
    "TR": "99999" + "0" + "C" * 16, "SA": "99" + "C" * 18, "LV": "AAAA" + "C" * 13, "UA": "999999" + "C" * 19,
}  # fmt: skip

#: Issuer's prefix, length and grouping.
CARDS = (
    ("4", 16, (4, 4, 4, 4)), ("51", 16, (4, 4, 4, 4)), ("55", 16, (4, 4, 4, 4)), ("2223", 16, (4, 4, 4, 4)),
    ("34", 15, (4, 6, 5)), ("37", 15, (4, 6, 5)), ("6011", 16, (4, 4, 4, 4)), ("65", 16, (4, 4, 4, 4)),
    ("36", 14, (4, 6, 4)), ("3530", 16, (4, 4, 4, 4)), ("62", 19, (6, 13)), ("62", 16, (4, 4, 4, 4)),
)  # fmt: skip


def of(alphabet: str, count: int, random: Random) -> str:
    return "".join(random.choices(alphabet, k=count))


def email(random: Random) -> str:
    first, last, host = random.choice(FIRST), random.choice(LAST), random.choice(HOSTS)
    local = random.choice(
        [f"{first}.{last}", f"{first}", f"{first[0]}{last}", f"{first}_{last}{random.randrange(100)}", f"{first}+news",
         f"{first}.{last}+{random.randrange(1000)}", f"{first}-{last}", f"{last}{random.randrange(1950, 2010)}",
         f"info.{first}", "иван.петров", "用户"]
    )  # fmt: skip
    address = f"{local}@{host}"
    return random.choice([address, address, address, address.upper() if address.isascii() else address])


def phone(patterns: Sequence[str]) -> Callable[[Random], str]:
    """Returns a maker of numbers: in a pattern, N is a digit from 2 to 9 and # any."""

    def value(random: Random) -> str:
        pattern = random.choice(patterns)
        digits = {"#": DIGITS, "N": "23456789"}
        return "".join(random.choice(digits[sign]) if sign in digits else sign for sign in pattern)

    return value


def card_digits(prefix: str, length: int, random: Random) -> str:
    """Returns a card number: its last digit makes the sum, with every second digit from the right doubled, end in 0."""
    body = prefix + of(DIGITS, length - len(prefix) - 1, random)
    total = 0
    for place, digit in enumerate(reversed(body)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled // 10 + doubled % 10
    return body + str(-total % 10)


def grouped(text: str, sizes: tuple[int, ...], separator: str) -> str:
    parts, start = [], 0
    for size in sizes:
        parts.append(text[start : start + size])
        start += size
    return separator.join(part for part in parts if part)


def card(random: Random) -> str:
    prefix, length, sizes = random.choice(CARDS)
    return grouped(card_digits(prefix, length, random), sizes, random.choice(["", " ", " ", "-"]))


def typed_card(random: Random) -> str:
    """Returns a card number with groups of any kind, or of an issuer that is rare."""
    rare = card_digits(random.choice(["5018", "6304", "6761", "2202", "508", "36", "38"]), 16, random)
    common = card_digits(random.choice(["4", "52", "2300", "6011"]), 16, random)
    sizes = random.choice([(4, 8, 4), (8, 8), (4, 4, 4, 4), (2,) * 8, (6, 10), (16,)])
    return grouped(random.choice([common, common, rare]), sizes, random.choice([" ", "-", ".", " - "]))


def iban_characters(random: Random) -> str:
    country = random.choice(list(ACCOUNTS))
    alphabets = {"9": DIGITS, "A": UPPER, "C": UPPER + DIGITS, "0": "0"}
    account = "".join(random.choice(alphabets[sign]) for sign in ACCOUNTS[country])
    number = ""
    for character in f"{account}{country}00":
        number += str(ord(character) - 55) if character.isalpha() else character
    return f"{country}{98 - int(number) % 97:02d}{account}"


def iban(random: Random) -> str:
    characters = iban_characters(random)
    sizes = (4,) * 9
    spelled = random.choice([characters, grouped(characters, sizes, " "), grouped(characters, sizes, " "),
                             grouped(characters, sizes, "-"), characters.lower()])  # fmt: skip
    return spelled.rstrip(" -")


def with_crc32(prefix: str, random: Random) -> str:
    """Returns a token as GitHub describes it: 30 characters, then the CRC32 of them in base 62."""
    body = of(BASE62, 30, random)
    rest, check = zlib.crc32(body.encode()), ""
    while rest:
        check, rest = BASE62[rest % 62] + check, rest // 62
    return prefix + body + check.rjust(6, "0")


def api_key(random: Random) -> str:
    def hexadecimal(count: int) -> str:
        return of(HEX, count, random)

    def letters(count: int) -> str:
        return of(BASE62, count, random)

    def url_safe(count: int) -> str:
        return of(BASE64URL, count - 1, random) + random.choice(BASE62)

    makers: list[Callable[[], str]] = [
        lambda: with_crc32(random.choice(["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "npm_"]), random),
        lambda: f"github_pat_{letters(22)}_{letters(59)}",
        lambda: f"sk-{letters(20)}T3BlbkFJ{letters(20)}",
        lambda: f"sk-proj-{url_safe(74)}T3BlbkFJ{url_safe(74)}",
        lambda: f"sk-ant-api03-{url_safe(93)}AA",
        lambda: f"AKIA{of(UPPER + '234567', 16, random)}",
        lambda: f"AIza{url_safe(35)}",
        lambda: f"glpat-{url_safe(20)}",
        lambda: f"hf_{of(UPPER + LOWER, 34, random)}",
        lambda: f"SG.{url_safe(22)}.{url_safe(43)}",
        lambda: f"{random.choice(['sk', 'rk'])}_{random.choice(['live', 'test'])}_{letters(24)}",
        lambda: f"xoxb-{of(DIGITS, 12, random)}-{of(DIGITS, 13, random)}-{letters(24)}",
        lambda: f"gsk_{letters(52)}",
        lambda: f"dop_v1_{hexadecimal(64)}",
        lambda: f"shpat_{hexadecimal(32)}",
        lambda: f"{of(DIGITS[1:], 10, random)}:AA{url_safe(33)}",
        lambda: f"https://hooks.slack.com/services/T{of(UPPER, 10, random)}/B{of(UPPER, 10, random)}/{letters(24)}",
        lambda: f"pypi-AgEIcHlwaS5vcmc{url_safe(120)}",
        lambda: f"GOCSPX-{url_safe(28)}",
        lambda: f"tw_{url_safe(43)}",
    ]
    return random.choice(makers)()


def private_key(random: Random) -> str:
    name = random.choice(["RSA PRIVATE KEY", "PRIVATE KEY", "OPENSSH PRIVATE KEY", "EC PRIVATE KEY"])
    lines = [of(BASE62 + "+/", 64, random) for _ in range(random.randrange(2, 12))]
    return random.choice(["\n", "\n", "\\n"]).join([f"-----BEGIN {name}-----", *lines, f"-----END {name}-----"])


def encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def jwt(random: Random) -> str:
    header = {"alg": random.choice(["HS256", "RS256", "ES256", "EdDSA"]), "typ": "JWT"}
    payload = {"sub": of(DIGITS, 10, random), "name": random.choice(FIRST), "iat": random.randrange(10**9, 2 * 10**9)}
    return f"{encoded(header)}.{encoded(payload)}.{of(BASE64URL, 43, random)}"


def password(random: Random) -> str:
    word = random.choice(
        ["Sommer", "hunter", "Dragon", "blueSky", "tr0ub4dor", "pa55w0rt", "Liverpool", "correcthorse"]
    )
    return random.choice([f"{word}{random.randrange(10, 3000)}{random.choice(['!', '#', '', '$', '?!x'])}",
                          of(BASE62 + "!#%*+-_", random.randrange(10, 20), random) + "7a"])  # fmt: skip


def token(random: Random) -> str:
    return random.choice(
        [of(HEX, 32, random), of(HEX, 40, random), of(BASE62, 32, random), of(BASE64URL, 43, random) + "4x"]
    )


def credentials(random: Random) -> str:
    return f"{random.choice(FIRST)}:{of(BASE62 + '!%_-', random.randrange(8, 20), random)}"


def ip_address(random: Random) -> str:
    while True:
        octets = [random.randrange(1, 224), *(random.randrange(256) for _ in range(3))]
        special = octets[0] in (10, 127, 192, 198, 203, 172, 169, 100) or max(octets) < 100
        if not special:
            break
    sixth = ":".join(["2a02", *(f"{random.randrange(1, 65536):x}" for _ in range(7))])
    return random.choice([".".join(map(str, octets)), ".".join(map(str, octets)), sixth])
