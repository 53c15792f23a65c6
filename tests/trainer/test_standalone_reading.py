"""Files in the formats of TRL's trainers; each fault is one sentence that names file, line and remedy."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainer.asking import written
from worker.training.machine.process import TrainingRefusal
from worker.training.standalone.examples import Example, Pair, example_of
from worker.training.standalone.labels import Labels
from worker.training.standalone.reading import read

ROWS = [
    {"prompt": "Where is it?\n", "completion": ' "On its way", soon.', "label": True},
    {"prompt": "Bitte, wo?", "completion": " Später.", "label": False},
]
USER = {"role": "user", "content": "Hi?"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("Hi!", "No."))


def examples(path: Path, *, label_needed: bool = True) -> list[Example | Pair]:
    labels = Labels()
    return [example_of(record, labels, label_needed=label_needed) for record in read(path)]


def one(fields: dict[str, Any], tmp_path: Path) -> Any:
    return examples(written(tmp_path / "one.jsonl", [fields]))[0]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.json.gz", "a.csv", "a.parquet"])
def test_every_kind_of_file_says_the_same(name, tmp_path):
    rows = examples(written(tmp_path / name, ROWS))

    assert [(example.prompt, example.completion, example.desirable) for example in rows] == [
        tuple(row.values()) for row in ROWS
    ]


def test_lines_of_json_may_be_called_json_and_a_byte_order_mark_is_no_part_of_a_column(tmp_path):
    lines = tmp_path / "lines.json"
    lines.write_bytes(b'\xef\xbb\xbf\n{"prompt": "a", "completion": "b", "label": 1}\n\n')
    table = tmp_path / "table.csv"
    table.write_bytes('\ufeffprompt,completion,label,weight\r\na,b,1,0.5\r\na,"b\nc",0,\r\n'.encode())

    assert [example.desirable for example in examples(lines)] == [True]
    rows = [(example.completion, example.desirable, example.weight) for example in examples(table)]
    assert rows == [("b", True, 0.5), ("b\nc", False, 1)]


def test_a_place_is_that_of_the_record_not_of_the_line_before_it(tmp_path):
    path = tmp_path / "gaps.jsonl"
    path.write_text('\n{"a": 1}\n\n{"a": 2}\n')

    assert [(record.place, record.name) for record in read(path)] == [
        (f"{path} line 2", "gaps.jsonl line 2"),
        (f"{path} line 4", "gaps.jsonl line 4"),
    ]


@pytest.mark.parametrize("labels", [[True, False], [1, 0], [1.0, 0.0], ["true", "false"], ["True", "FALSE"]])
def test_labels_are_true_and_false_or_1_and_0_or_their_names(labels, tmp_path):
    rows = [{"prompt": "a", "completion": "b", "label": label} for label in labels]

    assert [example.desirable for example in examples(written(tmp_path / "a.jsonl", rows))] == [True, False]


def test_a_pair_is_one_desirable_and_one_undesirable_row_of_its_prompt(tmp_path):
    pair = one({"prompt": "Hi?", "chosen": "Hi!", "rejected": "No.", "weight": 2}, tmp_path)

    assert [(row.prompt, row.completion, row.desirable, row.weight) for row in pair.examples] == [
        ("Hi?", "Hi!", True, 2.0),
        ("Hi?", "No.", False, 2.0),
    ]


@pytest.mark.parametrize("prompt", [{}, {"prompt": None}, {"prompt": "Hi?"}], ids=["none", "null", "as text beside it"])
def test_conversations_that_begin_alike_share_a_prompt(prompt, tmp_path):
    system = {"role": "system", "content": "Be kind."}
    pair = one({**prompt, "chosen": [system, USER, GOOD], "rejected": [system, USER, BAD]}, tmp_path)

    assert pair.chosen.prompt == pair.rejected.prompt == [system, USER]
    assert (pair.chosen.completion, pair.rejected.completion) == ([GOOD], [BAD])


def test_texts_that_begin_alike_share_whole_words(tmp_path):
    pair = one({"chosen": "Q: Why?\nA: I like it", "rejected": "Q: Why?\nA: I love it"}, tmp_path)

    assert pair.chosen.prompt == "Q: Why?\nA: I"
    assert (pair.chosen.completion, pair.rejected.completion) == (" like it", " love it")


def test_a_text_to_a_chat_is_one_message_of_the_assistant(tmp_path):
    row = one({"prompt": [USER], "completion": "Hi!", "label": True}, tmp_path)

    assert row.completion == [GOOD]


def test_rows_may_bring_a_weight_labels_by_name_and_spans(tmp_path):
    row = one(
        {"prompt": "a", "completion": "bcd", "weight": 3, "labels": {"kind": True, "short": False, "true": None},
         "spans": [{"start": 1, "end": 3, "weight": 0}]},
        tmp_path,
    )  # fmt: skip

    assert (row.weight, row.labels, row.spans) == (3.0, {"kind": True, "short": False}, ((1, 3, 0.0),))
    assert not row.desirable  # undesirable in one respect


def test_where_all_is_imitated_a_row_needs_no_label(tmp_path):
    path = written(tmp_path / "a.jsonl", [{"prompt": "a", "completion": "b"}])

    assert [example.desirable for example in examples(path, label_needed=False)] == [True]


ROW = {"prompt": "a", "completion": "b", "label": True}
BAD_ROWS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a column lacks": (
        [{"prompt": "a", "response": "b", "label": True}],
        r"line 1: there is no column completion, found prompt, response, label: name the columns",
    ),
    "a label is null": (
        [ROW, {**ROW, "label": None}],
        "line 2: label is null: write true or false, or remove the row",
    ),
    "a label lacks": ([ROW, {"prompt": "a", "completion": "b"}], "line 2: there is no column label"),
    "label is a word": ([{**ROW, "label": "good"}], 'line 1: label is "good": write'),
    "label is a number": ([{**ROW, "label": 5}], "line 1: label is 5: write"),
    "labels of two kinds": ([ROW, {**ROW, "label": 1}], r"line 2: label is 1, \S+ line 1 has true: write"),
    "a label of no kind": ([ROW, {**ROW, "label": "good"}], r'line 2: label is "good", \S+ line 1 has true: write'),
    "completion is null": ([{**ROW, "completion": None}], "line 1: completion is null: write a text"),
    "prompt is a number": ([{**ROW, "prompt": 3}], "line 1: prompt is 3: write a text"),
    "prompt is empty": ([{**ROW, "prompt": []}], "line 1: prompt is an empty list"),
    "message is a text": ([{**ROW, "prompt": ["Hi"]}], 'prompt: message 1 is "Hi": write {role, content}'),
    "chat after text": ([{**ROW, "completion": [GOOD]}], "prompt is a text, completion is messages"),
    "half a character": ([{**ROW, "completion": "\ud83d"}], r"completion holds half of a character \(U\+D83D\)"),
    "two shapes": ([{**ROW, "chosen": "c"}], "completion in addition to chosen"),
    "half a pair": ([{"prompt": "a", "chosen": "b"}], "there is no column rejected"),
    "nothing in common": ([{"chosen": "a", "rejected": "b"}], "begin differently: add a column prompt"),
    "one is the other's beginning": ([{"chosen": "a b", "rejected": "a"}], "beginning of the other"),
    "weight of 0": ([{**ROW, "weight": 0}], "line 1: weight is 0: write a number over 0"),
    "weight is a text": ([{**ROW, "weight": "2"}], 'line 1: weight is "2"'),
    "labels is a list": ([{**ROW, "labels": ["kind"]}], r'labels is \["kind"\]: write an object'),
    "a label by name is a number": ([{**ROW, "labels": {"kind": 1}}], "labels: kind is 1: write true or false"),
    "span outside": ([{**ROW, "spans": [{"start": 0, "end": 2, "weight": 1}]}], "span 1 .* in the 1 characters"),
    "span without weight": ([{**ROW, "spans": [{"start": 0, "end": 1}]}], "weight of span 1 is null"),
    "spans of a pair": ([{"prompt": "a", "chosen": "b", "rejected": "c", "spans": []}], "spans belongs to rows with"),
}


@pytest.mark.parametrize(("rows", "sentence"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_refused_with_its_place_and_a_remedy(rows, sentence, tmp_path):
    path = written(tmp_path / "bad.jsonl", rows)

    with pytest.raises(TrainingRefusal, match=sentence) as refused:
        examples(path)

    assert refused.value.message.startswith(f"{path} line {len(rows)}: ")


BAD_FILES = {
    "a.jsonl": (b'{"prompt": "a"}\n{"prompt": tru\n', r"a\.jsonl line 2 is not JSON \(.* at column 12\): correct it"),
    "b.jsonl": (b"[1,\n2]", r"b\.jsonl item 1 is a number, not an object"),
    "c.jsonl": (b'{"a": 1}\n"text"\n', r"c\.jsonl line 2 is a text, not an object"),
    "d.jsonl": (b'{"label": NaN}\n', r"d\.jsonl line 1 is not JSON \(NaN is not a number\)"),
    "e.jsonl": (b'{"a": "\xff"}\n', r"e\.jsonl line 1 is not UTF-8"),
    "f.jsonl.gz": (b"\x1f\x8b\x08\x00cut", r"f\.jsonl\.gz cannot be read"),
    "g.json": (b'[{"a": 1},\n {"a": }]', r"g\.json is not JSON \(.* in line 2\)"),
    "h.csv": (b"prompt,completion,label\na,b\n", r"h\.csv line 2 has 2 cells, the header has 3"),
    "i.csv": (b"prompt,prompt\na,b\n", r"i\.csv line 1: two columns have the same name"),
    "j.csv": (b'prompt,completion\na,"b\n', r"j\.csv line 2 is not valid CSV"),
    "k.csv": (b"prompt\n\xff\n", r"k\.csv is not UTF-8"),
    "l.parquet": (b"no parquet", r"l\.parquet is not a readable parquet file"),
    "m.xlsx": (b"PK", r"m\.xlsx: no known kind of file: name one of \.jsonl"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_read_is_refused_with_what_is_wrong(name, tmp_path):
    content, sentence = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)

    with pytest.raises(TrainingRefusal, match=sentence):
        list(read(tmp_path / name))


def test_a_file_that_is_none_is_refused(tmp_path):
    with pytest.raises(TrainingRefusal, match="there is no such file"):
        list(read(tmp_path / "none.jsonl"))
    with pytest.raises(TrainingRefusal, match="is a folder"):
        list(read(tmp_path))
