"""Check of the settings' names: a setting with a misspelt name is ignored."""

from difflib import get_close_matches

from app import settings
from app.cli.doctor.finding import Finding
from app.settings import Settings


def unknown(_config: Settings) -> Finding:
    names = settings.unknown_names()
    if not names:
        return Finding("Setting names", "ok", "every THUMBWHEEL_… name is known")
    known = settings.names()
    parts = []
    for name in names:
        similar = get_close_matches(name, known, 1)
        parts.append(f"{name} (did you mean {similar[0]}?)" if similar else name)
    return Finding("Setting names", "wrong", f"unknown, and without effect: {', '.join(parts)}. See .env.example")
