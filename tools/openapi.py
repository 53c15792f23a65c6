"""Write docs/openapi.json from the code; with --check only say whether it is fresh (exit code 1 when it isn't)."""

import json
import sys
from pathlib import Path

from app.main import create_app

FILE = Path(__file__).parent.parent / "docs" / "openapi.json"


def written() -> str:
    return json.dumps(create_app().openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if "--check" not in sys.argv:
        FILE.write_text(written(), encoding="utf-8")
    elif not FILE.exists() or FILE.read_text(encoding="utf-8") != written():
        sys.exit("docs/openapi.json is stale: run `make openapi` and commit it.")
