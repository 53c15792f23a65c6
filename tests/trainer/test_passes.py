"""Rows read in batches of tokens give the log-probs of single rows, and no batch exceeds its limit."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from thumbwheel.wire.recipe import Recipe

from tests.trainer import tiny
from tests.trainer.test_packing import alone, rows
from worker.evaluation.passes import batches, log_probs, sums
from worker.evaluation.score import score
from worker.training.forward import attention
from worker.training.forward.attention import Layout, PackedSegment
from worker.training.forward.logprobs import Reading
from worker.training.train import train


@pytest.mark.parametrize("packed", [True, False])
def test_every_row_says_what_it_says_alone_in_the_order_of_the_rows(packed: bool) -> None:
    model = tiny.model()
    own, others = rows(17)
    reading = Reading(model, packed=packed, chunked=packed)
    progress: list[int] = []

    results, results_others = log_probs(reading, own, others, 3, progress.append)
    without, nothing = log_probs(reading, own, None, 3, progress.append)

    for said, pairs in ((results, own), (results_others, others), (without, own)):
        expected = alone(model, pairs).detach().numpy()
        np.testing.assert_allclose(sums(said), expected, rtol=1e-6, atol=1e-5)
        assert [len(lp_C) for lp_C in said] == [len(completion) for _, completion in pairs]
    assert nothing == []
    assert sum(progress) == 2 * 17
    assert len(progress) > 4, "the rows must need more than one batch"


@pytest.mark.parametrize("padded", [True, False])
def test_a_batch_holds_no_more_tokens_than_it_may(padded: bool) -> None:
    lengths = [int(length) for length in np.random.default_rng(0).geometric(0.02, 200)]
    room = 2 * max(lengths)

    batches_of_rows = list(batches(lengths, room, padded=padded))

    def taken(batch: Sequence[int]) -> int:
        sizes = [lengths[row] for row in batch]
        return len(sizes) * max(sizes) if padded else sum(sizes)

    assert sorted(row for batch in batches_of_rows for row in batch) == list(range(200))
    assert all(taken(batch) <= room for batch in batches_of_rows)
    assert all(taken([*batch, after[0]]) > room for batch, after in pairwise(batches_of_rows))


def test_nothing_is_read_of_no_rows() -> None:
    assert log_probs(Reading.plain(tiny.model()), [], [], 4, lambda _: None) == ([], [])


def figures(workdir: Path, packing: str) -> dict[str, Any]:
    """Returns the figures of the scorer without its time."""
    recipe = tiny.document(workdir / "recipe.json") | {"packing": packing}
    (workdir / "recipe.json").write_text(Recipe.model_validate(recipe).model_dump_json())
    score(workdir)
    scores = tiny.document(workdir / "scores.json")
    del scores["seconds"], scores["samples"]["seconds"], scores["samples"]["tokens_per_second"]
    return scores


def warned(workdir: Path) -> list[str]:
    return [line["code"] for line in tiny.lines(workdir / "warnings.jsonl")]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory, base: Path, adapter: Path) -> Path:
    """The WORKDIR of a training from a shipped adapter, so that candidate, reference and ancestor are three models."""
    folder = tmp_path_factory.mktemp("scored") / "w"
    quick: dict[str, Any] = {"evaluation": {"kl_prompts": 6, "kl_max_new_tokens": 8, "bootstrap": 100}, "max_steps": 3}
    held = tiny.text_rows(22, seed=5)
    train(tiny.stage(folder, base, tiny.text_rows(), held, adapter=adapter, method="lora", **quick))
    return folder


def nearly(figure: Any) -> Any:
    """Returns a value that equals `figure` with numbers within 1e-5, at any depth."""
    if isinstance(figure, dict):
        return {name: nearly(part) for name, part in figure.items()}
    return pytest.approx(figure, rel=1e-5, abs=1e-5) if isinstance(figure, float) else figure


@pytest.fixture(scope="module")
def padded(workdir: Path) -> dict[str, Any]:
    """The figures of padded rows."""
    return figures(workdir, "off")


def test_packed_rows_score_as_padded_ones(workdir: Path, padded: dict[str, Any]) -> None:
    packed = figures(workdir, "auto")

    assert packed == nearly(padded)
    assert abs(packed["margin"]["value"]) > 1e-3, "the margin must differ from zero"
    assert "padded" not in warned(workdir)


def test_a_model_that_cannot_be_packed_is_scored_padded_and_that_is_said(
    workdir: Path, padded: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaking(module: Any, query: Any, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Computes attention in which rows attend to the rows before them."""
        with attention.laid_out(Layout((PackedSegment(0, query.shape[2]),))):
            return attention.packed_attention(module, query, key, value, *args, **kwargs)

    monkeypatch.setitem(transformers.AttentionInterface._global_mapping, attention.PACKED, leaking)
    scores = figures(workdir, "auto")

    assert scores == nearly(padded)
    assert warned(workdir).count("padded") == 1
