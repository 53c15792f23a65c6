"""Mail addresses, also with Unicode. Pure."""

import unicodedata
from collections.abc import Iterator

from app.privacy.redaction.patterns import before, compiled

#: A local part and a top-level domain keep to one script: the Chinese or Japanese words around are not part of them.
_SCRIPTS = (
    r"\p{Latin}", r"\p{Cyrillic}", r"\p{Greek}", r"\p{Han}", r"\p{Hiragana}\p{Katakana}", r"\p{Hangul}",
    r"\p{Devanagari}\pM", r"\p{Arabic}\pM", r"\p{Hebrew}", r"\p{Thai}\pM", r"\p{Georgian}", r"\p{Armenian}",
)  # fmt: skip
_LOCAL = "|".join(f"[{letters}0-9_](?:[{letters}0-9\\pM._%+'-]*[{letters}0-9\\pM_+-])?" for letters in _SCRIPTS)
_TOP = "|".join(f"[{letters}]{{2,24}}" for letters in _SCRIPTS)
_ADDRESS = compiled(rf"(?:{_LOCAL})@(?:[\pL\pM0-9](?:[\pL\pM0-9-]*[\pL\pM0-9])?\.)+(?:xn--[a-zA-Z0-9-]{{2,59}}|{_TOP})")
#: Addresses that are written so that programs do not find them: ada (at) acme.io, ada at acme dot io, ada＠acme.io.
_AT = r"(?:\s?[\[({<]\s?[aä]t\s?[\])}>]\s?|＠)"
_DOT = r"(?:\.|\s?[\[({<]\s?(?:dot|punkt|point)\s?[\])}>]\s?|\sdot\s)"
_NAME = r"[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?"
_WRITTEN_OUT = compiled(
    rf"\b[a-z0-9](?:[a-z0-9._%+-]*[a-z0-9])?(?:{_AT}{_NAME}(?:{_DOT}{_NAME})*{_DOT}[a-z]{{2,24}}"
    rf"|\sat\s{_NAME}(?:\sdot\s{_NAME})*\sdot\s[a-z]{{2,24}})\b",
    any_case=True,
)
_WRITTEN_AT = compiled(rf"{_AT}|\sat\s", any_case=True)
_WRITTEN_DOT = compiled(_DOT, any_case=True)
#: Ends of file names, which are not top-level domains: logo@2x.png, app@latest.js.
_NOT_DOMAINS = frozenset(
    (
        "png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "bmp", "ico", "tif", "tiff", "css", "scss", "less",
        "js", "mjs", "cjs", "ts", "tsx", "jsx", "json", "jsonl", "html", "htm", "xml", "yml", "yaml", "toml",
        "ini", "cfg", "conf", "lock", "log", "txt", "csv", "tsv", "pdf", "doc", "docx", "xls", "xlsx", "ppt",
        "pptx", "exe", "dll", "jar", "war", "whl", "gz", "tgz", "bz2", "xz", "rar", "mp3", "mp4", "wav", "ogg",
        "webm", "ttf", "otf", "woff", "woff2", "eot", "class", "java", "cpp", "hpp", "php",
    )
)  # fmt: skip
MOST_LOCAL, MOST_ADDRESS = 64, 254
_NEARBY = 256


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Yields where mail addresses are, but not handles, users of URLs or names of files."""
    yield from (match.span() for match in _WRITTEN_OUT.finditer(text))
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
    """Says whether ``scheme://`` precedes in the same word, without a slash or an @ since: then this is a password."""
    _, scheme, rest = text[max(0, start - _NEARBY) : start].rpartition("://")
    return bool(scheme) and not any(character in "/@?#" or character.isspace() for character in rest)


def normalised(value: str) -> str:
    address = unicodedata.normalize("NFC", value).casefold()
    if "@" not in address:
        address = _WRITTEN_DOT.sub(".", _WRITTEN_AT.sub("@", address))
    return address
