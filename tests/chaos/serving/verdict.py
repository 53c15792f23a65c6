"""Counts what is wrong: actors that two adapters answered, and targets that do not follow the ledger. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from thumbwheel import wire


@dataclass(frozen=True)
class Answer:
    """An answer to an actor while the ledger did not change.

    state    number of the newest entry of the ledger
    assigned the checkpoint that the API assigned
    wrote    content of the adapter that wrote it
    by_rule  the checkpoint by the rule of assignment, from the ledger alone
    """

    state: int
    actor: str
    assigned: UUID
    wrote: str
    target: str
    by_rule: UUID


def two_live(answers: Iterable[Answer], contents: Mapping[UUID, str]) -> list[str]:
    """Returns a sentence for each answer from another adapter than the one before, or than the one assigned."""
    found = []
    wrote_before: dict[tuple[int, str], str] = defaultdict(str)
    for answer in answers:
        before = wrote_before[answer.state, answer.actor] or answer.wrote
        wrote_before[answer.state, answer.actor] = before
        where = f"entry {answer.state}, {answer.actor} at {answer.target}"
        if answer.wrote != contents[answer.assigned]:
            found.append(f"{where}: {answer.wrote!r} answered, assigned was {contents[answer.assigned]!r}")
        elif answer.wrote != before:
            found.append(f"{where}: {answer.wrote!r} answered after {before!r}")
        elif answer.by_rule != answer.assigned:
            found.append(f"{where}: the API assigned {answer.assigned}, the rule says {answer.by_rule}")
    return found


def not_seen(
    serving: wire.Serving,
    loaded: Mapping[str, set[str] | None],
    linked: Mapping[str, str],
    contents: Mapping[UUID, str],
) -> list[str]:
    """Returns a sentence for each target that was not seen to serve what the ledger says, or has something else.

    loaded  server → its adapters; None: it does not answer
    linked  role → content that a link of the folder leads to
    """
    canary = None if serving.canary is None else serving.canary.checkpoint_id
    wanted = {"live": contents[serving.checkpoint_id]} | ({} if canary is None else {"canary": contents[canary]})
    found = []
    for target in serving.targets:
        seen = (target.seen_checkpoint_id, None if target.canary is None else target.canary.seen_checkpoint_id)
        if not target.in_step or seen != (serving.checkpoint_id, canary):
            reason = target.reason or (target.canary and target.canary.reason)
            found.append(f"{target.name}: seen is {seen}, desired is {(serving.checkpoint_id, canary)}: {reason}")
        elif target.kind == "folder":
            if linked != wanted:
                found.append(f"{target.name}: the links lead to {linked}, not to {wanted}")
        else:
            shown = [target.model, None if target.canary is None else target.canary.model]
            models = {model for model in shown if model is not None and model != "base-model"}
            if loaded[target.name] != models:
                found.append(f"{target.name}: it has {loaded[target.name]}, not {models}")
    return found
