"""Recommends an arm by held-out evidence within the KL budget, or says that none is clearly better. Pure.

An arm with a base model of its own is never recommended: its AUROC and drift are against that model, so neither can be
compared with those of the others.

Comparisons are written so that a missing figure or NaN never wins.
"""

from collections.abc import Mapping, Sequence
from math import nan

from thumbwheel import wire

from app.checkpoints.few_shots import FEW_SHOTS
from app.runs.comparisons.arms import UNTOUCHED, UNTRAINED

A_PROMPT = (
    f"{FEW_SHOTS} is a prompt, not a checkpoint: nothing of it can ship; to use it, put examples before the prompts "
    "that are served"
)


def leading_of(arms: Sequence[wire.ArmResult], kl_budget: float) -> wire.ArmResult | None:
    """Returns the arm, other than the untouched one, with the highest AUROC within the budget, the first of equal ones;
    None without any.
    """
    passed_over = _passed_over(arms, kl_budget)
    usable = [arm for arm in arms if arm.name != UNTOUCHED and arm.name not in passed_over]
    return max(usable, key=lambda arm: _value(arm.auroc.value), default=None)


def recommend(
    arms: Sequence[wire.ArmResult], kl_budget: float, leads: Mapping[str, wire.ArmFigure] | None = None
) -> wire.Recommendation:
    """Returns the arm whose AUROC is above that of every other arm within the budget.

    leads  by arm, the AUROC of the leading arm minus that of the arm, with its paired interval

    An arm without such a difference is compared by the ends of both intervals, as if they were independent, which is
    cautious.
    """
    leads = leads or {}
    passed_over = _passed_over(arms, kl_budget)
    usable = [arm for arm in arms if arm.name != UNTOUCHED and arm.name not in passed_over]
    leading = leading_of(arms, kl_budget)
    if leading is None:
        reason = "No arm can be recommended: " + "; ".join(f"{name}: {why}" for name, why in passed_over.items())
        return wire.Recommendation(arm=None, leading=None, reason=f"{reason}.", passed_over=passed_over)
    others = [arm for arm in usable if arm.name != leading.name]
    rivals = [arm for arm in others if not _is_above(leading, arm, leads)]
    lead = f"{leading.name} has the highest held-out AUROC, {_shown(leading.auroc)}"
    clear = False
    if not _value(leading.auroc.low) > 0.5:
        reason = (
            f"No arm is clearly better than the untouched model: {lead}, and its interval reaches 0.5. Collect more "
            "feedback, or train longer."
        )
    elif rivals:
        close = "; ".join(_not_above(arm, leads) for arm in rivals)
        reason = f"No arm is clearly better: {lead}, but {close}. More held-out feedback would narrow the intervals."
    else:
        clear = True
        over = "".join(f"; {_above(arm, leads)}" for arm in others)
        drift = f"{_value(leading.kl_nats_per_token.high):.3g} nats a token at most, within the budget of {kl_budget:g}"
        reason = f"{lead}{over}. Its drift is {drift}."
    if leading.name == FEW_SHOTS:
        reason += f" {A_PROMPT}."
    if passed_over:
        reason += " Passed over: " + "; ".join(f"{name}: {why}" for name, why in passed_over.items()) + "."
    arm = leading.name if clear else None
    return wire.Recommendation(arm=arm, leading=leading.name, reason=reason, passed_over=passed_over)


def notices_of(arms: Sequence[wire.ArmResult], differences: Sequence[wire.ArmDifference], seeds: int) -> list[str]:
    """Returns what a reader has to know before comparing the figures."""
    notices = ["The intervals of an arm are of that arm by itself."]
    if any(difference.auroc.value is not None for difference in differences):
        notices.append("Differences in AUROC are paired over the prompts of the held-out rows, seed by seed.")
    if any(difference.prompts for difference in differences):
        notices.append("Differences in length and drift are paired over prompts, for the first seed of each arm.")
    if not differences:
        notices.append("There are no paired differences between arms.")
    if seeds == 1:
        notices.append("With one seed, the intervals leave out how much one training differs from the next.")
    if any(arm.name == FEW_SHOTS for arm in arms):
        notices.append(f"{A_PROMPT}.")
    with_own = [f"{arm.name} ({arm.base_model})" for arm in arms if arm.base_model is not None]
    if with_own:
        notices.append(
            f"With another base model: {', '.join(with_own)}. AUROC, drift, length ratio and gates are against "
            "that model: compare suites and samples."
        )
    short = [arm.name for arm in arms if arm.name not in UNTRAINED and _all_ended(arm) and arm.seeds < seeds]
    if short:
        notices.append(f"Fewer than {seeds} seeds gave a checkpoint: {', '.join(short)}.")
    return notices


def _all_ended(arm: wire.ArmResult) -> bool:
    return all(run.state in ("succeeded", "failed", "cancelled") for run in arm.runs if run.rung == arm.rung)


def _reason_to_pass_over(arm: wire.ArmResult, kl_budget: float, last_rung: int) -> str | None:
    if arm.base_model is not None:
        return "it is measured against a base model of its own, not against the reference of the others"
    if arm.rung < last_rung:
        return f"left after rung {arm.rung + 1} of {last_rung + 1}"
    if arm.auroc.value is None:
        return f"no held-out AUROC ({arm.auroc.reason})"
    drift = arm.kl_nats_per_token
    if drift.high is None:
        return f"its drift is unknown ({drift.reason})"
    if not drift.high <= kl_budget:
        return f"its drift may be {drift.high:.3g} nats a token, beyond the budget of {kl_budget:g}"
    return None


def _passed_over(arms: Sequence[wire.ArmResult], kl_budget: float) -> dict[str, str]:
    others = [arm for arm in arms if arm.name != UNTOUCHED]
    last_rung = max(arm.rung for arm in others)
    reasons = {arm.name: _reason_to_pass_over(arm, kl_budget, last_rung) for arm in others}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _is_above(leading: wire.ArmResult, arm: wire.ArmResult, leads: Mapping[str, wire.ArmFigure]) -> bool:
    lead = leads.get(arm.name)
    if lead is None or lead.low is None:
        return _value(leading.auroc.low) > _value(arm.auroc.high)
    return lead.low > 0


def _above(arm: wire.ArmResult, leads: Mapping[str, wire.ArmFigure]) -> str:
    lead = leads.get(arm.name)
    if lead is None or lead.low is None:
        return f"its lower end is above the upper end of {arm.name}, {_shown(arm.auroc)}"
    return f"it is above {arm.name} by {_shown(lead)} on the same rows"


def _not_above(arm: wire.ArmResult, leads: Mapping[str, wire.ArmFigure]) -> str:
    lead = leads.get(arm.name)
    if lead is None or lead.low is None:
        return f"the interval of {arm.name} {_shown(arm.auroc)} overlaps with its own"
    return f"its lead over {arm.name} is {_shown(lead)} on the same rows"


def _value(number: float | None) -> float:
    return nan if number is None else number


def _shown(figure: wire.ArmFigure) -> str:
    if figure.low is None or figure.high is None:
        return f"{_value(figure.value):.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
