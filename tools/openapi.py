"""Writes docs/openapi.json from the code. With --check, only reports a stale file, with exit code 1."""

import json
import sys
from pathlib import Path

from app.main import create_app

FILE = Path(__file__).parent.parent / "docs" / "openapi.json"


def rendered() -> str:
    return json.dumps(create_app().openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if "--check" not in sys.argv:
        FILE.write_text(rendered(), encoding="utf-8")
    elif not FILE.exists() or FILE.read_text(encoding="utf-8") != rendered():
        sys.exit("docs/openapi.json is stale: run `make openapi` and commit it.")
