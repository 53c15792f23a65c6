"""Every file of the formats of other tools: what each becomes, and what is rejected, with the reason."""

from collections import Counter
from pathlib import Path

import pytest

from app.feedback import importing
from app.feedback.importing import Imported, Registered, Rejected, Silent

UP, DOWN = "thumbs up", "thumbs down"
#: By file: the number of events by signal, of registered completions, and of rejected and silent records by reason.
FORMATS: dict[str, tuple[dict[str, int], dict[str, int], dict[str, int]]] = {
    "axolotl_dpo_argilla_chat.jsonl": ({"preference": 8}, {}, {}),
    "axolotl_kto_user_defined.jsonl": ({UP: 3, DOWN: 3}, {}, {}),
    "bad_lines.jsonl": (
        {UP: 1, DOWN: 1},
        {"is not valid JSON": 3, "is not a JSON object": 1, "/prompt: Input should be a valid string": 1},
        {},
    ),
    "bad_rows_trl.jsonl": (
        {UP: 5, DOWN: 2},
        {
            'label is "true": must be true or false': 1,
            "label is 1: must be true or false": 1,
            "label is null: must be true or false": 1,
            "has no known shape (fields: problem, prompt, completion)": 1,
            "completion is empty": 1,
            "/prompt/0/role: Input should be": 1,
            "/prompt/0/content: holds a NUL character": 1,
        },
        {},
    ),
    "bom_crlf.csv": ({UP: 1, DOWN: 1}, {}, {}),
    "generic_edits.jsonl": ({"edit": 4}, {}, {}),
    "generic_stars.csv": ({"rating": 5}, {}, {"the row has no judgement": 1}),
    "generic_thumbs.csv": ({UP: 4, DOWN: 4, "comment": 1}, {}, {}),
    "halos_binary_feedback.json": ({UP: 3, DOWN: 3}, {}, {}),
    "halos_pairwise_feedback.json": ({"preference": 8}, {}, {}),
    "langfuse_create_scores.jsonl": (
        {UP: 3, DOWN: 3, "comment": 4, "rating": 1, "edit": 1},
        {"the score solved is about a session": 1},
        {},
    ),
    "langfuse_get_scores_v2.json": ({UP: 3, DOWN: 3, "comment": 3}, {}, {}),
    "langfuse_ingestion_batch.json": ({UP: 3, DOWN: 3, "comment": 3, "registered": 12}, {}, {}),
    "langsmith_feedback.jsonl": ({UP: 3, DOWN: 3, "edit": 1, "preference": 1}, {}, {}),
    "langsmith_runs.jsonl": ({"registered": 6}, {}, {}),
    "llamafactory_dpo_alpaca.json": ({"preference": 8}, {}, {}),
    "llamafactory_dpo_sharegpt.json": ({"preference": 8}, {}, {}),
    "llamafactory_kto_openai_messages.json": ({UP: 3, DOWN: 3}, {}, {}),
    "llamafactory_kto_sharegpt.json": ({UP: 3, DOWN: 3}, {}, {}),
    "ms_swift_dpo.jsonl": ({"preference": 8}, {}, {}),
    "ms_swift_kto.jsonl": ({UP: 3, DOWN: 3}, {}, {}),
    "openai_chat_sft_weighted.jsonl": ({UP: 2}, {}, {"weight 0 leaves an answer out of training": 2}),
    "openai_preference.jsonl": ({"preference": 8}, {}, {}),
    "openai_stored_completions.jsonl": ({UP: 2, DOWN: 2, "registered": 4}, {}, {}),
    "otel_genai_evaluation_events.jsonl": ({UP: 2, DOWN: 2}, {}, {}),
    "phoenix_span_annotations.json": ({UP: 3, DOWN: 3}, {}, {}),
    "tensorzero_boolean_metric_feedback_rows.jsonl": ({UP: 3, DOWN: 3}, {}, {}),
    "tensorzero_chat_inference_rows.jsonl": ({"registered": 6}, {}, {}),
    "tensorzero_feedback_requests.jsonl": (
        {UP: 3, DOWN: 3, "comment": 1, "edit": 1},
        {"the feedback is about an episode": 1},
        {"TensorZero stored nothing of a dry run": 1},
    ),
    "trl_preference_conversational.jsonl": ({"preference": 8}, {}, {}),
    "trl_preference_implicit_prompt.jsonl": ({"preference": 8}, {}, {}),
    "trl_preference_standard.jsonl": ({"preference": 8}, {}, {}),
    "trl_unpaired_conversational.jsonl": ({UP: 6, DOWN: 6}, {}, {}),
    "trl_unpaired_standard.jsonl": ({UP: 6, DOWN: 6}, {}, {}),
    "trl_unpaired_tools.jsonl": ({UP: 1, DOWN: 1}, {}, {}),
}


