"""Files that were damaged, or made to break an import, cost one record or give one clear error."""

import io
import json
import tracemalloc
import zipfile
from datetime import date, timedelta
from datetime import time as time_of_day

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import Invalid
from app.feedback import importing
from app.feedback.importing import Imported, ImportOutcome, Rejected

GOOD = {"prompt": "Hi", "completion": "Yes.", "label": True}
LINE = json.dumps(GOOD).encode()


def read(tmp_path, content: bytes):
    path = tmp_path / "rows"
    path.write_bytes(content)
    return list(importing.read(path))


def archive(*members: tuple[str, bytes], compression=zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", compression) as file:
        for member in members:
            file.writestr(*member)
    return content.getvalue()


def parquet(**columns) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table({"prompt": ["Hi"], "completion": ["Yes."], "label": [True], **columns}), content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**GOOD, "timestamp": 10**400}, "too large"),
        ({**GOOD, "id": "a\ud800"}, "surrogate"),
    ],
)
def test_a_value_that_nothing_can_hold_rejects_its_record_alone(tmp_path, row, words):
    first, second = read(tmp_path, json.dumps(row).encode() + b"\n" + LINE)

    assert isinstance(first, Rejected)
    assert words in first.reason
    assert isinstance(second, Imported)


@pytest.mark.parametrize("levels", [990, 200_000])
def test_deep_nesting_neither_takes_memory_nor_ends_the_import(tmp_path, levels):
    deep = b'{"completion":"b","label":true,"x":' + b"[" * levels + b"]" * levels + b',"prompt":"[[\\"{{"}'
    content = b"[" + LINE + b"," + deep + b"," + LINE + b"]"
    tracemalloc.start()

    items = read(tmp_path, content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert isinstance(items[0], Imported)
    if levels < 1000:
        assert len(items) == 3
    else:
        assert "nested deeper than 1,000 levels" in items[1].reason
    assert peak < 50_000_000  # a path of all levels for each level would be 20 GB


def test_brackets_in_texts_do_not_count_as_nesting(tmp_path):
    rows = [{**GOOD, "prompt": '[{"\\' * 500 + str(number)} for number in range(200)]

    assert all(isinstance(item, Imported) for item in read(tmp_path, json.dumps(rows).encode()))


def damaged(content: bytes) -> bytes:
    """Damages the compressed bytes of the first member."""
    return content[:60] + bytes(byte ^ 0x5A for byte in content[60:120]) + content[120:]


@pytest.mark.parametrize(
    "content",
    [
        archive(("ré.jsonl", LINE)).replace("é".encode(), b"\xff\xfe"),
        archive(("rows.jsonl", LINE)).replace(b"PK\x01\x02\x14\x03\x14", b"PK\x01\x02\x14\x03\xff"),
        *(
            damaged(archive(("rows.jsonl", LINE * 99), compression=method))
            for method in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED)
        ),
    ],
    ids=["a name that is not UTF-8", "a later version", "LZMA", "bzip2", "deflate"],
)
def test_a_damaged_archive_is_refused_with_one_line(tmp_path, content):
    with pytest.raises(Invalid, match="Cannot read"):
        read(tmp_path, content)


def test_a_fault_of_the_code_that_reads_a_file_is_not_taken_for_one_of_the_file(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}")
    [source] = importing.in_file(tmp_path / "rows.jsonl", "rows.jsonl")

    with pytest.raises(RuntimeError, match="a fault of ours"), source.open():
        raise RuntimeError("a fault of ours")


def test_an_encrypted_member_is_named(tmp_path):
    content = bytearray(archive(("rows.jsonl", LINE)))
    content[6] |= 1
    content[content.rfind(b"PK\x01\x02") + 8] |= 1

    with pytest.raises(Invalid, match=r"rows\.jsonl is encrypted: decrypt it first"):
        read(tmp_path, bytes(content))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_of_one_name_are_both_read(tmp_path):
    other = json.dumps({**GOOD, "prompt": "Bye"}).encode()

    items = read(tmp_path, archive(("rows.jsonl", LINE), ("rows.jsonl", other)))

    assert {item.event.prompt for item in items} == {"Hi", "Bye"}


def test_rows_of_parquet_with_times_of_day_and_durations_are_read(tmp_path):
    [item] = read(tmp_path, parquet(at=[time_of_day(9, 30)], took=[timedelta(seconds=2)]))

    assert isinstance(item, Imported)


def test_parquet_with_impossible_dates_or_texts_is_refused_with_one_line(tmp_path):
    days = pa.array([10**9], pa.int32()).cast(pa.date32())
    lengths = pa.array([0, 2], pa.int32()).buffers()[1]
    text = pa.Array.from_buffers(pa.string(), 1, [None, lengths, pa.py_buffer(b"\xff\xfe")])

    for column in (days, text):
        with pytest.raises(Invalid, match="as parquet"):
            read(tmp_path, parquet(made=column))
    assert isinstance(read(tmp_path, parquet(made=[date(2026, 3, 1)]))[0], Imported)


def test_outcomes_quote_no_control_characters_and_no_halves_of_surrogate_pairs(tmp_path):
    rows = [{**GOOD, "label": "a\0\x1b[31m\ud800"}, {**GOOD, "a\0b": 1, "c\ud800": 1}]
    outcome = ImportOutcome("rows")

    outcome.count_read(read(tmp_path, b"\n".join(json.dumps(row).encode() for row in rows)))

    shown = json.dumps(outcome.document(), ensure_ascii=False)
    assert shown.isprintable()
    assert list(outcome.ignored) == ["a\\x00b", "c\\ud800"]


def test_names_of_members_are_shown_without_control_characters(tmp_path):
    path = tmp_path / "rows.zip"
    path.write_bytes(archive(("a/\x1b[31m\nb.jsonl", LINE)))

    [source] = importing.in_file(path, path.name)

    assert source.name == "rows.zip/a/\\x1b[31m\\nb.jsonl"
