"""The suites that come with Thumbwheel, as files in this folder."""

from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Returns the names of the suites, which are those of their files."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def text_of(name: str) -> str:
    """Returns the document of a suite as YAML."""
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
