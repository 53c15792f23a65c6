"""A sample of `make families`: families that cannot be packed are padded, and readings equal those of single rows."""

import json

import pytest

from tests.families import table, toys
from tests.families.reading import Method, Outcome, Result, results_of

#: Family, method, expected outcome, and a part of the reason against packing.
SAMPLE: list[tuple[str, Method, Outcome, str]] = [
    ("llama4_text", "full", "padded", "differ from single rows"),  # chunks of attention shorter than the rows
    ("deepseek_v2", "lora", "packed", ""),  # latent attention, experts
    ("gptj", "lora", "padded", "code of their own"),
    ("lfm2", "lora", "padded", "convolutions"),
    ("gpt_oss", "full", "padded", "sinks"),
]


@pytest.mark.parametrize(("family", "method", "outcome", "reason"), SAMPLE)
def test_a_family_trains_on_what_single_rows_say(family: str, method: Method, outcome: Outcome, reason: str) -> None:
    [result] = results_of(family, [("bf16", method)])

    assert result.outcome == outcome, result
    assert reason in result.reason
    assert result.gradient is not None
    assert result.gradient < 1e-3


def test_outcomes_are_counted_by_reading_and_families_without_a_toy_apart() -> None:
    readings = [Result("float32", "lora", "refused"), Result("float32", "full", "padded")]
    lines = {"a": {"results": [vars(reading) for reading in readings]}, "b": {"not_built": "why"}}

    assert table.figures(lines) == {
        "families": 1, "packed": 0, "padded": 1, "refused": 1, "wrong": 0, "crashed": 0, "not_built": 1,
    }  # fmt: skip
    assert table.ways(lines["a"]) == "lora: refused, full: padded"


def test_the_page_shows_the_table_of_the_last_whole_run() -> None:
    stored = json.loads(table.RESULTS.read_text())

    shown = table.PAGE.read_text().partition(table.BEGIN)[2].partition(table.END)[0]
    assert shown.strip().splitlines() == list(table.markdown(stored))
    assert stored["figures"]["wrong"] == stored["figures"]["crashed"] == 0
    assert set(stored["families"]) >= {"llama", "qwen3", "gemma3_text", "mistral"} & set(toys.families())
