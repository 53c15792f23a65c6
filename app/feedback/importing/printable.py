"""Makes names and reasons that quote a file safe to store and to show at a terminal. Pure."""


def printable(text: str) -> str:
    """Returns the text with escapes in place of control characters and halves of surrogate pairs.

    Postgres stores neither NUL nor a lone surrogate, and an escape sequence would command the terminal of a reader.
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
