"""An uploaded file on the running stack: message, worker and process import it."""

import json
from pathlib import Path

import pytest
from thumbwheel import Client, wire

from app.cli.stack import Stack

pytestmark = pytest.mark.xdist_group("stack")


def test_an_uploaded_file_is_imported_by_a_process_of_the_worker(stack: Stack, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"Question {number}?", "completion": "Yes.", "label": True} for number in range(700)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))

    with Client(stack.base_url, stack.admin_key, "uploaded") as client:
        client.projects.create(wire.NewProject(project="uploaded", base_model="/models/base", suites=[]))
        created = client.imports.upload(file)
        ended = client.imports.wait(created.id)

    assert (ended.state, ended.counts.stored) == ("done", 700)
