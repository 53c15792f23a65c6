"""API keys of providers, by their prefixes, lengths and alphabets, and their checksums where they have one. Pure."""

import zlib
from collections.abc import Iterator

from app.privacy.redaction.detectors.placeholders import entropy, is_placeholder
from app.privacy.redaction.patterns import after, compiled, continues_word

_FORMATS = (
    # models
    r"sk-ant-[a-z]{3,8}[0-9]{2}-[A-Za-z0-9_-]{80,}", r"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{40,}",
    r"sk-or-v1-[0-9a-f]{64}", r"sk-[A-Za-z0-9]{32,64}", r"hf_[A-Za-z]{34}", r"api_org_[A-Za-z]{34}",
    r"gsk_[A-Za-z0-9]{52}", r"xai-[A-Za-z0-9]{80}", r"pplx-[A-Za-z0-9]{48}", r"r8_[A-Za-z0-9]{37}",
    r"AIza[A-Za-z0-9_-]{35}", r"fw_[A-Za-z0-9]{24}", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}",
    r"(?:pk|sk)-lf-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", r"twb?_[A-Za-z0-9_-]{43}",
    # code and packages
    r"gh[pousr]_[A-Za-z0-9]{36}", r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
    r"gl(?:pat|dt|rt|ptt|oas|soat|cbt|ft|agent|imt)-[A-Za-z0-9_-]{20,}(?:\.[a-z0-9]{2}\.[a-z0-9]{7,9})?",
    r"npm_[A-Za-z0-9]{36}", r"pypi-AgE[A-Za-z0-9_-]{50,}", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,32}",
    r"rubygems_[0-9a-f]{48}", r"NRAK-[A-Z0-9]{27}", r"sntrys_[A-Za-z0-9+/=_-]{60,}", r"sntryu_[0-9a-f]{64}",
    # clouds
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}", r"GOCSPX-[A-Za-z0-9_-]{28}", r"ya29\.[A-Za-z0-9_-]{30,}",
    r"do[opr]_v1_[0-9a-f]{64}", r"dapi[0-9a-f]{32}", r"hv[sbr]\.[A-Za-z0-9_-]{24,}",
    r"dp\.(?:pt|st|ct|sa)\.[A-Za-z0-9._-]{40,}",
    r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}", r"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
    r"LTAI[A-Za-z0-9]{20}", r"pul-[0-9a-f]{40}", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}",
    # payments, shops
    r"(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}", r"whsec_[A-Za-z0-9+/=]{32,}", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}",
    r"sq0(?:atp-[A-Za-z0-9_-]{22}|csp-[A-Za-z0-9_-]{43})",
    r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}",
    # messages, mail, work
    r"xox[abeoprs]-[A-Za-z0-9-]{20,}", r"xapp-[0-9]-[A-Z0-9]+-[0-9]+-[0-9a-f]{32,}",
    r"(?:https://)?hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/]{24,}",
    r"SG\.[A-Za-z0-9_-]{20,24}\.[A-Za-z0-9_-]{39,50}",
    r"xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}", r"key-[0-9a-f]{32}", r"[0-9a-f]{32}-us[0-9]{1,2}", r"SK[0-9a-f]{32}",
    r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}", r"[MNO][A-Za-z0-9_-]{23,25}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}",
    r"secret_[A-Za-z0-9]{43}", r"ntn_[A-Za-z0-9]{46}", r"lin_api_[A-Za-z0-9]{40}", r"figd_[A-Za-z0-9_-]{40}",
    r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}", r"ATATT3[A-Za-z0-9_=-]{180,}", r"EAA[A-Za-z0-9]{90,}",
)  # fmt: skip
_KEY = compiled(rf"\b(?:{'|'.join(_FORMATS)})")
#: Prefixes of keys that end with a checksum: six digits in base 62 of the CRC32 of what lies between.
_WITH_CRC32 = ("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "npm_")
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FEWEST_BITS = 2.5


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields where keys are. What documentation writes in place of a key is none."""
    for match in _KEY.finditer(text):
        start, end = match.span()
        if not continues_word(after(text, end)) and _is_key(match.group()):
            yield start, end


def _is_key(value: str) -> bool:
    if value.startswith(_WITH_CRC32):
        return has_crc32(value[4:])
    return entropy(value) >= FEWEST_BITS and not is_placeholder(value)


def has_crc32(characters: str) -> bool:
    """Says whether the last six characters are the checksum of those before them."""
    number = zlib.crc32(characters[:-6].encode())
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return characters[-6:] == digits
