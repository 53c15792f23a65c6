"""The base model that the stories share."""

from pathlib import Path

import pytest

from tests.trainer import tiny


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal language model with random weights that transformers loads, with its tokenizer."""
    return tiny.save_model(tmp_path_factory.mktemp("models") / "base", seed=3)
