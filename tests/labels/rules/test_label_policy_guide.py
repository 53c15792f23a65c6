"""The guide shows the current default, and all of its policies are valid."""

import re
from pathlib import Path

import pytest
from thumbwheel import wire

from app.cli.document_files import read_document
from app.labels.policies.documents import read

GUIDE = Path(__file__).parents[3] / "docs" / "label-policies.md"
SHOWN = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_guide_shows_the_default_with_every_field(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text(SHOWN[0], encoding="utf-8")

    assert _filled(read_document(path)) == wire.LabelPolicy().model_dump(mode="json")


@pytest.mark.parametrize("text", SHOWN)
def test_each_policy_of_the_guide_is_one(tmp_path, text):
    path = tmp_path / "policy.yaml"
    path.write_text(text, encoding="utf-8")

    assert isinstance(read(read_document(path)), wire.LabelPolicy)


def _filled(document):
    """Adds to implicit signals the fields that the guide omits, with their defaults: they wait for no other signal."""
    for name in ("accept", "copy", "reject", "regenerate", "escalate", "reopen"):
        document["signals"][name] = {**document["signals"][name], "unless": None, "within_hours": 24}
    return document
