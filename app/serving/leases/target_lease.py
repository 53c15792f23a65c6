"""The lease of a target: the right of a worker to write what it saw there. Pure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from thumbwheel import wire

from app.serving.served_artifact import Role, ServedArtifact


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

    def in_use(self) -> "LoadedArtifact":
        """Returns it without a time of its unloading."""
        return replace(self, unload_at=None)

    def is_of(self, artifact: ServedArtifact) -> bool:
        """Returns whether it is this model, whichever checkpoint it was loaded for."""
        return (self.artifact.kind, self.artifact.digest) == (artifact.kind, artifact.digest)


@dataclass(frozen=True)
class SeenModel:
    """A checkpoint that a target was seen to serve. `model`: the name by which requests get it."""

    checkpoint_id: UUID
    artifact: ServedArtifact
    model: str


@dataclass(frozen=True)
class Sighting:
    """The findings at a target in a role.

    seen         the model that passed its probe: of the role's checkpoint, or the live one before it
    attempts     failed in a row
    found_there  whether `seen` was just found there
    """

    state: Literal["loading", "serving", "failed", "away", "left_out"]
    seen: SeenModel | None = None
    probe: wire.ProbeResult | None = None
    reason: str | None = None
    attempts: int = 0
    found_there: bool = False


@dataclass(frozen=True)
class ClaimedTarget:
    """A target in the hands of a worker, as it was when it was claimed.

    desired  role → checkpoint, by the ledger: always a live one, and a canary while there is one
    before   role → what was seen last; none if nobody has looked yet
    """

    lease: TargetLease
    project: str
    name: str
    settings: wire.TargetSettings
    desired: Mapping[Role, UUID]
    before: Mapping[Role, Sighting]
    loaded: tuple[LoadedArtifact, ...]
