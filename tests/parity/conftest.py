"""TRL is a development dependency: without it this folder is skipped. Its warnings are quiet here and nowhere else."""

import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
import transformers

os.environ["HF_HUB_OFFLINE"] = "1"

HERE = Path(__file__).parent
#: What TRL 1.16, and transformers and peft under it, warn of whatever one does.
NOISE = (
    "ignore:`gradient_checkpointing` is deprecated:FutureWarning",
    "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning",
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Assigns these tests to one process of pytest-xdist, as importing TRL takes seconds."""
    missing = importlib.util.find_spec("trl") is None
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.xdist_group("trl"))
            if missing:
                item.add_marker(
                    pytest.mark.skip(reason="TRL is not installed: parity is a comparison with its trainers")
                )
            for warning in NOISE:
                item.add_marker(pytest.mark.filterwarnings(warning))


@pytest.fixture(autouse=True)
def _one_cpu_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    transformers.logging.disable_progress_bar()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)
