"""The configuration of a project whose row a test inserts by itself."""

from typing import Any

from app.gates.documents import adopted
from app.gates.presets import TOY

CONFIGURATION: dict[str, Any] = {"gates": adopted(TOY, 1).model_dump(mode="json")}
