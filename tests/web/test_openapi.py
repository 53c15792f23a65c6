"""The OpenAPI document is current, complete, and correct about problems and keys."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WRITTEN = Path(__file__).parents[2] / "docs" / "openapi.json"
WITHOUT_KEY = {"live", "ready"}


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in document["paths"].values():
        yield from path.values()


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_written_document_is_fresh(document):
    assert json.loads(WRITTEN.read_text(encoding="utf-8")) == document, (
        "run `make openapi` and commit docs/openapi.json"
    )


def test_every_operation_has_an_id_of_its_own_a_summary_and_a_tag_that_is_described(document):
    found = list(operations(document))
    ids = [operation["operationId"] for operation in found]
    described = {tag["name"] for tag in document["tags"]}

    assert len(ids) == len(set(ids))
    assert all(operation["summary"] for operation in found)
    assert {tag for operation in found for tag in operation["tags"]} <= described


def test_every_operation_but_the_probes_asks_for_a_key_and_names_its_problems(document):
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for operation in operations(document):
        if operation["operationId"] in WITHOUT_KEY:
            assert "security" not in operation
        else:
            assert operation["security"] == [{"key": []}]
            openai = "gateway" in operation["tags"]  # its clients know errors of another shape, and 400 for 422
            kind = "application/json" if openai else "application/problem+json"
            for status in ("401", "403", "400" if openai else "422", "503"):
                assert kind in operation["responses"][status]["content"]


def test_every_reference_leads_somewhere(document):
    for reference in references(document):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in place, reference
            place = place[part]
    assert {"code", "detail", "status"} <= set(document["components"]["schemas"]["Problem"]["properties"])
