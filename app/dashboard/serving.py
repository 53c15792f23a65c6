"""Gathers the page of a project's serving targets."""

from dataclasses import dataclass

from sqlalchemy.orm import Session
from thumbwheel import wire

from app.projects import service as projects
from app.serving import service as serving

#: State of a target → the style of its label.
STYLES = {
    "serving": "succeeded",
    "loading": "training",
    "ending": "training",
    "new": "queued",
    "away": "failed",
    "disabled": "cancelled",
    "left_out": "cancelled",
}


@dataclass(frozen=True)
class ServingView:
    project: wire.Project
    serving: wire.Serving


def view_of(session: Session, project: str) -> ServingView:
    """Returns the contents of the page. Raises `NotFound`."""
    return ServingView(projects.get(session, project), serving.overview(session, project))


def style(shown: wire.ServingTarget | wire.ServedCanary) -> str:
    """Returns the class of the label of the state of a target, or of a canary there."""
    return STYLES.get(shown.state, shown.state)


def verdict_in_words(probe: wire.ProbeResult) -> str:
    """Returns the figures of a probe beside its verdict."""
    if probe.max_nats is not None and probe.base_max_nats is not None:
        return (
            f"{probe.tokens} tokens, up to {probe.max_nats:.2g} nats off the checkpoint and {probe.base_max_nats:.2g} "
            f"off its base model, {probe.tolerance or 0:g} allowed"
        )
    return probe.reason
