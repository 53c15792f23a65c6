"""The lease of a target: the right of a worker to write what it saw there. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from thumbwheel import wire

from app.serving.served_artifact import ServedArtifact


@dataclass(frozen=True)
class TargetLease:
    """The right to write to a target. It ends with its expiry, the next claim, or a change of the target; the last two
    raise the epoch.
    """

    target_id: UUID
    owner: str
    epoch: int


@dataclass(frozen=True)
class LoadedArtifact:
    """A model that was loaded at a target, or may have been. `unload_at`: when no request needs it; None: in use."""

    checkpoint_id: UUID
    artifact: ServedArtifact
    unload_at: datetime | None = None

    def document(self) -> dict[str, Any]:
        """Returns it as the row has it."""
        return {
            "checkpoint_id": str(self.checkpoint_id),
            "artifact": asdict(self.artifact),
            "unload_at": None if self.unload_at is None else self.unload_at.isoformat(),
        }

    @staticmethod
    def of(document: dict[str, Any]) -> "LoadedArtifact":
        until = document["unload_at"]
        return LoadedArtifact(
            UUID(document["checkpoint_id"]),
            ServedArtifact(**document["artifact"]),
            None if until is None else datetime.fromisoformat(until),
        )

    def retired(self, at: datetime) -> "LoadedArtifact":
        """Returns it with the time of its unloading, which never moves once it is set."""
        return self if self.unload_at is not None else replace(self, unload_at=at)


@dataclass(frozen=True)
class SeenModel:
    """A checkpoint that a target was seen to serve. `model`: the name by which requests get it."""

    checkpoint_id: UUID
    artifact: ServedArtifact
    model: str


@dataclass(frozen=True)
class ClaimedTarget:
    """A target in the hands of a worker, as it was when it was claimed."""

    lease: TargetLease
    project: str
    name: str
    settings: wire.TargetSettings
    desired: UUID
    seen: SeenModel | None
    probe: wire.ProbeResult | None
    loaded: tuple[LoadedArtifact, ...]
    attempts: int


@dataclass(frozen=True)
class Sighting:
    """The findings of a worker at a target. `seen` and `probe` replace what the row has.

    found_there  whether `seen` was just found there
    next_seconds until the next look
    """

    state: Literal["loading", "serving", "failed", "away"]
    seen: SeenModel | None
    probe: wire.ProbeResult | None
    loaded: Sequence[LoadedArtifact]
    found_there: bool
    next_seconds: float
    reason: str | None = None
