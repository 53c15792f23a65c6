"""Brings one target to the live checkpoint, and writes what was seen there.

    claim ─▶ still there? ─▶ publish ─▶ recorded ─▶ load ─▶ probe ─▶ seen ─▶ the one before drains ─▶ unloaded
                  │                                            │
                  └── yes: seen, probed now and then           └── fails: the one before stays, or is loaded again

A worker may be killed at any point. The next claim begins again: folders are complete or not there, what is loaded
under its name is not loaded twice, and whatever may have been loaded was recorded before. No lock and no transaction is
held while a server is waited for.
"""

import logging
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

from thumbwheel.wire import ProbeResult
from thumbwheel.wire.serving import ServerSettings

from app.database import now, transaction
from app.errors import StaleLease, ThumbwheelError, Unavailable
from app.serving.leases import service as leases
from app.serving.leases.target_lease import ClaimedTarget, LoadedArtifact, SeenModel, Sighting
from app.serving.served_artifact import ServedArtifact
from app.serving.targets.by_kind import connect
from app.serving.targets.target import ServingClient, TargetAway, TargetError, TargetRefused
from worker.serving.desired import DesiredModel, desired_of
from worker.serving.kept_lease import KeptLease
from worker.serving.probe import probed
from worker.serving.publish import publish

log = logging.getLogger(__name__)

#: The pause between two looks at a target that is in step, and between two probes of it.
LOOK_SECONDS, PROBE_AGE = 60.0, timedelta(minutes=10)
#: The pause while the operator has to restart a server.
RESTART_SECONDS = 15.0


def sync(target_id: UUID) -> None:
    """Looks at the target if it is due and no other worker does."""
    owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
    with transaction() as session:
        claimed = leases.claim(session, target_id, owner)
    if claimed is None:
        return
    try:
        with KeptLease(claimed.lease) as lease:
            sighting = _sighting(claimed, lease.require)
        with transaction() as session:
            leases.finish(session, claimed.lease, claimed, sighting)
    except StaleLease:
        log.info("target %s of %s: another worker has it, or it was changed", claimed.name, claimed.project)
        return
    except Unavailable as error:
        # This cannot be recorded now; after the lease has expired, the tick sends a message again.
        log.warning("target %s of %s: left, a server is away: %s", claimed.name, claimed.project, error.message)
        return
    if sighting.state in ("failed", "away"):
        log.warning("target %s of %s: %s: %s", claimed.name, claimed.project, sighting.state, sighting.reason)


def _sighting(claimed: ClaimedTarget, heed: Callable[[], None]) -> Sighting:
    try:
        client = connect(claimed.settings, claimed.project, claimed.name)
    except TargetError as error:
        return _failure(claimed, claimed.loaded, claimed.seen, error, found_there=False)
    with closing(client):
        return Visit(claimed, client, heed).sighting()


