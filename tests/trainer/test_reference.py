"""Log-probs of the reference that earlier runs scored: the cases in which a run uses them, and those in which not."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save

from tests.trainer import tiny
from worker.training.machine.process import Stopped
from worker.training.reference import ReferenceScores
from worker.training.train import train

ROWS = tiny.text_rows()
#: Recipe of a run of one step over all rows.
SHORT = {"epochs": 1, "batch_size": 24, "micro_batch_size": 4}


def scored_by(workdir: Path) -> Path:
    return workdir / "reference.safetensors"


def staged(workdir: Path, base: Path, *earlier: Path, rows: Sequence[Mapping[str, Any]] = ROWS, **changes: Any) -> Path:
    """Stages a WORKDIR with the log-probs of `earlier` runs."""
    tiny.stage(workdir, base, rows, **{**SHORT, **changes})
    (workdir / "scored-before").mkdir()
    for number, file in enumerate(earlier):
        shutil.copyfile(file, workdir / "scored-before" / f"{number}.safetensors")
    return workdir


def run(workdir: Path, base: Path, *earlier: Path, **changes: Any) -> Any:
    """Trains in a WORKDIR with the log-probs of `earlier` runs; returns its figures of the reference."""
    train(staged(workdir, base, *earlier, **changes))
    return tiny.document(workdir / "training.json")["reference"]


def keys_of(workdir: Path) -> set[bytes]:
    return {bytes(key) for key in load_file(scored_by(workdir))["keys"]}


def weights_of(workdir: Path) -> str:
    return str(tiny.document(workdir / "training.json")["weights_sha256"])


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """The WORKDIR of a run without earlier log-probs: 22 rows, each with its own and another completion."""
    torch.set_num_threads(1)
    workdir = tmp_path_factory.mktemp("earlier") / "w"
    assert run(workdir, base) == {"scored": 44, "cached": 0}
    return workdir


def test_a_run_with_another_recipe_over_the_same_rows_scores_nothing(tmp_path: Path, base: Path, first: Path) -> None:
    sweep = {"beta": 0.3, "lambda_desirable": 2.0, "learning_rate": 1e-4}

    figures = run(tmp_path / "w", base, scored_by(first), **sweep)

    assert figures == {"scored": 0, "cached": 44}
    assert scored_by(tmp_path / "w").read_bytes() == scored_by(first).read_bytes()
    # and it learns the same as without them, since the same blocks were scored
    assert run(tmp_path / "alone", base, **sweep) == {"scored": 44, "cached": 0}
    assert weights_of(tmp_path / "w") == weights_of(tmp_path / "alone")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"packing": "off"},
        {"method": "lora"},
        {"objective": "tkto"},
        {"precision": "bfloat16"},
        {"precision": "bfloat16", "method": "lora"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())) or "plain",
)
def test_a_run_with_another_seed_scores_its_mismatched_pairs_alone(
    tmp_path: Path, base: Path, settings: Mapping[str, Any]
) -> None:
    # given a run whose blocks group other rows, so that its log-probs are rounded differently
    run(tmp_path / "first", base, seed=1, micro_batch_size=4, **settings)

    figures = run(tmp_path / "w", base, scored_by(tmp_path / "first"), seed=2, **{**settings, "micro_batch_size": 6})

    # then r and z0 are 0 before the first update, within the precision
    by_chance = len(keys_of(tmp_path / "first") & keys_of(tmp_path / "w")) - 22
    assert figures == {"scored": 22 - by_chance, "cached": 22 + by_chance}


def test_a_run_over_other_rows_takes_what_it_shares_and_keeps_nothing_of_the_rest(
    tmp_path: Path, base: Path, first: Path
) -> None:
    # given a snapshot that lacks five of the earlier one's rows and has three new ones
    rows = [*ROWS[5:], *tiny.text_rows(25)[22:]]

    figures = run(tmp_path / "w", base, scored_by(first), rows=rows)

    assert 17 <= figures["cached"] < 34
    assert figures["scored"] == 40 - figures["cached"]
    run(tmp_path / "alone", base, rows=rows)
    assert keys_of(tmp_path / "w") == keys_of(tmp_path / "alone")


def another_config(base: Path, folder: Path) -> Path:
    """Copies the base model with a configuration that changes the log-probs of the same weights."""
    shutil.copytree(base, folder)
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    return folder


def test_nothing_is_taken_of_another_reference(tmp_path: Path, base: Path, adapter: Path, first: Path) -> None:
    others = {
        "weights": (tiny.save_model(tmp_path / "weights", chat=True, seed=5), {}),
        "config": (another_config(base, tmp_path / "config"), {}),
        "adapter": (base, {"adapter": adapter, "method": "lora"}),
    }

    for name, (model, changes) in others.items():
        assert run(tmp_path / "runs" / name, model, scored_by(first), **changes) == {"scored": 44, "cached": 0}, name


@pytest.mark.parametrize(
    "settings",
    [{"precision": "bfloat16"}, {"packing": "off"}, {"max_length": 60}, {"objective": "tkto"}],
    ids=lambda settings: str(*settings),
)
def test_nothing_is_taken_that_was_read_another_way(
    tmp_path: Path, base: Path, first: Path, settings: Mapping[str, Any]
) -> None:
    assert run(tmp_path / "w", base, scored_by(first), **settings) == {"scored": 44, "cached": 0}


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def without_counts(content: bytes) -> bytes:
    return content.replace(b"counts", b"kounts")


def with_one_key_less(_content: bytes) -> bytes:
    keys: np.ndarray = np.zeros((1, 16), np.uint8)
    content = {"keys": keys, "counts": np.ones(2, np.int64), "log_probs": np.zeros(2, np.float32)}
    return save(content, metadata={"fingerprint": "f"})


@pytest.mark.parametrize("damage", [cut, without_counts, with_one_key_less, lambda _: b"", lambda _: b"\xff" * 64])
def test_a_damaged_file_is_passed_over(tmp_path: Path, first: Path, damage: Callable[[bytes], bytes]) -> None:
    # given two files under one fingerprint, of which the first is damaged
    known = ReferenceScores("f", {b"k" * 16: np.array([-2.5], np.float32)})
    known.save(tmp_path / "whole")
    (tmp_path / "damaged").write_bytes(damage((tmp_path / "whole").read_bytes()))

    reference = ReferenceScores("f")
    reference.look_in([tmp_path / "damaged", tmp_path / "nowhere", tmp_path / "whole"])

    assert {key: list(values) for key, values in reference.earlier.items()} == {b"k" * 16: [-2.5]}


def test_what_is_not_finite_is_scored_again(tmp_path: Path, base: Path, first: Path) -> None:
    content = load_file(scored_by(first))
    content["log_probs"][[3, 7]] = np.nan, -np.inf
    with safe_open(scored_by(first), framework="np") as file:
        (tmp_path / "odd").write_bytes(save(content, metadata=file.metadata()))

    assert run(tmp_path / "w", base, tmp_path / "odd") == {"scored": 2, "cached": 42}


def test_a_run_stopped_while_it_scores_continues_to_the_bits_of_one_that_was_not(
    tmp_path: Path, base: Path, first: Path
) -> None:
    # given runs of another seed, which use some of the earlier log-probs and score the rest
    whole = run(tmp_path / "whole", base, scored_by(first), seed=3)
    stopped = staged(tmp_path / "w", base, scored_by(first), seed=3)
    with pytest.raises(Stopped):
        train(stopped, tiny.StopAfter(3))
    partly = keys_of(stopped)

    train(stopped)

    assert 0 < len(partly) < 44
    assert tiny.document(stopped / "training.json")["reference"] == whole
    assert weights_of(stopped) == weights_of(tmp_path / "whole")
    assert scored_by(stopped).read_bytes() == scored_by(tmp_path / "whole").read_bytes()
