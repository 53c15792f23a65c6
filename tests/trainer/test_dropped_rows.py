"""Rows that cannot be trained as they were judged are dropped, counted by reason and named; no run fails by one."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from thumbwheel.row_checks import REASONS, RowFault, fault_of, is_invisible

from tests.trainer import asking, tiny
from worker.training.data.tokens import Encoded, Tokens
from worker.training.machine.process import TrainingRefusal
from worker.training.standalone.dataset import read_dataset, require_enough
from worker.training.train import train

ASKED = [{"role": "user", "content": "hi"}]
ANSWERED = [{"role": "assistant", "content": "yo"}]


@pytest.fixture(scope="module")
def cases(shared_data: Path) -> Path:
    folder = shared_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip("there is no folder shared/cases beside the checkout: this test needs its files")
    return folder


def with_template(template: str) -> Tokens:
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = template
    return Tokens(tokenizer, None)


def of_chat(template: str, answer: str = "yo", prompt: list[dict[str, str]] | None = None) -> Encoded | RowFault:
    [row] = with_template(template).encode_chat([prompt or ASKED], [[{"role": "assistant", "content": answer}]])
    return row


def reason(row: Encoded | RowFault) -> str | None:
    return row.reason if isinstance(row, RowFault) else None


def turns(of_assistant: str, *, opens: str = "<|assistant|>", of_others: str = "{{ m['content'] }}") -> str:
    return (
        "{% for m in messages %}<|{{ m['role'] }}|>{% if m['role'] == 'assistant' %}" + of_assistant + "{% else %}"
        + of_others + "{% endif %}<|end|>\n{% endfor %}{% if add_generation_prompt %}" + opens + "{% endif %}"
    )  # fmt: skip


PLAIN = "{{ m['content'] }}"
TEMPLATES: dict[str, tuple[str, str, list[dict[str, str]], str | None]] = {
    "plain": (turns(PLAIN), "yo", ASKED, None),
    "cuts reasoning": (turns("{{ m['content'].split('</think>')[-1] }}"), "<think>a</think>yo", ASKED,
                       "template_changes_answer"),
    "trims the answer": (turns("{{ m['content'] | trim }}"), " yo", ASKED, "template_changes_answer"),
    "trims the prompt": (turns(PLAIN, of_others="{{ m['content'] | trim }}"), "yo",
                         [{"role": "user", "content": "hi "}], None),
    "ignores the system message": (
        turns(PLAIN, of_others="{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}"), "yo",
        [{"role": "system", "content": "Be kind."}, *ASKED], "template_changes_prompt"),
    "opens reasoning": (turns(PLAIN, opens="<|assistant|><think>\n"), "yo", ASKED, "template_generation_prompt"),
    "ignores the generation prompt": (turns(PLAIN, opens=""), "yo", ASKED, "template_generation_prompt"),
    "raises": ("{{ raise_exception('no system role') }}", "yo", ASKED, "template_error"),
    "is no template": ("{% if %}", "yo", ASKED, "template_error"),
}  # fmt: skip


@pytest.mark.parametrize("case", TEMPLATES)
def test_a_row_whose_text_the_template_changes_is_a_fault(case: str) -> None:
    template, answer, prompt, expected = TEMPLATES[case]

    assert reason(of_chat(template, answer, prompt)) == expected


def test_what_a_template_fills_in_before_the_answer_is_not_trained() -> None:
    # given a template that writes an empty block of reasoning into finished turns, but opens none
    row = of_chat(turns("<think>\n\n</think>\n\n{{ m['content'] }}"))

    # then the answer follows the opened prompt directly, as it was served
    assert isinstance(row, Encoded)
    assert tiny.tokenizer().decode(row.prompt) == "<|user|>hi<|end|>\n<|assistant|>"
    assert tiny.tokenizer().decode(row.completion) == "yo<|end|>"


def test_a_template_that_prints_the_clock_is_refused_once_with_the_remedy() -> None:
    with pytest.raises(TrainingRefusal, match=r"prints the current time.*write a fixed date into the template"):
        of_chat("{{ strftime_now('%Y') }}" + turns(PLAIN))


def test_a_template_that_knows_the_clock_and_does_not_print_it_is_accepted() -> None:
    assert isinstance(of_chat("{% if false %}{{ strftime_now('%Y') }}{% endif %}" + turns(PLAIN)), Encoded)


def test_control_tokens_in_an_answer_are_never_read_as_such() -> None:
    chat = of_chat(turns(PLAIN), "Yes.<|end|> Then more.")
    forged = of_chat(turns(PLAIN), "Yes.<|user|>Really?")
    [text] = Tokens(tiny.tokenizer(), None).encode_text(["Q:"], ["Yes.<|end|> Then more."])

    assert [reason(row) for row in (chat, forged, text)] == ["control_tokens_in_answer"] * 3


def test_control_tokens_in_a_prompt_are_read_as_when_it_is_served_and_counted(tmp_path: Path) -> None:
    tokens = with_template(turns(PLAIN))
    prompt = [{"role": "user", "content": "hi<|end|>\n<|assistant|>Sure"}]

    [row] = tokens.encode_chat([prompt], [ANSWERED])

    served = tokens.tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=False)
    assert isinstance(row, Encoded)
    assert row.prompt.tolist() == served
    assert tokens.reads_control_tokens_in(prompt)
    assert not tokens.reads_control_tokens_in(ASKED)


STATIC: dict[str, tuple[Any, Any, str | None]] = {
    "sound": (ASKED, ANSWERED, None),
    "sound text": ("Q:", " yes", None),
    "an emoji is visible": ("Q:", "👍", None),
    "no message": ([], ANSWERED, "empty_prompt"),
    "unknown role": ([{"role": "human", "content": "hi"}], ANSWERED, "unknown_role"),
    "role in capitals": ([{"role": "User", "content": "hi"}], ANSWERED, "unknown_role"),
    "the user answers": (ASKED, ASKED, "answer_not_assistant"),
    "two answers": (ASKED, ANSWERED * 2, "answer_not_assistant"),
    "no answer": (ASKED, [], "empty_answer"),
    "empty answer": (ASKED, [{"role": "assistant", "content": ""}], "empty_answer"),
    "null": (ASKED, [{"role": "assistant", "content": None}], "content_not_text"),
    "parts of text": ([{"role": "user", "content": [{"type": "text", "text": "hi"}]}], ANSWERED, None),
    "an image": ([{"role": "user", "content": [{"type": "image_url"}]}], ANSWERED, "media_content"),
    "an unknown part": ([{"role": "user", "content": [{"type": "poem"}]}], ANSWERED, "content_not_text"),
    "broken arguments": (ASKED, [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}],
                         "tool_arguments"),
    "white space": ("Q:", " \n\t\u00a0\u3000", "invisible_answer"),
    "zero width": (ASKED, [{"role": "assistant", "content": "\u200b\u200d\u2060\ufeff"}], "invisible_answer"),
    "control characters": ("Q:", "\x00\x1b\x7f", "invisible_answer"),
    "variation selectors": ("Q:", "\ufe0f\U000e0100", "invisible_answer"),
    "fillers": ("Q:", "\u3164\u2800\u115f", "invisible_answer"),
    "function call": ([*ASKED, {"role": "assistant", "content": "", "function_call": {"name": "f"}}], ANSWERED,
                      "lost_fields"),
    "images": (ASKED, [{**ANSWERED[0], "images": ["a.png"]}], "lost_fields"),
    "reasoning": (ASKED, [{**ANSWERED[0], "reasoning_content": "because"}], None),
    "tool result": ([*ASKED, {"role": "tool", "content": "12 C", "tool_call_id": "1"}], ANSWERED, None),
}  # fmt: skip


@pytest.mark.parametrize("case", STATIC)
def test_what_shows_without_a_model_has_one_reason_everywhere(case: str) -> None:
    prompt, answer, expected = STATIC[case]

    assert reason(fault_of(prompt, answer)) == expected  # type: ignore[arg-type]


def test_text_with_one_visible_character_is_not_invisible() -> None:
    assert is_invisible("\u200b \ufeff")
    assert not is_invisible("\u200b.\ufeff")


def test_every_reason_has_a_meaning_and_a_remedy() -> None:
    assert all(meaning and remedy for meaning, remedy in REASONS.values())


def test_one_row_of_each_kind_leaves_the_run_alone_and_is_named(tmp_path: Path, base: Path) -> None:
    # given chats, two of them unsound, and held-out rows of which one is unsound
    rows, held = tiny.chat_rows(), tiny.chat_rows(4)
    rows[3]["completion"] = [{"role": "assistant", "content": "Yes.<|end|> Then more."}]
    rows[5]["completion"] = [{"role": "assistant", "content": "\u200b"}]
    held[1]["prompt"] = [{"role": "human", "content": "hi"}]
    rows[0]["prompt"] = [{"role": "user", "content": "hi<|end|>"}]
    workdir = tiny.stage(tmp_path / "w", base, rows, held, epochs=1)

    train(workdir)

    summary = tiny.document(workdir / "training.json")
    assert (summary["rows_trained"], summary["rows_dropped"]) == (10, 2)
    assert summary["dropped"]["reasons"] == {
        "train": {"control_tokens_in_answer": 1, "invisible_answer": 1},
        "holdout": {"unknown_role": 1},
    }
    assert summary["dropped"]["control_tokens_in_prompts"] == {"train": 1}
    lines = tiny.lines(workdir / "dropped.jsonl")
    assert lines == summary["dropped"]["rows"]
    assert [(line["completion_id"], line["shard"], line["row"]) for line in lines] == [
        ("c3", "train-0.parquet", 3),
        ("c5", "train-0.parquet", 5),
        ("c10001", "holdout-0.parquet", 1),
    ]
    assert tiny.document(workdir / "dropped-by-reason.json") == [
        {
            "reason": line["reason"],
            "meaning": line["meaning"],
            "remedy": line["remedy"],
            "count": 1,
            "splits": {line["split"]: 1},
            "examples": [{name: line[name] for name in ("split", "completion_id", "detail")}],
        }
        for line in lines
    ]
    warned = {line["code"]: line["message"] for line in tiny.lines(workdir / "warnings.jsonl")}
    assert "2 train rows are dropped" in warned["rows_dropped"]
    assert "1 prompts hold the text of a control token" in warned["control_tokens_in_prompts"]


def test_where_all_rows_fall_the_refusal_begins_with_the_reason_and_its_remedy(tmp_path: Path, base: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(base, bare)
    (bare / "chat_template.jinja").unlink(missing_ok=True)

    with pytest.raises(
        TrainingRefusal, match=r"all 12 train rows are dropped.*no chat template: add chat_template\.jinja"
    ):
        train(tiny.stage(tmp_path / "w", bare, tiny.chat_rows(), tiny.chat_rows(4)))

    # and the counts by reason are written all the same
    [counted] = tiny.document(tmp_path / "w" / "dropped-by-reason.json")  # type: ignore[misc]
    assert (counted["reason"], counted["count"], counted["splits"]) == (
        "no_chat_template", 16, {"train": 12, "holdout": 4},
    )  # fmt: skip
    assert [row["completion_id"] for row in counted["examples"]] == ["c0", "c1", "c2"]


def test_a_file_of_rows_loses_the_unsound_ones_and_names_their_lines(tmp_path: Path, base: Path) -> None:
    unsound = [
        {"prompt": [{"role": "human", "content": "Hi"}], "completion": ANSWERED, "label": True},
        {"prompt": ASKED, "completion": [{**ANSWERED[0], "function_call": {"name": "f"}}], "label": True},
        {"prompt": ASKED, "completion": ANSWERED, "label": False, "images": ["x.png"]},
        {"prompt": "a", "chosen": "\u200b", "rejected": "b"},
    ]
    request = asking.request(tmp_path, base, [*tiny.text_rows(40), *unsound], holdout=0)

    data = read_dataset(request, request.recipe())

    assert len(data.train.examples) == 40
    assert {name: count for name, count in data.dropped.items() if count} == {
        "unknown_role": 1,
        "lost_fields": 2,
        "invisible_answer": 2,
    }
    assert [row.name for _, row in data.faulty][:3] == [f"rows.jsonl line {line}" for line in (41, 42, 43)]


def test_the_files_of_roles_fields_and_control_tokens_are_refused_by_their_first_line(
    cases: Path, tmp_path: Path, base: Path
) -> None:
    for name, sentence in (
        ("roles.jsonl", r"roles.jsonl line 1: .*unknown role \(human\): use one of system, developer, user, assistant"),
        ("message_fields.jsonl", r"message_fields.jsonl line \d: a field that the model would not see"),
    ):
        request = asking.request(tmp_path, base, None, data=[cases / name])
        data = read_dataset(request, request.recipe())
        assert not data.train.examples or name == "message_fields.jsonl"
        with pytest.raises(TrainingRefusal, match=sentence):
            require_enough(data, request.recipe(), allow_imbalance=False)
    row = json.loads((cases / "control_tokens.jsonl").read_text())
    tokenizer = tiny.tokenizer(chat=True)
    tokenizer.add_special_tokens({"additional_special_tokens": ["</s>"]})
    [encoded] = Tokens(tokenizer, None).encode_chat([row["prompt"]], [row["completion"]])
    assert reason(encoded) == "control_tokens_in_answer"


def test_reasoning_that_a_template_cuts_never_makes_rows_equal(cases: Path) -> None:
    rows = [json.loads(line) for line in (cases / "think_rows.jsonl").read_text().splitlines()]
    tokens = with_template((cases / "think_template.jinja").read_text())

    encoded = tokens.encode_chat([row["prompt"] for row in rows], [row["completion"] for row in rows])

    assert {reason(row) for row in encoded} == {"template_generation_prompt"}


def test_tokens_beyond_the_embedding_drop_their_rows_alone(
    cases: Path, shared_data: Path, tmp_path: Path, python: str
) -> None:
    from worker.training.models.policy import load_tokens, vocabulary

    model = tmp_path / "model"
    script = cases / "model_with_tokens_beyond_embedding.py"
    subprocess.run([python, script, shared_data / "models/stories260K", model], check=True)
    rows = [json.loads(line) for line in (cases / "holdout_beyond_embedding.jsonl").read_text().splitlines()]
    workdir = tmp_path / "w"
    (workdir / "snapshot").mkdir(parents=True)
    from worker.training.data.rows import read_rows
    from worker.training.job import Shard

    line = tiny.write_shard(workdir / "snapshot" / "holdout-0.parquet", rows)
    shards = [Shard(**line, split="holdout")]
    read = read_rows(workdir / "snapshot", shards, load_tokens(model), 512, vocabulary=vocabulary(model))

    assert (len(read.rows), read.dropped) == (11, 1)
