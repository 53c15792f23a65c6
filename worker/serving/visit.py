"""A worker's visit to a target: the live checkpoint first, then the canary, then what nobody needs any more.

    still there? ─▶ publish ─▶ recorded ─▶ load ─▶ probe ─▶ seen         what is neither drains ─▶ unloaded
         │                                            │
         └── yes: seen, probed now and then           └── fails: the live one before stays, or is loaded again

What is found of the live checkpoint is written before the canary is looked at, and nothing that happens to a canary
changes it. A checkpoint that was the canary and is live now is there already, so it is not loaded again.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from thumbwheel.wire import ProbeResult
from thumbwheel.wire.serving import RemoteSettings

from app.database import now, transaction
from app.errors import StaleLease, ThumbwheelError
from app.serving.leases import service as leases
from app.serving.leases.retirement import retire
from app.serving.leases.target_lease import ClaimedTarget, LoadedArtifact, SeenModel, Sighting
from app.serving.refusals import reason_to_leave_out
from app.serving.served_artifact import Role, ServedArtifact
from app.serving.targets.target import ServingClient, TargetAway, TargetError, TargetRefused
from worker.serving.desired import DesiredModel, desired_of
from worker.serving.probe import probed
from worker.serving.publish import publish

log = logging.getLogger(__name__)

#: The pause between two looks at a target that is in step, and between two probes of it.
LOOK_SECONDS, PROBE_AGE = 60.0, timedelta(minutes=10)
#: The pause while the operator has to restart a server.
RESTART_SECONDS = 15.0


@dataclass
class Visit:
    """A worker at a target. `heed` raises once the lease is lost or the ledger has moved on.

    loaded  what is loaded, or may be
    """

    claimed: ClaimedTarget
    client: ServingClient
    heed: Callable[[], None]
    loaded: list[LoadedArtifact] = field(init=False)
    _wanted: dict[Role, ServedArtifact] = field(default_factory=dict, init=False)
    _found: dict[Role, Sighting] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.loaded = list(self.claimed.loaded)

    def look(self) -> float:
        """Brings the target to the ledger, records what was found, and returns the seconds until the next look.

        Raises what `heed` raises, `StaleLease`, and `Unavailable` while the database is away.
        """
        self._record("live", self._brought("live"))
        self._record("canary", self._canary())
        self._retire()
        if self._found["live"].state != "away":
            self._unload_drained()
        return self._pause()

    def _record(self, role: Role, sighting: Sighting | None) -> None:
        if sighting is not None:
            self._found[role] = sighting
            if sighting.state in ("failed", "away"):
                log.warning(
                    "target %s of %s: %s %s: %s",
                    self.claimed.name, self.claimed.project, role, sighting.state, sighting.reason,
                )  # fmt: skip
        with transaction() as session:
            leases.record(session, self.claimed.lease, role, sighting, self.loaded)

    # -- the canary ---------------------------------------------------------------------------------------------------

    def _canary(self) -> Sighting | None:
        """Returns what was found of the canary, None if there is none and the target has nothing of one."""
        there_is_one = "canary" in self.claimed.desired
        live = self._found["live"]
        if live.state == "away" and (there_is_one or "canary" in self.claimed.before):
            return self._away("canary", TargetAway(live.reason or ""))  # not tried: every call takes a time-out
        if not there_is_one:
            return self._end_canary()
        reason = reason_to_leave_out(self.claimed.settings)
        return self._brought("canary") if reason is None else self._left_out(reason)

    def _left_out(self, reason: str) -> Sighting:
        self._wanted.pop("canary", None)
        return self._end_canary() or Sighting("left_out", reason=reason)

    def _end_canary(self) -> Sighting | None:
        """Removes what only a canary has, and returns None, or why it cannot be removed. Its model drains like any
        other that nobody needs.
        """
        try:
            self.client.end_canary()
        except TargetError as error:
            before = self.claimed.before.get("canary")
            return failure_of(before, error, None if before is None else before.seen)
        return None

    # -- a model ------------------------------------------------------------------------------------------------------

    def _brought(self, role: Role) -> Sighting:
        """Makes the target serve the checkpoint of the role, and returns what was found."""
        desired: DesiredModel | None = None
        try:
            desired = desired_of(self.claimed, role)
            if desired.left_out is not None:
                return self._left_out(desired.left_out)
            self._wanted[role] = desired.artifact
            known = self._known(desired)
            name = None if known is None else self.client.find(desired.artifact, role)
            if known is not None and name is not None:
                return self._looked_again(desired, name, known)
            if desired.refusals:
                raise TargetRefused(
                    f"it would refuse checkpoint {desired.checkpoint_id}: {'; '.join(desired.refusals)}"
                )
            publish(desired.artifact, desired.files, desired.layers, self.heed)
            self._about_to_load(desired)
            name = self.client.load(desired.artifact, role)
            self.heed()
            return self._judged(desired, name)
        except TargetAway as error:
            return self._away(role, error)
        except TargetError as error:
            return self._with_the_one_before(role, desired, error)
        except StaleLease:
            raise
        except ThumbwheelError as error:
            # The artifact store: its rows may be reachable, so the reason can be recorded.
            return self._with_the_one_before(role, desired, TargetRefused(error.message))

    def _known(self, desired: DesiredModel) -> Sighting | None:
        """Returns the sighting of the model in its role, or in the other one: it may have been the canary."""
        own_first = sorted(self.claimed.before.items(), key=lambda entry: entry[0] != desired.role)
        return next((it for _, it in own_first if it.seen is not None and it.seen.artifact == desired.artifact), None)

    def _about_to_load(self, desired: DesiredModel) -> None:
        others = [each for each in self.loaded if not each.is_of(desired.artifact)]
        ours = [] if desired.artifact.kind == "base" else [LoadedArtifact(desired.checkpoint_id, desired.artifact)]
        self.loaded = [*others, *ours]
        reason = f"loading checkpoint {desired.checkpoint_id}"
        with transaction() as session:
            leases.record_load(session, self.claimed.lease, desired.role, self.loaded, reason)

    def _looked_again(self, desired: DesiredModel, name: str, known: Sighting) -> Sighting:
        """Returns the sighting of a model that is there already."""
        before = known.probe
        recent = before is not None and before.checkpoint_id == desired.checkpoint_id and now() - before.at < PROBE_AGE
        if recent and before is not None and before.verdict in ("ok", "not_comparable"):
            return _serving(desired, name, before)
        return self._judged(desired, name)

    def _judged(self, desired: DesiredModel, name: str) -> Sighting:
        result = probed(self.claimed, self.client, desired, _seen(desired, name))
        if result.verdict in ("ok", "not_comparable"):
            return _serving(desired, name, result)
        restart = self.client.restart_for(desired.artifact) if desired.role == "live" else None
        if restart is not None:
            return Sighting("loading", self._seen_before(desired.role, desired), result, restart)
        failure = TargetRefused(f"the probe found {result.verdict}: {result.reason}")
        return self._with_the_one_before(desired.role, desired, failure, result)

    # -- failures -----------------------------------------------------------------------------------------------------

    def _away(self, role: Role, error: TargetAway) -> Sighting:
        return failure_of(self.claimed.before.get(role), error, self._seen_before(role, None))

    def _with_the_one_before(
        self, role: Role, desired: DesiredModel | None, error: TargetError, probe: ProbeResult | None = None
    ) -> Sighting:
        """Returns the sighting of a failure. The live checkpoint that was served before stays, or is loaded again; what
        failed its probe is unloaded.
        """
        before, there = self._seen_before(role, desired), False
        try:
            if desired is not None and probe is not None:
                self._unload_failed(desired)
            if before is not None:
                if self.client.find(before.artifact, role) is None:
                    self.client.load(before.artifact, role)
                there = True
        except TargetError as second:
            error = type(error)(f"{error}; and the checkpoint before could not be kept: {second}")
        return failure_of(self.claimed.before.get(role), error, before, probe, found_there=there)

    def _seen_before(self, role: Role, desired: DesiredModel | None) -> SeenModel | None:
        """Returns what is still seen in the role after a failure. What has just failed itself is not; and a canary
        before the canary is nobody's any more.
        """
        before = self.claimed.before.get(role)
        seen = None if before is None else before.seen
        if seen is None or (desired is not None and seen.artifact == desired.artifact):
            return None
        if role == "canary" and seen.checkpoint_id != self.claimed.desired.get(role):
            return None
        return seen

    def _unload_failed(self, desired: DesiredModel) -> None:
        """Unloads a model that failed its probe, unless the other role has the same one."""
        others = [it for role, it in self._wanted.items() if role != desired.role]
        if desired.artifact not in others:
            at = now()
            self.loaded = [each.retired(at) if each.is_of(desired.artifact) else each for each in self.loaded]
            self._unload_drained()

    # -- what nobody needs --------------------------------------------------------------------------------------------

    def _retire(self) -> None:
        seen = [it.seen.artifact for it in self._found.values() if it.seen is not None]
        until = now() + timedelta(seconds=self._drain_seconds())
        self.loaded = retire(self.loaded, seen, list(self._wanted.values()), until)

    def _unload_drained(self) -> None:
        """Unloads what has drained. What cannot be unloaded now stays for the next look."""
        left = []
        for each in self.loaded:
            if each.unload_at is None or each.unload_at > now():
                left.append(each)
                continue
            try:
                self.client.unload(each.artifact)
            except TargetError as error:
                log.warning("target %s: %s is not unloaded yet: %s", self.claimed.name, each.artifact.name, error)
                left.append(each)
        self.loaded = left

    def _drain_seconds(self) -> float:
        settings = self.claimed.settings
        return settings.drain_seconds if isinstance(settings, RemoteSettings) else 0.0

    def _pause(self) -> float:
        pauses = [_pause_of(sighting) for sighting in self._found.values() if sighting.state != "left_out"]
        due = [(each.unload_at - now()).total_seconds() for each in self.loaded if each.unload_at is not None]
        return min([*pauses, *(max(seconds, 1.0) for seconds in due)])


def failure_of(
    before: Sighting | None,
    error: TargetError,
    seen: SeenModel | None,
    probe: ProbeResult | None = None,
    *,
    found_there: bool = False,
) -> Sighting:
    """Returns the sighting of a failure after what was seen before. `seen`: what is still served in the role."""
    return Sighting(
        "away" if isinstance(error, TargetAway) else "failed",
        seen,
        probe or (None if before is None else before.probe),
        str(error),
        attempts=1 + (0 if before is None else before.attempts),
        found_there=found_there,
    )


def _serving(desired: DesiredModel, name: str, probe: ProbeResult) -> Sighting:
    return Sighting("serving", _seen(desired, name), probe, found_there=True)


def _seen(desired: DesiredModel, name: str) -> SeenModel:
    return SeenModel(desired.checkpoint_id, desired.artifact, name)


def _pause_of(sighting: Sighting) -> float:
    if sighting.state == "loading":
        return RESTART_SECONDS
    return LOOK_SECONDS if sighting.state == "serving" else leases.pause_seconds(sighting.attempts - 1)
