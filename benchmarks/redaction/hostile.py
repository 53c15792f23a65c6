"""Texts that are made to keep a detector busy: a megabyte each of what begins like a value, over and over."""

BYTES = 1_000_000
_PARTS = {
    "digits": "1", "digits with spaces": "1 ", "groups of a card": "4111 ",
    "cards with a wrong digit": "4111 1111 1111 1112 ",
    "@": "a@", "@ and points": "a@a.", "mail": "a@b.co ", "phones abroad": "+4930123456 ",
    "phones": "0123456789 ", "+": "+",
    "heads of IBANs": "DE89 ", "IBANs with a wrong digit": "DE89 3704 0044 0532 0130 01 ", "heads of tokens": "ey",
    "JWTs": "eyJhbGciOiJI.e30.x ", "begins of keys": "-----BEGIN PRIVATE KEY-----", "passwords": "password=",
    "open quotes": 'password="', "names of phones": "tel ", "names and digits": "tel:1", "URLs": "http://a:b@c ",
    "unfinished URLs": "a://b:", "letters": "x", "heads of API keys": "sk-", "wrong API keys": "ghp_" + "a" * 36 + " ",
    "addresses": "200.1.1.1 ", "parts of addresses": "1.1.1.1.", "addresses of version 6": "2a02:", "Chinese": "电话",
    "open brackets": "(0", "signs": " -", "bearer": "bearer ", "points": ".",
}  # fmt: skip


def texts() -> dict[str, str]:
    return {name: part * (BYTES // len(part.encode())) for name, part in _PARTS.items()}
