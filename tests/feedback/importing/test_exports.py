"""Every file of `exports`: its shape, what it becomes, and that this is what the tool's description says of it."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.feedback import importing
from app.feedback.importing import Imported, Registered, Rejected, Silent, shapes
from app.feedback.importing.containers import opened
from app.feedback.importing.containers.json_documents import ARRAYS
from tests.feedback.importing.test_formats import DOWN, FORMATS, UP, by_reason, is_kept, kind
from tests.feedback.importing.test_tools import read, signals

EXPORTS = Path(__file__).parent / "exports"
EXPECTED: dict[str, Any] = json.loads((EXPORTS / "expectations.json").read_text(encoding="utf-8"))
_CUT, _NO_QUERY = "ai_response was cut after 500 characters", "user_query is empty"
_NOT_RATED = "the completion alone is registered"
#: By file: its shape, and the number of events by signal, of rejected and of silent records by reason.
OUTCOMES: dict[str, tuple[str, dict[str, int], dict[str, int], dict[str, int]]] = {
    "anythingllm_chats.csv": (
        "anythingllm", {UP: 5, DOWN: 2}, {"response is empty": 1}, {"nobody rated the answer": 2},
    ),
    "anythingllm_chats.json": (
        "anythingllm", {UP: 5, DOWN: 2}, {"response is empty": 1}, {"nobody rated the answer": 2},
    ),
    "argilla_preference.json": (
        "argilla", {"preference": 7}, {}, {"nobody submitted a response": 1},
    ),
    "argilla_records.json": (
        "argilla", {UP: 5, DOWN: 1, "rating": 6, "edit": 1, "comment": 1}, {"the answer is empty": 2},
        {"nobody submitted a response": 1, "the response to thumb is empty": 1},
    ),
    "dify_feedback_export.csv": (
        "dify", {UP: 5, DOWN: 2, "comment": 4}, {_CUT: 1, _NO_QUERY: 1, "ai_response is empty": 1}, {},
    ),
    "dify_feedback_export.json": (
        "dify", {UP: 5, DOWN: 3, "comment": 5}, {_CUT: 1, _NO_QUERY: 1, "ai_response is empty": 1}, {},
    ),
    "flowise_export_data.json": (
        "flowise", {UP: 2, DOWN: 2, "comment": 2},
        {"the answer is empty": 1, "the export does not hold the message": 1, "the chat has no message of the user": 1},
        {},
    ),
    "helicone_requests.jsonl": (
        "helicone", {UP: 4, DOWN: 2, "registered": 8},
        {"the bodies of the request are missing": 1, "response_body is empty": 1},
        {"nobody rated the request": 2, "the request failed with the status 429": 1, "a request for embeddings": 1},
    ),
    "labelstudio_assessment.json": (
        "label-studio", {"outcome": 5, "rating": 2},
        {
            "likert_scale is 7, beyond a scale of 1 to 5": 1,
            "likert_scale is 6, beyond a scale of 1 to 5": 1,
            "messages must be a list of at least two messages": 1,
        },
        {"nobody annotated the task": 1},
    ),
    "labelstudio_pairwise.json": (
        "label-studio", {"preference": 6}, {"the preferred answer is empty": 1}, {"nobody annotated the task": 3},
    ),
    "librechat_conversation.json": (
        "librechat", {UP: 4, DOWN: 2, "comment": 5}, {"the answer is empty": 1}, {"the rated message is an error": 1},
    ),
    "librechat_recursive.json": ("librechat", {UP: 2, DOWN: 1, "comment": 3}, {}, {}),
    "lunary_export.jsonl": (
        "lunary", {UP: 4, DOWN: 1, "comment": 3, "registered": 9}, {"output is empty": 1},
        {
            "nobody rated the run": 3,
            "a run that failed, or has no output": 1,
            "Lunary was told not to keep the texts": 1,
        },
    ),
    "mlflow_traces.jsonl": (
        "mlflow", {UP: 3, DOWN: 3, "comment": 4, "edit": 1, "rating": 1, "registered": 8}, {"the output is empty": 1},
        {
            'the assessment relevance is by "LLM_JUDGE", not by a person': 1,
            'the assessment correctness is by "LLM_JUDGE", not by a person': 1,
            'the assessment has_time is by "CODE", not by a person': 1,
            "the assessment user_satisfaction was replaced": 1,
            "a trace without an output": 1,
        },
    ),
    "openwebui_feedback_history.json": (
        "open-webui", {UP: 3, DOWN: 3, "comment": 5},
        {"the answer is empty": 1, "the chat of the feedback does not hold the message": 2}, {},
    ),
    "openwebui_feedback_history_later.json": ("open-webui", {UP: 2, DOWN: 1, "comment": 1}, {}, {}),
    "opik_traces.json": (
        "opik", {UP: 5, DOWN: 2, "comment": 5, "registered": 8},
        {"the score helpfulness is 4 on an unknown scale": 1, "output is empty": 1},
        {"the score Hallucination is by a judge, not by a person": 1, "a trace that failed, or has no output": 1},
    ),
    "zendesk_satisfaction_ratings.json": (
        "zendesk-ratings", {UP: 3, DOWN: 3, "comment": 4}, {}, {"nobody rated the ticket": 2},
    ),
    "zendesk_tickets.csv": ("zendesk", {UP: 2, DOWN: 3}, {}, {"nobody rated the ticket": 2}),
}  # fmt: skip
#: Shapes that also fit records of more telling ones, which are tried before them.
_GENERAL = {"table", "messages"}


def rows(path: Path) -> Iterator[tuple[Any, bool]]:
    """Yields the records of a file, those of a page one by one, and whether all their values are texts."""
    with path.open("rb") as file:
        container = opened(file, path.name)
        for record in container.records:
            value = record.value
            if isinstance(value, dict) and shapes.find(value, textual=container.textual) is None:
                value = next((value[name] for name in value if name in ARRAYS), value)
            for row in value if isinstance(value, list) else [value]:
                yield row, container.textual


def standing(items: list[importing.Item], value: str) -> int:
    """Counts the votes that stand: the latest of each actor on each completion."""
    votes = [item.event for item in items if isinstance(item, Imported) and item.event.signal.kind == "thumbs"]
    latest = {(vote.completion_id, vote.actor): vote.signal.value for vote in sorted(votes, key=_moment)}  # type: ignore[union-attr]
    return sum(vote == value for vote in latest.values())


def _moment(event: Any) -> float:
    return 0.0 if event.occurred_at is None else event.occurred_at.timestamp()


def test_the_tables_name_every_export():
    names = {path.name for path in EXPORTS.iterdir()} - {"README.md", "expectations.json"}

    assert names == set(OUTCOMES) == set(EXPECTED)
    assert all(f"`{name.rsplit('.', 1)[0]}" in (EXPORTS / "README.md").read_text(encoding="utf-8") for name in names)


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_export_becomes_what_the_table_says(name):
    _, kept, rejected, silent = OUTCOMES[name]
    items = list(importing.read(EXPORTS / name))

    assert Counter(map(kind, filter(is_kept, items))) == kept
    assert by_reason(items, Rejected, rejected) == rejected
    assert by_reason(items, Silent, silent) == silent
    assert not [item for item in items if isinstance(item, Imported | Registered) and item.fault is not None]


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_export_holds_the_votes_that_its_description_says(name):
    expected = EXPECTED[name]
    # The vote on a message that an export lacks is rejected with the remedy, except those on tickets, which have ids.
    items = list(importing.read(EXPORTS / name))

    assert (standing(items, "up"), standing(items, "down")) == (expected["positive"], expected["negative"])
    kinds = Counter(map(kind, filter(is_kept, items)))
    assert kinds["comment"] >= expected["comments"] + expected["other"].get("comment_only", 0)
    assert kinds["preference"] == expected["other"].get("preference", 0) + expected["other"].get("tie", 0)


@pytest.mark.parametrize("name", OUTCOMES)
def test_each_export_has_the_shape_of_its_tool_and_of_no_other(name):
    records = list(rows(EXPORTS / name))

    assert records
    for row, textual in records:
        found = shapes.find(row, textual=textual)
        assert found is not None
        assert found.name == OUTCOMES[name][0]
        fit = {shape.name for shape in shapes.SHAPES if shape.recognises(row)}
        assert fit - _GENERAL == {found.name}


def test_no_file_of_the_formats_has_the_shape_of_an_export(shared_data):
    tools = {shape for shape, *_ in OUTCOMES.values()}
    for name in FORMATS:
        for row, _ in rows(shared_data / "formats" / name):
            fit = {shape.name for shape in shapes.SHAPES if isinstance(row, dict) and shape.recognises(row)}
            assert not fit & tools, name


@pytest.mark.parametrize(
    "row",
    [
        {"conversationId": "c", "messages": [{"role": "user", "content": "Hi"}]},
        {"info": {"trace_id": "t"}, "data": {"input": "Hi", "output": "Hello!"}},
        {"id": "1", "type": "llm", "input": "Hi", "output": "Hello!", "traceId": "t", "userId": "u"},
        {"request_id": "r", "request_body": {"messages": []}, "latency": 3},
        {"id": 1, "workspace": "w", "prompt": "Hi", "response": "Hello!", "sent_at": "2026-03-01"},
        {"ChatMessage": [], "ChatFlow": []},
        {"ticket_id": 1, "score": "good"},
        {"id": "m", "role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"feedback_id": "f", "message_id": "m", "feedback_rating": "like"},
        {"feedback_scores": {"n": 1}, "input": "Hi", "output": "Hello!"},
    ],
)
def test_a_record_that_only_resembles_that_of_a_tool_is_not_taken_for_it(row):
    found = shapes.find(row)

    assert found is None or found.name in _GENERAL


def message(number: int, parent: int | None, **more: Any) -> dict[str, Any]:
    return {"messageId": f"m{number}", "parentMessageId": None if parent is None else f"m{parent}",
            "isCreatedByUser": number % 2 == 0, "text": f"text {number}", **more}  # fmt: skip


def test_calls_of_tools_in_an_answer_of_librechat_are_messages_of_its_prompt(tmp_path):
    call = {"id": "c1", "name": "search", "args": '{"q": "x"}', "output": "found"}
    parts = [{"type": "think", "think": "Search."}, {"type": "tool_call", "tool_call": call},
             {"type": "text", "text": {"value": "It is x."}}]  # fmt: skip
    answer = message(1, 0, text="", content=parts, feedback={"rating": "thumbsDown", "tag": {"key": "other"}})

    vote, remark = read(tmp_path, {"conversationId": "c", "messages": [message(0, None), answer]})

    assert isinstance(vote, Imported)
    assert isinstance(vote.event.prompt, list)
    assert [turn.role for turn in vote.event.prompt] == ["user", "assistant", "tool"]
    assert vote.event.prompt[1].reasoning_content == "Search."
    assert vote.event.completion == "It is x."
    assert signals([vote, remark])[1] == {"kind": "comment", "text": "other"}


def test_a_long_conversation_on_one_line_is_read(tmp_path):
    conversation = json.loads((EXPORTS / "librechat_conversation.json").read_text(encoding="utf-8"))
    conversation["messages"][-1]["text"] = "x" * (1 << 20)
    path = tmp_path / "conversation.json"
    path.write_text(json.dumps(conversation))

    assert Counter(map(kind, filter(is_kept, importing.read(path))))[UP] == 4


def test_the_csv_of_lunary_holds_what_its_json_lines_hold(tmp_path):
    lines = (EXPORTS / "lunary_export.jsonl").read_text(encoding="utf-8").splitlines()
    runs = [{name: _cell(value) for name, value in json.loads(line).items()} for line in lines]
    path = tmp_path / "export.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for run in runs for name in run)))
        writer.writeheader()
        writer.writerows(runs)

    def held(path: Path) -> list[Any]:
        items = filter(is_kept, importing.read(path))
        return [item.event if isinstance(item, Imported) else item.completion for item in items]  # type: ignore[union-attr]

    assert held(path) == held(EXPORTS / "lunary_export.jsonl")


def _cell(value: Any) -> Any:
    return value if isinstance(value, str | None) else json.dumps(value)


def test_a_file_of_opik_export_holds_one_trace_beside_its_spans(tmp_path):
    score = {"name": "User feedback", "value": 1.0, "category_name": "👍", "source": "ui", "created_by": "ann"}
    trace = {"id": "t", "start_time": "2026-03-01 10:00:00+00:00", "input": {"q": "Hi"}, "output": {"output": "Hello!"},
             "feedback_scores": [score]}  # fmt: skip

    registered, vote = read(tmp_path, {"trace": trace, "spans": [], "downloaded_at": "2026-03-02T00:00:00"})

    assert isinstance(registered, Registered)
    assert signals([vote]) == [{"kind": "thumbs", "value": "up"}]


def test_yes_is_a_thumb_only_under_a_name_of_users_feedback(tmp_path):
    def task(control: str) -> dict[str, Any]:
        result = {"type": "choices", "from_name": control, "value": {"choices": ["Yes"]}}
        return {"data": {"prompt": "Hi", "response": "Hello!"}, "annotations": [{"id": 1, "result": [result]}]}

    assert signals(read(tmp_path, task("helpful"), task("hallucination"))) == [
        {"kind": "thumbs", "value": "up"}, {"kind": "outcome", "name": "hallucination", "value": True},
    ]  # fmt: skip


def test_a_rating_in_words_is_a_thumb(tmp_path):
    row = {"question": "Hi", "answer": "Hello!", "rating": "GOOD"}

    assert signals(read(tmp_path, row)) == [{"kind": "thumbs", "value": "up"}]


def test_scores_in_objects_are_mapped_by_a_path(tmp_path):
    row = {"id": "b1", "input": [{"role": "user", "content": "Hi"}], "output": "Hello!", "scores": {"thumb": 0}}

    [vote] = read(tmp_path, row, columns="completion_id=id,prompt=input,completion=output,label=scores.thumb")

    assert isinstance(vote, Imported)
    assert (vote.event.completion_id, signals([vote])) == ("b1", [{"kind": "thumbs", "value": "down"}])
