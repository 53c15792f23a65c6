"""The operations of every kind of target, and their errors.

TargetError
├── TargetAway     it does not answer, or not in time, or says that it is not ready: try again
└── TargetRefused  it answered that it will not do it, or it holds something else under a name of ours
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.checkpoints.probe_file import Probe
from app.serving.served_artifact import Role, ServedArtifact


class TargetError(Exception):
    """The text is a clause for the target's `reason`."""


class TargetAway(TargetError):
    pass


class TargetRefused(TargetError):
    pass


@dataclass(frozen=True)
class ServerReadings:
    """The answers of a server to the prompts of a probe: log-probs, or greedy continuations, or why neither."""

    log_probs: Sequence[Sequence[float]] | None = None
    greedy: Sequence[str] | None = None
    nothing_because: str = ""


class ServingClient(Protocol):
    """A connection to one target. Every call may raise `TargetError`; a second call of any has the effect of one."""

    def load(self, artifact: ServedArtifact, role: Role) -> str:
        """Makes the target serve the artifact beside what it serves; returns the name by which requests get it."""

    def find(self, artifact: ServedArtifact, role: Role) -> str | None:
        """Returns the name by which requests get the artifact, None if the target does not serve it. It is asked every
        minute, so it is cheap.
        """

    def unload(self, artifact: ServedArtifact) -> None:
        """Makes the target forget the artifact, which need not be there."""

    def end_canary(self) -> None:
        """Makes the target forget what only a canary has, apart from its artifact."""

    def read(self, model: str, artifact: ServedArtifact, probe: Probe) -> ServerReadings:
        """Returns what the model answers to the prompts of the probe."""

    def restart_for(self, artifact: ServedArtifact) -> str | None:
        """Returns what the operator has to do before the target can serve the artifact, None if nothing."""

    def close(self) -> None:
        """Closes all connections."""
