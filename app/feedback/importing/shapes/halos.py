"""Feedback files of HALOs: binary with `output`, pairwise with `output_A` and `output_B`. Pure."""

from collections.abc import Iterator

from app.feedback.importing.drafts import EventDraft, Faulty, Row
from app.feedback.importing.judgements import Rules, number_of, shown
from app.feedback.importing.shapes.rows import ABOUT, about
from app.feedback.importing.shapes.shape import RecordShape
from app.feedback.importing.texts import answer_of, body_of, preference_of, prompt_of


def _recognises(row: Row) -> bool:
    return {"prompt", "output_A", "output_B"} <= row.keys() or (
        {"prompt", "output", "label"} <= row.keys() and row.get("type") == "binary_feedback"
    )


def _drafts(row: Row, rules: Rules) -> Iterator[EventDraft]:  # noqa: ARG001 - 1 and 0 have fixed meanings here
    label = number_of(row.get("label"))
    if label not in (0, 1):
        raise Faulty(f"label is {shown(row.get('label'))}: must be 1 or 0")
    if "output_A" in row:
        answers = (row["output_A"], row["output_B"]) if label else (row["output_B"], row["output_A"])
        body = preference_of(prompt_of(row), *answers)
    else:
        signal = {"kind": "thumbs", "value": "up" if label else "down"}
        body = body_of(prompt_of(row), answer_of(row.get("output"), "output"), signal)
    yield EventDraft({**body, **about(row)})


SHAPE = RecordShape(
    "halos",
    "feedback files of HALOs",
    _recognises,
    _drafts,
    ABOUT | {"prompt", "output", "output_A", "output_B", "label", "type"},
)