def test_the_table_names_every_file(shared_data):
    assert {path.name for path in (shared_data / "formats").iterdir()} - {"README.md"} == set(FORMATS)


@pytest.mark.parametrize("name", FORMATS)
def test_each_file_becomes_what_the_table_says(shared_data, name):
    kept, rejected, silent = FORMATS[name]
    items = list(importing.read(shared_data / "formats" / name))

    assert Counter(map(kind, filter(is_kept, items))) == kept
    assert by_reason(items, Rejected, rejected) == rejected
    assert by_reason(items, Silent, silent) == silent


def test_scores_and_answers_of_two_files_meet_by_their_ids(shared_data):
    for answers, scores in (
        ("tensorzero_chat_inference_rows.jsonl", "tensorzero_boolean_metric_feedback_rows.jsonl"),
        ("langsmith_runs.jsonl", "langsmith_feedback.jsonl"),
        ("langfuse_ingestion_batch.json", "langfuse_get_scores_v2.json"),
    ):
        registered = {
            item.completion_id
            for item in importing.read(shared_data / "formats" / answers)
            if isinstance(item, Registered)
        }
        about = {
            item.event.completion_id
            for item in importing.read(shared_data / "formats" / scores)
            if isinstance(item, Imported)
        }
        assert about
        assert about <= registered


def test_the_texts_of_one_conversation_are_the_same_from_every_tool(shared_data):
    def first(name: str) -> tuple[object, str | None]:
        path: Path = shared_data / "formats" / name
        item = next(filter(is_kept, importing.read(path)))
        body = item.event if isinstance(item, Imported) else item.completion
        assert not isinstance(body.prompt, str)
        assert body.prompt is not None
        return [(message.role, message.content) for message in body.prompt], body.completion

    texts = {
        name: first(name)
        for name in (
            "trl_unpaired_conversational.jsonl", "llamafactory_kto_sharegpt.json", "ms_swift_kto.jsonl",
            "axolotl_kto_user_defined.jsonl", "halos_binary_feedback.json", "openai_chat_sft_weighted.jsonl",
            "openai_stored_completions.jsonl", "langfuse_ingestion_batch.json", "langsmith_runs.jsonl",
            "tensorzero_chat_inference_rows.jsonl",
        )
    }  # fmt: skip

    expected = texts["trl_unpaired_conversational.jsonl"]
    assert {name for name, text in texts.items() if text != expected} == set()


def is_kept(item: importing.Item) -> bool:
    return isinstance(item, Imported | Registered)


def kind(item: importing.Item) -> str:
    if not isinstance(item, Imported):
        return "registered"
    signal = item.event.signal
    return f"thumbs {signal.value}" if signal.kind == "thumbs" else signal.kind


def by_reason(items: list[importing.Item], of: type, expected: dict[str, int]) -> dict[str, int]:
    """Counts reasons by the beginning that the table has for them."""
    reasons = [item.reason for item in items if isinstance(item, of)]
    return dict(Counter(next((start for start in expected if reason.startswith(start)), reason) for reason in reasons))
