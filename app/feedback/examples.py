"""Examples of feedback for the OpenAPI document."""

from typing import Any

_PROMPT = "Where is my parcel?"

EVENTS: dict[str, Any] = {
    "thumb": {
        "summary": "A thumb with its prompt and completion",
        "value": {
            "event_id": "vote-8f14e45f",
            "completion_id": "msg-1042",
            "actor": "user-77",
            "prompt": _PROMPT,
            "completion": "It left our warehouse this morning and arrives tomorrow.",
            "signal": {"kind": "thumbs", "value": "up"},
        },
    },
    "late": {
        "summary": "A later thumb that refers to the completion by its id alone",
        "value": {
            "event_id": "vote-c9f0f895",
            "completion_id": "msg-1042",
            "actor": "user-78",
            "signal": {"kind": "thumbs", "value": "down"},
        },
    },
    "edit": {
        "summary": "The user rewrote the answer before sending it",
        "value": {
            "event_id": "edit-45c48cce",
            "completion_id": "msg-1043",
            "actor": "agent-4",
            "prompt": [{"role": "user", "content": _PROMPT}],
            "completion": "We refund you twice.",
            "signal": {"kind": "edit", "text": "It arrives tomorrow."},
        },
    },
    "tools": {
        "summary": "A thumb on a tool call, with the tools that the model was offered",
        "value": {
            "event_id": "vote-6512bd43",
            "completion_id": "msg-1045",
            "actor": "user-81",
            "prompt": {
                "messages": [{"role": "user", "content": [{"type": "text", "text": _PROMPT}]}],
                "tools": [{"type": "function", "function": {"name": "track", "parameters": {"type": "object"}}}],
            },
            "completion": {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "t1", "type": "function", "function": {"name": "track", "arguments": '{"parcel": 7}'}}
                ],
            },
            "signal": {"kind": "thumbs", "value": "up"},
        },
    },
    "preference": {
        "summary": "One answer preferred over another",
        "value": {
            "completion_id": "msg-1044-a",
            "actor": "user-79",
            "prompt": _PROMPT,
            "completion": "It arrives tomorrow.",
            "signal": {"kind": "preference", "rejected": "No idea.", "rejected_completion_id": "msg-1044-b"},
        },
    },
    "rating": {
        "summary": "A rating on its scale",
        "value": {
            "completion_id": "msg-1042",
            "actor": "user-80",
            "signal": {"kind": "rating", "value": 6, "minimum": 1, "maximum": 7},
        },
    },
    "outcome": {
        "summary": "An outcome, days later",
        "value": {
            "completion_id": "msg-1042",
            "actor": "ticketing",
            "signal": {"kind": "outcome", "name": "ticket_solved", "value": True},
        },
    },
    "never train": {
        "summary": "Feedback that no model may learn from",
        "value": {
            "completion_id": "msg-1045",
            "actor": "user-80",
            "prompt": "My card was charged twice.",
            "completion": "I see both charges, and give one of them back.",
            "signal": {"kind": "thumbs", "value": "up"},
            "never_train": True,
        },
    },
    "change of mind": {
        "summary": "The same user replaces an earlier vote",
        "value": {
            "event_id": "vote-d3d94468",
            "completion_id": "msg-1042",
            "actor": "user-77",
            "signal": {"kind": "thumbs", "value": "down"},
            "supersedes": "vote-8f14e45f",
        },
    },
    "retraction": {
        "summary": "The user retracts the vote",
        "value": {
            "completion_id": "msg-1042",
            "actor": "user-78",
            "signal": {"kind": "retract"},
            "supersedes": "vote-c9f0f895",
        },
    },
}

BATCHES: dict[str, Any] = {
    "array": {"summary": "An array of events", "value": [EVENTS["thumb"]["value"], EVENTS["edit"]["value"]]},
    "object": {"summary": "An object with an array of events", "value": {"events": [EVENTS["thumb"]["value"]]}},
}

COMPLETIONS: dict[str, Any] = {
    "chat": {
        "summary": "A completion of a chat, with how it was sampled",
        "value": {
            "prompt": [{"role": "user", "content": _PROMPT}],
            "completion": "It left our warehouse this morning and arrives tomorrow.",
            "sampling": {"temperature": 0.7, "top_p": 0.95},
        },
    },
    "tokens": {
        "summary": "With the model's tokens and their log-probs",
        "value": {
            "prompt": _PROMPT,
            "completion": "It arrives tomorrow.",
            "token_ids": [1026, 14443, 9439, 13],
            "log_probs": [-0.21, -1.4, -0.35, -0.02],
        },
    },
}

COMPLETION_BATCHES: dict[str, Any] = {
    "array": {
        "summary": "An array of completions",
        "value": [
            {"completion_id": f"msg-{number}", **example["value"]}
            for number, example in enumerate(COMPLETIONS.values(), 1042)
        ],
    },
}
