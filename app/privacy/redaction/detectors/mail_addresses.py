"""Mail addresses, also with Unicode. Pure."""

import unicodedata
from collections.abc import Iterator

from app.privacy.redaction.patterns import before, compiled

#: A local part keeps to one script: in a text without spaces, words before an address are not part of it.
_SCRIPTS = (r"\p{Latin}0-9", r"\p{Cyrillic}0-9", r"\p{Greek}0-9", r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}0-9",
            r"\p{Devanagari}0-9", r"\p{Arabic}0-9", r"\p{Hebrew}0-9", r"\p{Thai}0-9")  # fmt: skip
_LOCAL = "|".join(f"[{letters}_](?:[{letters}\\pM._%+'-]*[{letters}\\pM_+-])?" for letters in _SCRIPTS)
_ADDRESS = compiled(
    rf"(?:{_LOCAL})@(?:[\pL\pM0-9](?:[\pL\pM0-9-]*[\pL\pM0-9])?\.)+"
    r"(?:xn--[a-zA-Z0-9-]{2,59}|[\p{Latin}]{2,24}|[\pL\pM]{2,24})"
)
#: Ends of file names, which are not top-level domains: logo@2x.png, app@latest.js.
_NOT_DOMAINS = frozenset(
    [
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "webp",
        "avif",
        "bmp",
        "ico",
        "tif",
        "tiff",
        "css",
        "scss",
        "less",
        "js",
        "mjs",
        "cjs",
        "ts",
        "tsx",
        "jsx",
        "json",
        "jsonl",
        "html",
        "htm",
        "xml",
        "yml",
        "yaml",
        "toml",
        "ini",
        "cfg",
        "conf",
        "lock",
        "log",
        "txt",
        "csv",
        "tsv",
        "pdf",
        "doc",
        "docx",
        "xls",
        "xlsx",
        "ppt",
        "pptx",
        "exe",
        "dll",
        "jar",
        "war",
        "whl",
        "gz",
        "tgz",
        "bz2",
        "xz",
        "rar",
        "mp3",
        "mp4",
        "wav",
        "ogg",
        "webm",
        "ttf",
        "otf",
        "woff",
        "woff2",
        "eot",
        "class",
        "java",
        "cpp",
        "hpp",
        "php",
    ]
)
MOST_LOCAL, MOST_ADDRESS = 64, 254
_NEARBY = 256


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields where mail addresses are, but not handles, users of URLs or names of files."""
    if "@" not in text:
        return
    for match in _ADDRESS.finditer(text):
        start, end = match.span()
        local, _, domain = text[start:end].rpartition("@")
        if len(local) > MOST_LOCAL or end - start > MOST_ADDRESS or ".." in local:
            continue
        if domain.rpartition(".")[2].lower() in _NOT_DOMAINS or local == "git":
            continue
        if before(text, start) in "@/" or text[end : end + 1] == "(" or _is_user_of_url(text, start):
            continue
        yield start, end


def _is_user_of_url(text: str, start: int) -> bool:
    """Says whether ``scheme://user:`` precedes: then a password has been mistaken for the local part."""
    if before(text, start) != ":":
        return False
    word = text[max(0, start - _NEARBY) : start].split()[-1]
    return "://" in word and "@" not in word


def normalised(value: str) -> str:
    return unicodedata.normalize("NFC", value).casefold()
