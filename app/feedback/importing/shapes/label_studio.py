"""Label Studio: tasks with their data and the annotations of people. Pure."""

from collections.abc import Iterator
from typing import Any

from app.feedback.importing.drafts import Body, Draft, EventDraft, Faulty, Row, SaysNothing
from app.feedback.importing.judgements import Rules, shown
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.shapes.table import NAMES
from app.feedback.importing.texts import body_of, first_of, last_answer, preference_of
from app.feedback.importing.traced_texts import traced_answer, traced_prompt
from app.feedback.importing.values import as_text, object_of, time_of

_PROMPTS = (*NAMES["prompt"], "instruction", "dialogue", "messages", "text")
_LEFT = ("answer1", "answer_1", "response1", "response_1", "left", "option1", "a")
_RIGHT = ("answer2", "answer_2", "response2", "response_2", "right", "option2", "b")


def _recognises(row: Row) -> bool:
    return isinstance(row.get("data"), dict) and isinstance(row.get("annotations"), list)


def _drafts(row: Row, rules: Rules) -> Iterator[Draft]:
    given = [item for item in row["annotations"] if isinstance(item, dict) and not item.get("was_cancelled")]
    if not any(item.get("result") for item in given):
        raise SaysNothing("nobody annotated the task")
    data = _with_answer(row["data"])
    prompt = traced_prompt(first_of(data, _PROMPTS, "prompt"), "the prompt")
    for annotation in given:
        for result in annotation.get("result") or ():
            try:
                body = _judged(data, prompt, result, rules)
            except (Faulty, SaysNothing) as fault:
                yield fault
                continue
            yield EventDraft(body | _about(row, annotation, str(result.get("from_name", ""))))


def _with_answer(data: Row) -> Row:
    """Returns the data of a task; of a dialogue that ends in the judged answer, the answer has a field of its own."""
    named = (*NAMES["completion"], *_LEFT, *_RIGHT)
    dialogue = next((name for name in _PROMPTS if isinstance(data.get(name), list)), None)
    if dialogue is None or any(name in data for name in named):
        return data
    before, answer = last_answer(data[dialogue], dialogue)
    return {**data, dialogue: before, NAMES["completion"][0]: answer}


def _about(row: Row, annotation: Row, control: str) -> Body:
    body: Body = {"origin": "import", "metadata": {"source": "Label Studio", "control": control}}
    by = annotation.get("completed_by")
    actor = (by.get("email") or by.get("id")) if isinstance(by, dict) else by
    if actor is not None:
        body["actor"] = as_text(actor, "completed_by")
    moment = annotation.get("updated_at") or annotation.get("created_at")
    if moment:
        body["occurred_at"] = time_of(moment)
    if annotation.get("id") is not None:
        # Tasks and annotations are numbered from 1 in each installation.
        project = f"{row['project']}/" if row.get("project") is not None else ""
        body["event_id"] = f"label-studio-{project}{row.get('id')}/{annotation['id']}/{control}"[:128]
    return body


def _judged(data: Row, prompt: Any, result: Any, rules: Rules) -> Body:
    if not isinstance(result, dict):
        raise Faulty("a result of the annotation is not a JSON object")
    kind, value = result.get("type"), object_of(result.get("value"))
    if kind == "pairwise":
        left, right = first_of(data, _LEFT, "left answer"), first_of(data, _RIGHT, "right answer")
        selected = value.get("selected")
        if selected not in ("left", "right"):
            return preference_of(prompt, left, right, tie=True)
        return preference_of(prompt, *((left, right) if selected == "left" else (right, left)))
    answer = traced_answer(first_of(data, NAMES["completion"], "answer"), "the answer")
    return body_of(prompt, answer, _signal(kind, value, str(result.get("from_name", "")), rules))


def _signal(kind: Any, value: Body, control: str, rules: Rules) -> Body:
    if kind == "choices" and isinstance(value.get("choices"), list) and len(value["choices"]) == 1:
        return rules.choice(control, str(value["choices"][0]))
    if kind == "rating":
        return rules.rating(value.get("rating"), control or "rating")
    if kind == "number":
        return rules.rating(value.get("number"), control or "number")
    if kind == "textarea":
        text = "\n".join(map(str, value["text"])) if isinstance(value.get("text"), list) else value.get("text")
        if not text:
            raise SaysNothing("the text of the annotation is empty")
        return {"kind": "comment" if "comment" in control.lower() else "edit", "text": text}
    raise Faulty(f"a result of type {shown(kind)} has no signal: choices, rating, textarea and pairwise have")


SHAPE = RecordShape(
    "label-studio",
    "tasks of Label Studio",
    _recognises,
    _drafts,
    frozenset({"id", "project", "data", "annotations", "created_at", "updated_at"}),
)
