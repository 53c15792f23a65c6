"""LangSmith: runs, which become registered completions, and feedback about them. Pure."""

from collections.abc import Iterator

from app.feedback.importing.drafts import (
    Body,
    CompletionDraft,
    Draft,
    EventDraft,
    Faulty,
    Row,
    SaysNothing,
    ScoreInGroup,
)
from app.feedback.importing.judgements import Rules, number_of, shown
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import texts_of, with_tools
from app.feedback.importing.traced_texts import traced_answer, traced_prompt, traced_text
from app.feedback.importing.values import as_text, object_of, required_id, time_of

_ANSWERING = ("llm", "chat", "chain", "prompt_chain", "agent")
_GRADERS = ("model", "evaluator", "auto_eval")


def _is_run(row: Row) -> bool:
    return {"run_type", "inputs"} <= row.keys()


def _run(row: Row, rules: Rules) -> Iterator[Draft]:  # noqa: ARG001
    if row.get("run_type") not in _ANSWERING:
        raise SaysNothing(f"a run of type {shown(row.get('run_type'))} is no answer of a model")
    if row.get("error"):
        raise SaysNothing("the run failed")
    if row.get("outputs") in (None, {}, ""):
        raise SaysNothing("a run without outputs holds no answer")
    extra = object_of(row.get("extra"))
    facts, parameters = object_of(extra.get("metadata")), object_of(extra.get("invocation_params"))
    model = facts.get("ls_model_name") or parameters.get("model")
    body: Body = {
        **texts_of(
            with_tools(traced_prompt(row.get("inputs"), "inputs"), parameters), traced_answer(row["outputs"], "outputs")
        ),
        "metadata": {"source": "LangSmith", **({"model": model} if isinstance(model, str) else {})},
    }
    conversation = next((facts[key] for key in ("thread_id", "session_id", "conversation_id") if facts.get(key)), None)
    if conversation is not None:
        body["conversation_id"] = as_text(conversation, "thread_id")
    sampling = {name: parameters[name] for name in ("temperature", "top_p", "seed") if parameters.get(name) is not None}
    yield CompletionDraft(required_id(row.get("id"), "id"), body | ({"sampling": sampling} if sampling else {}))


def _is_feedback(row: Row) -> bool:
    return {"run_id", "key"} <= row.keys() and bool(row.keys() & {"score", "value", "comment", "correction"})


def _feedback(row: Row, rules: Rules) -> Iterator[Draft]:
    key = row.get("key")
    if not isinstance(key, str) or not key:
        raise Faulty("the feedback has no key")
    source = object_of(row.get("feedback_source"))
    if source.get("type") in _GRADERS:
        raise SaysNothing(f"the feedback {key} is by a grader, not by a person")
    if row.get("run_id") is None:
        raise Faulty(f"the feedback {key} is about a session, not about one run")
    completion_id = required_id(row["run_id"], "run_id")
    body: Body = {"origin": "import", "metadata": {"source": "LangSmith", "key": key}}
    moment = row.get("modified_at") or row.get("created_at")
    if moment is not None:
        body["occurred_at"] = time_of(moment)
    facts = object_of(source.get("metadata"))
    actor = source.get("user_id") or facts.get("user_id") or facts.get("user")
    if actor is not None:
        body["actor"] = as_text(actor, "user_id")
    score, group = row.get("score"), row.get("feedback_group_id")
    if group is not None and (number := number_of(score)) is not None:
        yield ScoreInGroup(required_id(group, "feedback_group_id"), completion_id, number, body)
        return
    body |= {"completion_id": completion_id}
    if row.get("id") is not None:
        body["event_id"] = as_text(row["id"], "id")
    comment = row["comment"] if isinstance(row.get("comment"), str) and row["comment"].strip() else None
    if row.get("correction") not in (None, "", {}):
        signal: Body = {"kind": "edit", "text": traced_text(_corrected(row["correction"]), "correction")}
    elif score is not None or row.get("value") not in (None, "", {}):
        text = row.get("value") if isinstance(row.get("value"), str) else None
        signal = rules.score(key, score if score is not None else row["value"], text)
    elif comment is not None:
        signal, comment = {"kind": "comment", "text": comment}, None
    else:
        raise SaysNothing(f"the feedback {key} has neither a score nor a value, a correction or a comment")
    yield EventDraft({**body, "signal": signal}, comment)


def _corrected(correction: object) -> object:
    if isinstance(correction, dict):
        names = ("desired_output", "desired", "text")
        return next((correction[name] for name in names if correction.get(name)), correction)
    return correction


RUNS = RecordShape(
    "langsmith-runs",
    "runs of LangSmith",
    _is_run,
    _run,
    frozenset({"id", "trace_id", "run_type", "inputs", "outputs", "error", "extra"}),
)
FEEDBACK = RecordShape(
    "langsmith-feedback",
    "feedback of LangSmith",
    _is_feedback,
    _feedback,
    frozenset(
        {
            "id",
            "run_id",
            "trace_id",
            "key",
            "score",
            "value",
            "comment",
            "correction",
            "created_at",
            "modified_at",
            "feedback_source",
            "feedback_group_id",
        }
    ),
)
