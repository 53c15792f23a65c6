"""The lesser weight of what an edit kept of a completion, from the shard to the token weights and training.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from thumbwheel.wire.recipe import Recipe

from app.labels.kept_spans import kept
from tests.trainer import asking, tiny
from tests.trainer.test_standalone_staging import refused, shard, staged
from worker.training.data.rows import Row, TokenisedRows, read_rows
from worker.training.data.tokens import Span, Tokens, _weights
from worker.training.job import Shard, read_job
from worker.training.train import train

TOKENS = Tokens(tiny.tokenizer(chat=True), None)


def kept_of(completion: str, edited: str) -> dict[str, Any]:
    found = kept(completion, edited)
    return {"spans": [{"start": start, "end": end} for start, end in found.spans], "ending": found.ending}


def edited_rows() -> list[dict[str, Any]]:
    """Returns the usual rows; users changed the first word of each undesirable completion."""
    rows = tiny.text_rows()
    for row in rows:
        words = row["completion"].split(" ")
        row["kept"] = None if row["label"] else kept_of(row["completion"], " ".join(["", "new", *words[2:]]))
    return rows


def read(folder: Path, rows: Sequence[dict[str, Any]], kept_weight: float = 0.25, length: int = 64) -> TokenisedRows:
    folder.mkdir(exist_ok=True)
    line = tiny.write_shard(folder / "shard.parquet", rows)
    return read_rows(folder, [Shard(**line, split="train")], TOKENS, length, weigh_tokens=True, kept_weight=kept_weight)


def weights_of(row: Row) -> list[float]:
    assert row.token_weights is not None
    return [float(weight) for weight in row.token_weights]


def test_the_tokens_that_an_edit_kept_weigh_less_and_so_does_a_kept_end(tmp_path: Path) -> None:
    row = {"prompt": "Q", "completion": "a bc é.", "label": False}
    chat = {
        "prompt": [{"role": "user", "content": "Q"}],
        "completion": [{"role": "assistant", "content": "a bc é."}],
        "label": False,
    }
    low = 0.25
    # Six bytes, two of é, and the end token: " bc" changed, then "." and the end.
    for name, edited, weights in (
        ("middle", "a xy é.", [low, 1, 1, 1, low, low, low, low, low]),
        ("end", "a bc é. Bye", [low] * 8 + [1]),
        ("last", "a bc é", [low] * 7 + [1, 1]),
    ):
        for number, form in enumerate((row, chat)):
            [read_row] = read(tmp_path / f"{name}{number}", [{**form, "kept": kept_of("a bc é.", edited)}]).rows
            assert weights_of(read_row) == weights


def test_a_token_of_which_half_changed_is_a_changed_one() -> None:
    halves = [Span(0, 1, 1.0), Span(1, 2, 0.5)]

    assert _weights(2, [(0, 2), (1, 2)], 0, halves).tolist() == [1.0, 0.5]


def test_desirable_rows_and_rows_with_spans_of_their_own_are_not_weighed_by_edits(tmp_path: Path) -> None:
    part, own = kept_of("abcd", "abcd"), [{"start": 0, "end": 1, "weight": 3.0}]
    rows: list[dict[str, Any]] = [
        {"prompt": "Q", "completion": "abcd", "label": True, "kept": part, "spans": []},
        {"prompt": "R", "completion": "abcd", "label": False, "kept": part, "spans": own},
        {"prompt": "S", "completion": "abcd", "label": False, "kept": None, "spans": None},
        {"prompt": "T", "completion": "abcd", "label": False, "kept": part, "spans": []},
    ]  # fmt: skip

    result = read(tmp_path, rows)

    assert [weights_of(row) for row in result.rows] == [[1] * 5, [3, 1, 1, 1, 1], [1] * 5, [0.25] * 5]
    assert result.edited.report() == {"rows": 1, "tokens": 5, "kept_tokens": 5, "kept_share": 1.0}


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6), st.sampled_from([0.0, 0.5, 2.0])), max_size=6),
    st.lists(st.tuples(st.integers(0, 16), st.integers(0, 4)), max_size=8),
    st.integers(0, 3),
)
def test_a_token_has_the_weight_of_the_first_span_that_shares_most_characters(spans, tokens, start) -> None:
    given_spans = [Span(first, first + size, weight) for first, size, weight in spans]
    offsets = [(first, first + size) for first, size in tokens]
    expected = []
    for first, last in offsets:
        shared = [min(last - start, span.end) - max(first - start, span.start) for span in given_spans]
        most = max(shared, default=0)
        expected.append(given_spans[shared.index(most)].weight if most > 0 else 1.0)

    assert _weights(len(offsets), offsets, start, given_spans).tolist() == expected


@pytest.mark.parametrize("objective", ["kto", "tkto"])
def test_with_a_weight_of_1_edits_change_no_bit_of_the_result(tmp_path: Path, base: Path, objective: str) -> None:
    plain = tiny.stage(tmp_path / "plain", base, tiny.text_rows(), objective=objective, max_steps=2)
    edited = tiny.stage(tmp_path / "edited", base, edited_rows(), objective=objective, max_steps=2)

    train(plain)
    train(edited)

    first, second = (tiny.document(folder / "training.json") for folder in (plain, edited))
    assert first["weights_sha256"] == second["weights_sha256"]
    assert first["edits"] is second["edits"] is None
    ours, theirs = (tiny.lines(folder / "metrics.jsonl") for folder in (plain, edited))
    for name in ("loss", "gradient_norm", "z0_raw"):
        assert [step[name] for step in ours] == [step[name] for step in theirs]


def test_the_identity_of_a_run_that_weighs_no_edits_is_what_it_was(tmp_path: Path, base: Path) -> None:
    workdir = tiny.stage(tmp_path, base, tiny.text_rows(), objective="tkto")
    before = read_job(workdir)
    (workdir / "recipe.json").write_text(before.recipe.model_dump_json(exclude={"edit_kept_weight"}))

    assert read_job(workdir).identity == before.identity
    assert "edit_kept_weight" in before.recipe.model_dump()


def test_a_training_counts_edited_rows_and_learns_something_else_from_them(tmp_path: Path, base: Path) -> None:
    digests = set()
    for weight in (1.0, 0.0):
        workdir = tiny.stage(
            tmp_path / str(weight), base, edited_rows(), objective="tkto", max_steps=2, edit_kept_weight=weight
        )
        train(workdir)
        digests.add(tiny.document(workdir / "training.json")["weights_sha256"])

    assert len(digests) == 2
    edits = tiny.document(workdir / "training.json")["edits"]
    assert edits["rows"] == sum(not row["label"] for row in tiny.text_rows())
    assert 0 < edits["kept_tokens"] < edits["tokens"]
    assert edits["kept_share"] == edits["kept_tokens"] / edits["tokens"]


def test_a_training_without_edited_rows_says_that_the_weight_changes_nothing(tmp_path: Path, base: Path) -> None:
    workdir = tiny.stage(
        tmp_path, base, tiny.text_rows(), objective="tkto", max_steps=1, edit_kept_weight=0.1, epochs=1
    )

    train(workdir)

    [line] = [line for line in tiny.lines(workdir / "warnings.jsonl") if line["code"] == "no_edits"]
    assert line["message"].startswith("edit_kept_weight 0.1 changes nothing")


@pytest.mark.parametrize("objective", ["kto", "dpo", "sft", "mo_kto"])
def test_an_objective_of_whole_rows_cannot_weigh_kept_tokens(objective: str) -> None:
    labels = {"labels": [{"name": "good"}]} if objective == "mo_kto" else {}

    with pytest.raises(ValidationError, match=f"edit_kept_weight weighs tokens, {objective} .*set objective to tkto"):
        Recipe.model_validate({"objective": objective, "edit_kept_weight": 0.5, **labels})


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_the_weight_of_kept_tokens_is_from_0_to_1(weight: float) -> None:
    with pytest.raises(ValidationError, match="edit_kept_weight"):
        Recipe.model_validate({"objective": "tkto", "edit_kept_weight": weight})


# -- files ------------------------------------------------------------------------------------------------------------

ON: dict[str, Any] = {"objective": "tkto", "edit_kept_weight": 0.1}


def file_rows(**more: Any) -> list[dict[str, Any]]:
    rows = tiny.text_rows(40)
    rows[1] |= {"completion": " a bc d", "label": False, **more}
    return rows


def test_files_give_what_edits_kept_as_the_edited_text_or_as_spans(tmp_path: Path, base: Path) -> None:
    part = kept_of(" a bc d", " a xy d")
    for number, more in enumerate(({"edited": " a xy d"}, {"kept": part})):
        folder = tmp_path / str(number)
        folder.mkdir()

        work = staged(asking.request(folder, base, file_rows(**more), **ON))

        rows = [row for name in ("train", "holdout") for row in shard(work, f"{name}-text.parquet")]
        kept_rows = [row["kept"] for row in rows if row.get("kept") is not None]
        assert kept_rows == [part]


def test_files_are_staged_as_before_if_no_edit_is_weighed(tmp_path: Path, base: Path) -> None:
    hashes = []
    for number, more in enumerate(({}, {"edited": " a xy d", "kept": "no JSON"})):
        folder = tmp_path / str(number)
        folder.mkdir()
        work = staged(asking.request(folder, base, file_rows(**more)))
        hashes.append([line["sha256"] for line in tiny.document(work / "snapshot" / "manifest.json")["shards"]])

    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"edited": 3}, "edited is 3: write a text"),
        ({"edited": "x", "kept": {"spans": [], "ending": True}}, "has both edited and kept: leave one of them out"),
        ({"kept": [1]}, r"kept is [1]: write {spans: [{start, end}], ending}"),
        ({"kept": {"spans": [{"start": 2, "end": 9}], "ending": True}}, "kept: span 1 is"),
        ({"kept": {"spans": [{"start": 2, "end": 3}]}}, "kept: ending is null: write true or false"),
    ],
)
def test_a_wrong_edit_in_a_file_is_refused_with_its_line(tmp_path: Path, base: Path, more: Any, message: str) -> None:
    said = refused(asking.request(tmp_path, base, file_rows(**more), **ON))

    assert "rows.jsonl line 2: " in said
    assert message in said
