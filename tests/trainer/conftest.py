"""Settings of torch for these tests: one thread on the CPU, since bitwise comparisons depend on both."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
import transformers

from tests.trainer import asking, tiny
from worker.training.machine.process import StopRequest
from worker.training.standalone.training import train_alone
from worker.training.train import train


@pytest.fixture(autouse=True)
def _one_cpu_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    transformers.logging.disable_progress_bar()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model of one layer for whole runs; those of several families, and what reads a model, have two layers."""
    return tiny.save_model(tmp_path_factory.mktemp("models") / "base", chat=True, num_hidden_layers=1)


@pytest.fixture(scope="session")
def adapter(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    return tiny.save_adapter(tmp_path_factory.mktemp("models") / "adapter", base)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, base: Path, adapter: Path) -> Callable[..., Path]:
    """Trains `tiny.text_rows()` for two epochs, once for each method and shipped checkpoint, and returns its WORKDIR.

    Tests read it, and work in copies.
    """

    @cache
    def run(method: str, on_adapter: bool) -> Path:
        workdir = tmp_path_factory.mktemp("finished") / "w"
        train(tiny.stage(workdir, base, tiny.text_rows(), adapter=adapter if on_adapter else None, method=method))
        return workdir

    return lambda method="full", *, on_adapter=False: run(method, on_adapter)


@pytest.fixture(scope="session")
def finished_alone(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """The folder of a finished training of one step without a service, evaluated."""
    folder = tmp_path_factory.mktemp("finished-alone")
    train_alone(asking.request(folder, base, None, max_steps=1, holdout=0.3), StopRequest())
    return folder / "out"
