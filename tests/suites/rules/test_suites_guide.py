"""docs/suites.md is true: its documents are valid, and its table has every type."""

import re
from pathlib import Path

import pytest
from thumbwheel import wire
from thumbwheel.wire.suites import FORMS

from app.bounded_yaml import load
from app.suites.documents import read

GUIDE = (Path(__file__).parents[3] / "docs" / "suites.md").read_text()
DOCUMENTS = re.findall(r"```yaml\n(name:.*?)```", GUIDE, re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda text: text.partition("\n")[0])
def test_every_document_of_the_guide_is_valid(document):
    assert isinstance(read(load(document)), wire.Suite)


def test_the_guide_names_every_type_of_assertion():
    table = GUIDE.partition("### Types of assertions")[2].partition("###")[0]

    assert set(FORMS) <= set(re.findall(r"`([a-z-]+)`", table))