@dataclass
class Visit:
    """A worker's visit to a target. `heed` raises once the lease is lost."""

    claimed: ClaimedTarget
    client: ServingClient
    heed: Callable[[], None]

    def sighting(self) -> Sighting:
        """Brings the target to the live checkpoint, and returns what was found.

        Raises `StaleLease`, and `Unavailable` while the database is away.
        """
        desired: DesiredModel | None = None
        loaded: Sequence[LoadedArtifact] = self.claimed.loaded
        try:
            desired = desired_of(self.claimed)
            if self._still_serves(desired):
                return self._looked_again(desired)
            if desired.refusals:
                raise TargetRefused(
                    f"it would refuse checkpoint {desired.checkpoint_id}: {'; '.join(desired.refusals)}"
                )
            publish(desired.artifact, desired.files, desired.layers, self.heed)
            loaded = self._with(desired)
            with transaction() as session:
                leases.record_load(session, self.claimed.lease, loaded, f"loading checkpoint {desired.checkpoint_id}")
            seen = SeenModel(desired.checkpoint_id, desired.artifact, self.client.load(desired.artifact))
            self.heed()
            return self._judged(desired, seen, loaded)
        except TargetError as error:
            return self._with_the_one_before(loaded, desired, error)
        except StaleLease:
            raise
        except ThumbwheelError as error:
            # The artifact store: its rows may be reachable, so the reason can be recorded.
            return self._with_the_one_before(loaded, desired, TargetRefused(error.message))

    def _still_serves(self, desired: DesiredModel) -> bool:
        seen = self.claimed.seen
        return (
            seen is not None
            and seen.checkpoint_id == desired.checkpoint_id
            and seen.artifact == desired.artifact
            and self.client.has(desired.artifact)
        )

    def _looked_again(self, desired: DesiredModel) -> Sighting:
        """Returns the sighting of a target that serves the live checkpoint already."""
        seen, before = self.claimed.seen, self.claimed.probe
        assert seen is not None
        recent = before is not None and before.checkpoint_id == seen.checkpoint_id and now() - before.at < PROBE_AGE
        if recent and before is not None and before.verdict in ("ok", "not_comparable"):
            return self._serving(seen, before, self.claimed.loaded)
        return self._judged(desired, seen, self.claimed.loaded)

    def _judged(self, desired: DesiredModel, seen: SeenModel, loaded: Sequence[LoadedArtifact]) -> Sighting:
        result = probed(self.claimed, self.client, desired, seen)
        if result.verdict in ("ok", "not_comparable"):
            return self._serving(seen, result, loaded)
        restart = self.client.restart_for(desired.artifact)
        if restart is not None:
            return Sighting(
                "loading",
                self._seen_before(desired),
                result,
                loaded,
                found_there=False,
                next_seconds=RESTART_SECONDS,
                reason=restart,
            )
        failure = TargetRefused(f"the probe found {result.verdict}: {result.reason}")
        return self._with_the_one_before(loaded, desired, failure, result)

    def _serving(self, seen: SeenModel, probe: ProbeResult, loaded: Sequence[LoadedArtifact]) -> Sighting:
        """Returns the sighting after everything else is retired, and what has drained is unloaded."""
        until = now() + timedelta(seconds=self._drain_seconds())
        kept = [each if _is_of(each, seen.artifact) else each.retired(until) for each in loaded]
        left = self._unloaded(kept, seen)
        due = [(each.unload_at - now()).total_seconds() for each in left if each.unload_at is not None]
        pause = min([LOOK_SECONDS, *(max(seconds, 1.0) for seconds in due)])
        return Sighting("serving", seen, probe, left, found_there=True, next_seconds=pause)

    def _with_the_one_before(
        self,
        loaded: Sequence[LoadedArtifact],
        desired: DesiredModel | None,
        error: TargetError,
        probe: ProbeResult | None = None,
    ) -> Sighting:
        """Returns the sighting of a failure. The checkpoint that was served before stays, or is loaded again; the one
        that failed is unloaded.
        """
        if isinstance(error, TargetAway):
            return _failure(self.claimed, loaded, self.claimed.seen, error, found_there=False)
        before = self.claimed.seen if desired is None else self._seen_before(desired)
        left, there = list(loaded), False
        try:
            if desired is not None and probe is not None:
                left = [each.retired(now()) if _is_of(each, desired.artifact) else each for each in left]
                left = self._unloaded(left, before)
            if before is not None:
                if not self.client.has(before.artifact):
                    self.client.load(before.artifact)
                there = True
        except TargetError as second:
            error = type(error)(f"{error}; and the checkpoint before could not be kept: {second}")
        return _failure(self.claimed, left, before, error, found_there=there, probe=probe)

    def _seen_before(self, desired: DesiredModel) -> SeenModel | None:
        """Returns what was served before the live checkpoint. What has just failed itself is not seen any more."""
        seen = self.claimed.seen
        return None if seen is not None and seen.artifact == desired.artifact else seen

    def _unloaded(self, loaded: Sequence[LoadedArtifact], seen: SeenModel | None) -> list[LoadedArtifact]:
        """Unloads what has drained, and returns the rest. What cannot be unloaded now stays for the next look."""
        left = []
        for each in loaded:
            if each.unload_at is None or each.unload_at > now() or (seen and _is_of(each, seen.artifact)):
                left.append(each)
                continue
            try:
                self.client.unload(each.artifact)
            except TargetError as error:
                log.warning("target %s: %s is not unloaded yet: %s", self.claimed.name, each.artifact.name, error)
                left.append(each)
        return left

    def _with(self, desired: DesiredModel) -> list[LoadedArtifact]:
        """Returns what was loaded, with the live checkpoint in use again."""
        others = [each for each in self.claimed.loaded if not _is_of(each, desired.artifact)]
        if desired.artifact.kind == "base":
            return others
        return [*others, LoadedArtifact(desired.checkpoint_id, desired.artifact)]

    def _drain_seconds(self) -> float:
        settings = self.claimed.settings
        return settings.drain_seconds if isinstance(settings, ServerSettings) else 0.0


def _failure(
    claimed: ClaimedTarget,
    loaded: Sequence[LoadedArtifact],
    seen: SeenModel | None,
    error: TargetError,
    *,
    found_there: bool,
    probe: ProbeResult | None = None,
) -> Sighting:
    return Sighting(
        "away" if isinstance(error, TargetAway) else "failed",
        seen,
        probe or claimed.probe,
        loaded,
        found_there=found_there,
        next_seconds=leases.pause_seconds(claimed.attempts),
        reason=str(error),
    )


def _is_of(loaded: LoadedArtifact, artifact: ServedArtifact) -> bool:
    return (loaded.artifact.kind, loaded.artifact.digest) == (artifact.kind, artifact.digest)
