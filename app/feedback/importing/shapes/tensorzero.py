"""TensorZero: inferences, which become registered completions, and feedback about them. Pure."""

import json
from collections.abc import Iterator
from typing import Any

from app.feedback.importing.drafts import Body, CompletionDraft, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import texts_of, with_tools
from app.feedback.importing.traced_texts import traced_answer, traced_prompt, traced_text
from app.feedback.importing.values import as_text, object_of, required_id, time_of

_SAMPLING = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "max_tokens")


def _is_inference(row: Row) -> bool:
    return {"function_name", "input", "output"} <= row.keys()


def _inference(row: Row, rules: Rules) -> Iterator[Draft]:  # noqa: ARG001
    output = _json(row["output"])
    if isinstance(output, dict) and "raw" in output:  # of a function of type json
        output = output["raw"]
    parameters = object_of(row.get("inference_params"))
    offered = {"tools": object_of(row.get("tool_params")).get("tools_available")}
    sampling = object_of(parameters.get("chat_completion"))
    body: Body = {
        **texts_of(with_tools(traced_prompt(_json(row["input"])), offered), traced_answer(output)),
        "metadata": {
            "source": "TensorZero",
            **{name: row[name] for name in ("function_name", "variant_name", "episode_id") if row.get(name)},
        },
    }
    sampled = {name: sampling[name] for name in _SAMPLING if sampling.get(name) is not None}
    yield CompletionDraft(
        required_id(row.get("id", row.get("inference_id")), "id"), body | ({"sampling": sampled} if sampled else {})
    )


def _is_feedback(row: Row) -> bool:
    # Rows of comments and demonstrations have no metric name.
    about = row.keys() & {"target_id", "inference_id", "episode_id"}
    return bool(about) and "value" in row and bool(row.keys() & {"metric_name", "target_type", "inference_id"})


def _feedback(row: Row, rules: Rules) -> Iterator[Draft]:
    if row.get("dryrun"):
        raise SaysNothing("TensorZero stored nothing of a dry run")
    about = row.get("inference_id", row.get("target_id"))
    if about is None or row.get("target_type") == "episode":
        raise Faulty("the feedback is about an episode, not about one inference")
    name = row.get("metric_name", "comment" if "target_type" in row else "demonstration")
    if not isinstance(name, str) or not name:
        raise Faulty("metric_name is missing")
    tags = object_of(row.get("tags"))
    body: Body = {
        "completion_id": required_id(about, "inference_id"),
        "signal": _signal(name, row["value"], rules),
        "origin": "import",
        "metadata": {"source": "TensorZero", "metric": name},
    }
    if row.get("id") is not None:
        body["event_id"] = as_text(row["id"], "id")
    if row.get("timestamp") is not None:
        body["occurred_at"] = time_of(row["timestamp"])
    if tags.get("user_id") is not None:
        body["actor"] = as_text(tags["user_id"], "user_id")
    yield EventDraft(body)


def _signal(name: str, value: Any, rules: Rules) -> Body:
    if name == "comment":
        return {"kind": "comment", "text": value}
    if name == "demonstration":
        return {"kind": "edit", "text": traced_text(_json(value), "the demonstration")}
    return rules.score(name, value)


def _json(value: Any) -> Any:
    """Returns the JSON value that a text of ClickHouse holds; another text as it is."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


INFERENCES = RecordShape(
    "tensorzero-inferences",
    "inferences of TensorZero",
    _is_inference,
    _inference,
    frozenset(
        {
            "id",
            "inference_id",
            "function_name",
            "variant_name",
            "episode_id",
            "input",
            "output",
            "inference_params",
            "tool_params",
        }
    ),
)
FEEDBACK = RecordShape(
    "tensorzero-feedback",
    "feedback of TensorZero",
    _is_feedback,
    _feedback,
    frozenset(
        {
            "id",
            "target_id",
            "target_type",
            "inference_id",
            "episode_id",
            "metric_name",
            "value",
            "timestamp",
            "tags",
            "dryrun",
        }
    ),
)
