"""The rules of the gates that a release overrides. Pure."""

from thumbwheel import wire

from app.errors import Fault, Invalid, Refused

#: Verdicts that need an override.
OPEN_VERDICTS = ("refused", "undecided")


def open_rules_of(checkpoint: wire.Checkpoint) -> list[str]:
    """Returns the names of the rules that the checkpoint did not pass; of a checkpoint older than decisions, the first
    words of its reasons.
    """
    if checkpoint.decision:
        return [row.rule for row in checkpoint.decision if row.verdict != "passed"]
    return list(dict.fromkeys(reason.partition(":")[0] for reason in checkpoint.reasons))


def scope_of(checkpoint: wire.Checkpoint, new: wire.NewRelease) -> list[str] | None:
    """Returns the rules that a release of the checkpoint overrides, None if its gates passed.

    Raises `Refused` if the gates did not pass and no override covers every rule that is open, and `Invalid` if
    `override_scope` names another rule.
    """
    open_rules = open_rules_of(checkpoint)
    unknown = [name for name in new.override_scope or () if name not in open_rules]
    if unknown:
        among = f"those that did not pass are {', '.join(open_rules)}" if open_rules else "all of them passed"
        raise Invalid(
            f"override_scope names {', '.join(map(repr, unknown))}, which needs no override: {among}.",
            code="invalid_override_scope",
            faults=[
                Fault(f"/override_scope/{number}", f"is no rule that did not pass: {among}")
                for number, name in enumerate(new.override_scope or ())
                if name in unknown
            ],
        )
    if checkpoint.verdict not in OPEN_VERDICTS:
        return None
    if new.override_reason is None:
        how = "refused it" if checkpoint.verdict == "refused" else "could not decide"
        raise Refused(
            f"Checkpoint {checkpoint.id} did not pass its gates, which {how}: ship another one, or give "
            "override_reason, which is recorded permanently.",
            code="gates_failed",
            reasons=checkpoint.reasons,
        )
    scope = open_rules if new.override_scope is None else new.override_scope
    missing = [name for name in open_rules if name not in scope]
    if missing:
        raise Refused(
            f"override_scope does not cover {', '.join(missing)}: add these rules, or leave override_scope out to "
            "override every rule that did not pass.",
            code="gates_failed",
            reasons=checkpoint.reasons,
        )
    return list(dict.fromkeys(scope))
