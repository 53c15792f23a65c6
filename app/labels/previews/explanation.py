"""Explains the label of one completion in words that the person who sent feedback understands. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from thumbwheel import wire
from thumbwheel.wire.previews import ExplainedSignal, ExplainedText, ResolvedLabel

from app.feedback.reading.event_time import NO_TIME
from app.labels.policy import TIE, Signal, Step, explain
from app.labels.previews.shortened_texts import CompletionTexts
from app.labels.verdicts import Context


class CompletionEvent(NamedTuple):
    """One event from the view of the completion it is about; see `policy.Signal`."""

    event_id: str
    position: int
    occurred_at: datetime
    by_arrival: bool
    received_at: datetime
    actor: str
    signal: dict[str, Any]
    other: str | None
    prompt: Any
    completion: str | None
    stands: bool


def explanation_of(
    completion_id: str,
    stored: wire.StoredLabelPolicy,
    texts: CompletionTexts,
    said: Sequence[CompletionEvent],
    context: Context,
    left_out: Mapping[str, Sequence[str]],
) -> wire.LabelExplanation:
    """Explains what the policy makes of all feedback on one completion.

    left_out  actors in quarantine, with the reasons
    """
    signals = [
        Signal(
            event.position, event.occurred_at, event.actor, event.signal, event.stands, event.other, event.by_arrival
        )
        for event in said
    ]
    heard = [signal for signal in signals if signal.actor not in left_out]
    explanation = explain(stored.policy, texts.completion, heard, context)
    steps = {step.position: step for step in explanation.steps}
    unheard = [signal for signal in signals if signal.actor in left_out]
    waiting = {step.position: step for step in explain(stored.policy, texts.completion, unheard, context).steps}
    explained = [
        _explained(
            event,
            waiting[event.position],
            f"the actor is in quarantine ({', '.join(left_out[event.actor])})",
            counts=False,
        )
        if event.actor in left_out
        else _explained(event, steps[event.position], _why(event, steps[event.position]), steps[event.position].counts)
        for event in said
    ]
    shown = wire.LabelExplanation(
        completion_id=completion_id,
        policy=stored.policy.name,
        version=stored.version,
        label=_name(explanation.resolution.label),
        weight=explanation.resolution.weight,
        reasons=list(explanation.resolution.reasons),
        sentence="",
        desirable=explanation.desirable,
        undesirable=explanation.undesirable,
        prompt=texts.prompt,
        completion=texts.completion,
        signals=explained,
        texts=[
            ExplainedText(text=rewrite.text, weight=rewrite.weight, actors=list(rewrite.actors))
            for rewrite in explanation.resolution.rewrites
        ],
    )
    return shown.model_copy(update={"sentence": _sentence(shown)})


def _explained(event: CompletionEvent, step: Step, why: str, counts: bool) -> ExplainedSignal:
    return ExplainedSignal(
        event_id=event.event_id,
        position=event.position,
        occurred_at=event.received_at if event.occurred_at == NO_TIME else event.occurred_at,
        actor=event.actor,
        signal=event.signal,
        says=step.says,
        label=_name(step.desirable),
        weight=step.weight,
        counts=counts,
        why=why,
    )


def _why(event: CompletionEvent, step: Step) -> str:
    return "takes back what the actor said" if event.signal["kind"] == "retract" else step.why


def _name(desirable: bool | None) -> ResolvedLabel:
    return "nothing" if desirable is None else "desirable" if desirable else "undesirable"


def _sentence(shown: wire.LabelExplanation) -> str:
    by = f"By policy {shown.policy}, version {shown.version}, completion {shown.completion_id}"
    counting = sum(signal.counts for signal in shown.signals)
    of = f"{counting} of {len(shown.signals)} signals count{'s' if counting == 1 else ''}"
    sides = f"{shown.desirable:g} for desirable, {shown.undesirable:g} for undesirable"
    if not shown.signals:
        return f"{by} has no label: it has no feedback yet."
    if shown.label != "nothing":
        known = "" if shown.completion is not None else ", but its text is not known yet, so no run learns from it"
        because = ", ".join(shown.reasons)
        return f"{by} is {shown.label} at weight {shown.weight:g} ({because}){known}: {of}, {sides}."
    if shown.reasons == [TIE]:
        return f"{by} has no label: both sides weigh the same, {of}, {sides}."
    return f"{by} has no label: {of}."
