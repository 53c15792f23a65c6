"""Probes a target: fixed prompts go to the server, and its answers are compared with the scorer's."""

from thumbwheel.wire import ProbeResult
from thumbwheel.wire.serving import ProbeVerdict, ServerSettings

from app.checkpoints.probe_file import Probe
from app.database import now
from app.serving.leases.target_lease import ClaimedTarget, SeenModel
from app.serving.probing import Agreement, Nearness, judge_greedy, judge_log_probs, tolerance_of
from app.serving.targets.target import ServingClient
from worker.serving.desired import DesiredModel

NO_PROBE = "the checkpoint has no probe.json: it is older than probes, or the base model before the first run"


def probed(claimed: ClaimedTarget, client: ServingClient, desired: DesiredModel, seen: SeenModel) -> ProbeResult:
    """Returns what the probe found. Raises `TargetError` if the server does not answer it."""
    if desired.probe is None:
        return _incomparable(seen, NO_PROBE)
    readings = client.read(seen.model, seen.artifact, desired.probe)
    if readings.log_probs is not None:
        tolerance = _tolerance(claimed, desired.probe)
        nearness = judge_log_probs(desired.probe, readings.log_probs, tolerance)
        if nearness is None:
            return _incomparable(seen, "the server answered another number of log-probs than the prompts have tokens")
        return _of_log_probs(seen, nearness, tolerance)
    if readings.greedy is not None:
        return _of_greedy(seen, judge_greedy(desired.probe, readings.greedy))
    return _incomparable(seen, readings.nothing_because)


def _tolerance(claimed: ClaimedTarget, probe: Probe) -> float:
    settings = claimed.settings
    if not isinstance(settings, ServerSettings):
        return tolerance_of(probe, None, None)
    return tolerance_of(probe, settings.dtype, settings.tolerance)


def _of_log_probs(seen: SeenModel, found: Nearness, tolerance: float) -> ProbeResult:
    ours, base = f"{found.max_nats:.2g}", f"{found.base_max_nats:.2g}"
    meaning: dict[ProbeVerdict, str] = {
        "ok": "" if found.told_apart else "its base model is within the tolerance too",
        "base_instead_of_adapter": "the log-probs are those of the model without the checkpoint (up to "
        f"{base} nats a token off, the checkpoint's are {ours})",
        "differs": f"a log-prob is {ours} nats off the checkpoint's and {base} off its base model's, {tolerance:g} are "
        "allowed: the server has another base model, or computes in another precision (dtype of the target)",
        "not_comparable": "",
    }
    return ProbeResult(
        verdict=found.verdict,
        checkpoint_id=seen.checkpoint_id,
        way="log_probs",
        tokens=found.tokens,
        max_nats=found.max_nats,
        mean_nats=found.mean_nats,
        base_max_nats=found.base_max_nats,
        base_mean_nats=found.base_mean_nats,
        tolerance=tolerance,
        told_apart=found.told_apart,
        reason=meaning[found.verdict],
        at=now(),
    )


def _of_greedy(seen: SeenModel, found: Agreement) -> ProbeResult:
    figures = (
        f"{found.agreeing} of {found.prompts} continuations are the checkpoint's, {found.base_agreeing} its base's"
    )
    apart = "" if found.told_apart else "; both write the same"
    return ProbeResult(
        verdict=found.verdict,
        checkpoint_id=seen.checkpoint_id,
        way="greedy",
        tokens=found.prompts,
        agreeing=found.agreeing,
        base_agreeing=found.base_agreeing,
        told_apart=found.told_apart,
        reason=f"the server gives no log-probs: {figures}{apart}",
        at=now(),
    )


def _incomparable(seen: SeenModel, reason: str) -> ProbeResult:
    return ProbeResult(verdict="not_comparable", checkpoint_id=seen.checkpoint_id, way="none", reason=reason, at=now())
