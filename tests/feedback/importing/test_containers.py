"""Containers: each gives the same records, whatever file they come in."""

import csv
import gzip
import io
import json
import sys
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from app.errors import Invalid
from app.feedback import importing
from app.feedback.importing import Imported, Rejected
from app.feedback.importing.containers import json_documents
from app.feedback.importing.sources import sources_of

ROWS = [
    {"prompt": "Hi, there", "response": 'He said "hello"\nand left', "feedback": "👍", "user_id": "ann"},
    {"prompt": "naïve – 你好", "response": "; tab\t|", "feedback": "👎", "user_id": "bob"},
]
RATED = [{**row, "feedback": {"👍": "up", "👎": "down"}[row["feedback"]]} for row in ROWS]


def table(delimiter: str = ",", encoding: str = "utf-8", newline: str = "\n") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(ROWS[0]), delimiter=delimiter, lineterminator=newline)
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode(encoding)


def lines() -> bytes:
    return "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), file)
    return file.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


CONTENTS = {
    "JSON lines": lines(),
    "JSON lines in gzip": gzip.compress(lines()),
    "JSON lines in two members of gzip": gzip.compress(lines()[:40]) + gzip.compress(lines()[40:]),
    "JSON array": json.dumps(ROWS).encode(),
    "indented JSON array": json.dumps(ROWS, indent=2, ensure_ascii=False).encode(),
    "array in an object": json.dumps({"meta": {"page": 1}, "data": ROWS}, indent=2).encode(),
    "CSV": table(),
    "CSV with semicolons": table(";"),
    "CSV with bars": table("|"),
    "TSV": table("\t"),
    "CSV with a mark and Windows' line ends": table(encoding="utf-8-sig", newline="\r\n"),
    "Excel's Unicode text": b"\xff\xfe" + table("\t", "utf-16-le", "\r\n"),
    "CSV in UTF-16, big-endian": b"\xfe\xff" + table(encoding="utf-16-be"),
    "parquet": parquet(),
    "parquet in gzip": gzip.compress(parquet()),
    "zip": zipped({"a": lines()}),
    "gzip in zip": zipped({"a": gzip.compress(table())}),
    "parquet in zip": zipped({"folder/a": parquet()}),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_the_records_are_the_same_in_every_container(tmp_path, name):
    path = tmp_path / "file"
    path.write_bytes(CONTENTS[name])

    events = [item.event for item in importing.read(path) if isinstance(item, Imported)]

    assert [(event.prompt, event.completion, event.actor) for event in events] == [
        (row["prompt"], row["response"], row["user_id"]) for row in ROWS
    ]
    assert [event.signal.value for event in events] == [row["feedback"] for row in RATED]


def test_a_row_of_a_table_is_numbered_by_the_line_on_which_it_begins(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('prompt,response,feedback\n"a\nb","c\nd",up\n\na,b,perhaps\na,b,c,d,e\na,b\na,b,no\n')

    items = list(importing.read(path))

    assert [(type(item).__name__, item.line) for item in items] == [
        ("Imported", 2), ("Rejected", 6), ("Rejected", 7), ("Silent", 8), ("Imported", 9),
    ]  # fmt: skip
    assert isinstance(items[1], Rejected)
    assert 'label is "perhaps"' in items[1].reason
    assert isinstance(items[2], Rejected)
    assert "5 values, but there are 3 columns" in items[2].reason


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (b'a,"b,up\na,b,up\n', "is a quote unclosed?"),
        (b"a,\xe9,up\n", "is not UTF-8"),
        (b"a," + b"x" * 2_000_000 + b",up\n", "over 1,048,576 characters"),
    ],
    ids=["open quote", "Latin-1", "long field"],
)
def test_a_table_that_cannot_be_read_on_ends_with_the_reason(tmp_path, tail, words):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"prompt,response,feedback\na,b,up\n" + tail)

    first, last = importing.read(path)

    assert isinstance(first, Imported)
    assert isinstance(last, Rejected)
    assert last.line == 3
    assert words in last.reason


def test_an_item_of_a_document_that_is_too_large_ends_it(tmp_path, monkeypatch):
    monkeypatch.setattr(json_documents, "MAX_ITEM", 200_000)
    path = tmp_path / "rows.json"
    small = {"prompt": "Hi", "completion": "Yes.", "label": True}
    path.write_text(json.dumps([small, {**small, "prompt": "x" * 1_000_000}, small]))

    items = list(importing.read(path))

    assert isinstance(items[-1], Rejected)
    assert "over 200,000 bytes" in items[-1].reason


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "rows.parquet"
    path.write_bytes(parquet())

    with pytest.raises(Invalid, match=r"pip install 'thumbwheel-server\[server\]'"):
        list(importing.read(path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (zipped({"xl/workbook.xml": b""}), "Excel workbook"),
        (zipped({}), "empty archive"),
        (zipped({"a": lines()})[:-30], "Cannot read"),
        (parquet()[:-20], "Cannot read"),
    ],
    ids=["Excel workbook", "empty archive", "cut archive", "cut parquet file"],
)
def test_an_archive_that_is_damaged_or_no_archive_of_records_is_named(tmp_path, content, words):
    path = tmp_path / "file"
    path.write_bytes(content)

    with pytest.raises(Invalid, match=words):
        list(importing.read(path))


def test_a_folder_is_read_with_its_archives_and_without_hidden_files(tmp_path):
    for name, content in {
        "export/b.jsonl": lines(), "export/.hidden": b"no",
        "export/sub/a.zip": zipped({"x": lines(), "__MACOSX/x": b"no"}),
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)

    sources = sources_of(str(tmp_path / "export"), tmp_path)

    assert [source.name for source in sources] == ["export/b.jsonl", "export/sub/a.zip/x"]
    assert all(source.part for source in sources)


def test_a_file_that_changed_has_another_key(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(lines())
    [before] = sources_of(str(path), tmp_path)
    path.write_bytes(lines() * 2)

    assert sources_of(str(path), tmp_path)[0].key != before.key
