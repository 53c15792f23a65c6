"""The label of one completion, in words that the person who pressed the thumb understands. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from thumbwheel import wire
from thumbwheel.wire.previews import ExplainedSignal, ExplainedText, ResolvedLabel

from app.feedback.reading.event_time import NO_TIME
from app.labels.policy import TIE, Signal, Step, explain
from app.labels.previews.looks import Look
from app.labels.verdicts import Context


class Said(NamedTuple):
    """One event, seen from the completion it is about; see `policy.Signal`."""

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
    look: Look,
    said: Sequence[Said],
    context: Context,
    left_out: Mapping[str, Sequence[str]],
) -> wire.LabelExplanation:
    """What the policy makes of all that was said of one completion.

    left_out  actors in quarantine, with the reasons
    """
    signals = [
        Signal(one.position, one.occurred_at, one.actor, one.signal, one.stands, one.other, one.by_arrival)
        for one in said
    ]
    heard = [signal for signal in signals if signal.actor not in left_out]
    told = explain(stored.policy, look.completion, heard, context)
    steps = {step.position: step for step in told.steps}
    unheard = [signal for signal in signals if signal.actor in left_out]
    waiting = {step.position: step for step in explain(stored.policy, look.completion, unheard, context).steps}
    explained = [
        _explained(
            one, waiting[one.position], f"the actor is in quarantine ({', '.join(left_out[one.actor])})", counts=False
        )
        if one.actor in left_out
        else _explained(one, steps[one.position], _why(one, steps[one.position]), steps[one.position].counts)
        for one in said
    ]
    found = wire.LabelExplanation(
        completion_id=completion_id,
        policy=stored.policy.name,
        version=stored.version,
        label=_name(told.resolution.label),
        weight=told.resolution.weight,
        reasons=list(told.resolution.reasons),
        sentence="",
        desirable=told.desirable,
        undesirable=told.undesirable,
        prompt=look.prompt,
        completion=look.completion,
        signals=explained,
        texts=[
            ExplainedText(text=one.text, weight=one.weight, actors=list(one.actors)) for one in told.resolution.rewrites
        ],
    )
    return found.model_copy(update={"sentence": _sentence(found)})


def _explained(one: Said, step: Step, why: str, counts: bool) -> ExplainedSignal:
    return ExplainedSignal(
        event_id=one.event_id,
        position=one.position,
        occurred_at=one.received_at if one.occurred_at == NO_TIME else one.occurred_at,
        actor=one.actor,
        signal=one.signal,
        says=step.says,
        label=_name(step.desirable),
        weight=step.weight,
        counts=counts,
        why=why,
    )


def _why(one: Said, step: Step) -> str:
    return "takes back what the actor said" if one.signal["kind"] == "retract" else step.why


def _name(desirable: bool | None) -> ResolvedLabel:
    return "nothing" if desirable is None else "desirable" if desirable else "undesirable"


def _sentence(found: wire.LabelExplanation) -> str:
    by = f"By policy {found.policy}, version {found.version}, completion {found.completion_id}"
    counting = sum(one.counts for one in found.signals)
    of = f"{counting} of {len(found.signals)} signals count{'s' if counting == 1 else ''}"
    sides = f"{found.desirable:g} for desirable, {found.undesirable:g} for undesirable"
    if not found.signals:
        return f"{by} has no label: nobody has said anything of it yet."
    if found.label != "nothing":
        known = "" if found.completion is not None else ", but its text is not known yet, so it teaches nothing"
        because = ", ".join(found.reasons)
        return f"{by} is {found.label} at weight {found.weight:g} ({because}){known}: {of}, {sides}."
    if found.reasons == [TIE]:
        return f"{by} has no label: both sides weigh the same, {of}, {sides}."
    return f"{by} has no label: {of}."
