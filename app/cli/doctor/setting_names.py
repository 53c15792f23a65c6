"""Check of the settings' names: a misspelt one does nothing, without a word."""

from difflib import get_close_matches

from app import settings
from app.cli.doctor.finding import Finding
from app.settings import Settings


def unknown(_chosen: Settings) -> Finding:
    names = settings.unknown_names()
    if not names:
        return Finding("Setting names", "ok", "every THUMBWHEEL_… name is known")
    known = settings.names()
    parts = []
    for name in names:
        near = get_close_matches(name, known, 1)
        parts.append(f"{name} (did you mean {near[0]}?)" if near else name)
    return Finding("Setting names", "wrong", f"unknown, and without effect: {', '.join(parts)}. See .env.example")
