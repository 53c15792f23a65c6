"""The texts of a body that are masked, their placeholders, and what stays as it is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from thumbwheel import wire

from app.feedback.ingest.entries import completion_entry, event_entry, quick_entry
from app.feedback.ingest.protected import HoldsPersonalData, protected
from app.feedback.ingest.redaction import BETWEEN
from app.privacy.redaction.detection import find
from app.privacy.redaction.findings import BUILT_IN_KINDS
from app.projects.protection.pseudonyms import Pseudonyms
from app.projects.protection.setting import Protection
from tests.privacy.redaction.test_detection import PIECES, TEXTS

MAIL, CARD, KEY = "ann.lee@example.com", "4111 1111 1111 1111", b"a key of pseudonyms, for the tests"
KINDS = frozenset({"email", "card"})
MASK = Protection(None, "mask", KINDS)
NAMES = Pseudonyms(KEY, "acme")
MASKED = NAMES.of_value("email", MAIL)
IMAGE = "data:image/png;base64," + "ann4111111111111111" * 20


def event(**more: Any) -> dict[str, Any]:
    return {
        "event_id": "e1", "completion_id": "c1", "actor": "u1", "signal": {"kind": "thumbs", "value": "up"}, **more,
    }  # fmt: skip


def masked(document: dict[str, Any], by: Protection = MASK) -> dict[str, Any]:
    """Returns the event as it is stored."""
    body = json.dumps(document).encode()
    entry = quick_entry("acme", body) or event_entry("acme", wire.Event.model_validate_json(body))
    made = protected(entry, by, NAMES)
    assert made.refusal is None, made.refusal
    body = made.entry.body
    stored = body if isinstance(body, wire.Event) else wire.Event.model_validate_json(body)
    assert MAIL not in repr(made.entry.row)
    return stored.model_dump(mode="json", exclude_none=True, exclude_unset=True)


def test_a_value_has_the_same_placeholder_in_prompt_completion_and_edit_and_in_another_spelling() -> None:
    stored = masked(
        event(
            prompt=f"Write to {MAIL}!",
            completion="To Ann.Lee@EXAMPLE.com?",
            signal={"kind": "edit", "text": f"<{MAIL}>"},
        )
    )

    assert stored["prompt"] == f"Write to {MASKED}!"
    assert stored["completion"] == f"To {MASKED}?"
    assert stored["signal"] == {"kind": "edit", "text": f"<{MASKED}>"}
    number = int(MASKED.removeprefix("[EMAIL_").removesuffix("]"))
    assert 1 <= number <= 999


def test_another_project_and_another_key_give_other_placeholders_and_hashes() -> None:
    others = [Pseudonyms(KEY, "other"), Pseudonyms(b"another key", "acme")]
    values = [f"a{number}@example.com" for number in range(20)]

    own = [NAMES.of_value("email", value) for value in values]

    assert all([other.of_value("email", value) for value in values] != own for other in others)
    assert len({names.of_actor("u1") for names in (NAMES, *others)}) == 3
    assert NAMES.of_actor(NAMES.of_actor("u1")) == NAMES.of_actor("u1")


def test_what_was_masked_stays_as_it_is() -> None:
    once = masked(event(prompt=f"{MAIL} or [EMAIL_417], {CARD}", completion="[CARD_3]4111 1111 1111 1111"))

    assert "[EMAIL_417]" in once["prompt"]
    assert masked(once) == once


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"prompt": [{"role": "user", "content": MAIL}]}, ["prompt", 0, "content"]),
        ({"prompt": [{"role": "user", "content": "hi", "name": MAIL}]}, ["prompt", 0, "name"]),
        (
            {"prompt": [{"role": "user", "content": [{"type": "text", "text": MAIL}]}]},
            ["prompt", 0, "content", 0, "text"],
        ),
        (
            {"prompt": [{"role": "user", "content": [{"type": "file", "file": {"filename": MAIL}}]}]},
            ["prompt", 0, "content", 0, "file", "filename"],
        ),
        ({"prompt": [{"role": "tool", "tool_call_id": "t", "content": MAIL}]}, ["prompt", 0, "content"]),
        (
            {
                "prompt": {
                    "messages": [{"role": "user", "content": MAIL}],
                    "tools": [{"name": "f", "description": MAIL}],
                }
            },
            ["prompt", "tools", 0, "description"],
        ),
        (
            {"completion": {"role": "assistant", "content": "hi", "reasoning_content": MAIL}},
            ["completion", "reasoning_content"],
        ),
        (
            {
                "completion": {
                    "role": "assistant",
                    "tool_calls": [{"function": {"name": "f", "arguments": {"to": [MAIL]}}}],
                }
            },
            ["completion", "tool_calls", 0, "function", "arguments", "to", 0],
        ),
        ({"signal": {"kind": "comment", "text": MAIL}}, ["signal", "text"]),
        ({"signal": {"kind": "flag", "flags": ["wrong", MAIL]}}, ["signal", "flags", 1]),
        ({"signal": {"kind": "outcome", "name": MAIL, "value": True}}, ["signal", "name"]),
        ({"signal": {"kind": "preference", "rejected": MAIL}}, ["signal", "rejected"]),
        ({"metadata": {"a": {"b": [1, MAIL]}}}, ["metadata", "a", "b", 1]),
        ({"metadata": {MAIL: 1}}, ["metadata", MASKED]),
    ],
)
def test_a_text_is_masked_wherever_it_stands(body: dict[str, Any], place: list[Any]) -> None:
    stored: Any = masked(event(**{"prompt": [{"role": "user", "content": "Hi"}], "completion": "Ho", **body}))

    for part in place:
        stored = stored[part]
    assert stored in (MASKED, 1)


def test_arguments_that_are_json_stay_json_and_numbers_in_them_are_found() -> None:
    arguments = '{"to": "ann.lee\\u0040example.com", "card": 4111111111111111, "n": 3}'
    call = {"function": {"name": "f", "arguments": arguments}}
    messages = [{"role": "user", "content": "pay"}, {"role": "assistant", "tool_calls": [call]}]

    stored = masked(event(prompt=messages, completion="done", metadata={"card": 4111111111111111}))

    card = NAMES.of_value("card", "4111111111111111")
    written = stored["prompt"][1]["tool_calls"][0]["function"]["arguments"]
    assert json.loads(written) == {"to": MASKED, "card": card, "n": 3}
    assert stored["metadata"] == {"card": card}


def test_images_and_ids_stay_as_they_are() -> None:
    part = {"type": "image_url", "image_url": {"url": IMAGE}}
    sent = event(
        completion_id=CARD, conversation_id=MAIL, prompt=[{"role": "user", "content": [part]}], completion="A cat."
    )
    body = json.dumps(sent).encode()

    made = protected(event_entry("acme", wire.Event.model_validate_json(body)), MASK, NAMES)

    assert made.entry.body.model_dump(mode="json", exclude_unset=True)["prompt"] == sent["prompt"]
    assert (made.entry.row[2], made.entry.row[11]) == (CARD, MAIL)


def test_tokens_of_a_masked_completion_are_left_out_and_those_of_others_stay() -> None:
    def stored(completion: str) -> wire.Completion:
        body = {"prompt": MAIL, "completion": completion, "token_ids": [1, 2], "log_probs": [-1.0, -2.0]}
        body |= {"sampling": {"stop": MAIL}}
        made = protected(completion_entry("acme", "c1", wire.Completion.model_validate(body)), MASK, NAMES)
        assert MAIL not in repr(made.entry)
        return wire.Completion.model_validate(made.entry.body)

    assert (stored(MAIL).token_ids, stored(MAIL).log_probs) == (None, None)
    assert stored("hello").token_ids == [1, 2]


def test_an_edit_that_changed_only_what_is_masked_is_an_acceptance() -> None:
    stored = masked(
        event(prompt="Hi", completion=f"To {MAIL}", signal={"kind": "edit", "text": "To ANN.LEE@example.com"})
    )

    assert stored["signal"] == {"kind": "accept"}


def test_a_preference_between_answers_that_are_equal_once_masked_is_refused_with_its_field() -> None:
    sent = event(prompt="Hi", completion=MAIL, signal={"kind": "preference", "rejected": "ann.LEE@example.com"})

    made = protected(event_entry("acme", wire.Event.model_validate(sent)), MASK, NAMES)

    assert made.refusal is not None
    assert made.refusal.code == "not_maskable"
    assert "signal.rejected is the same text as completion" in made.refusal.message


def test_a_refusal_names_fields_and_kinds_and_never_the_value() -> None:
    sent = event(
        prompt=[{"role": "user", "content": f"{MAIL} {CARD} {MAIL}"}], completion="Ho", metadata={MAIL: {"x": CARD}}
    )

    made = protected(event_entry("acme", wire.Event.model_validate(sent)), Protection(None, "reject", KINDS), None)

    assert isinstance(made.refusal, HoldsPersonalData)
    assert [fault.pointer for fault in made.refusal.faults] == ["/prompt/0/content", "/metadata", "/metadata/…/x"]
    assert "holds email, card, which" in made.refusal.message
    assert made.refusal.details == {"kinds": ["card", "email"]}
    assert MAIL not in repr(vars(made.refusal))


def test_a_derived_id_is_made_of_what_is_stored() -> None:
    def stored_id(actor: str, text: str, by: Protection) -> str:
        sent = event(actor=actor, signal={"kind": "comment", "text": text})
        del sent["event_id"]
        own_id: str = protected(event_entry("acme", wire.Event.model_validate(sent)), by, NAMES).entry.row[1]
        return own_id

    hashed = Protection(None, "mask", KINDS, hashes_actors=True)

    assert stored_id("u1", MAIL, hashed) == stored_id(NAMES.of_actor("u1"), MASKED, Protection())
    assert stored_id("u1", MAIL, hashed) != stored_id("u1", MAIL, Protection())


@given(st.lists(TEXTS, min_size=1, max_size=6))
def test_what_is_found_in_a_text_is_found_among_others_too(texts: list[str]) -> None:
    kinds = frozenset(BUILT_IN_KINDS)
    together = find(BETWEEN.join(texts), kinds)

    place = 0
    for text in texts:
        if find(text, kinds):
            assert any(span.end > place and span.start < place + len(text) for span in together)
        place += len(text) + len(BETWEEN)


@given(st.lists(PIECES, max_size=7).map("".join))
def test_masking_a_masked_text_changes_nothing(text: str) -> None:
    by = Protection(None, "mask", frozenset(BUILT_IN_KINDS))

    def once(sent: dict[str, Any]) -> dict[str, Any]:
        made = protected(event_entry("acme", wire.Event.model_validate(sent)), by, NAMES)
        return dict(made.entry.body.metadata)

    first = once(event(metadata={"text": text}))
    assert once(event(metadata=first)) == first
