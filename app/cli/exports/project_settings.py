"""The settings of a project in an export: what labels, snapshots and gates depend on; written, and restored elsewhere.

Restoring is repeatable: versions that the project has are found, and only decisions that it lacks are appended.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel
from thumbwheel import wire

if TYPE_CHECKING:
    from thumbwheel import Client

SECTIONS = ("recipe", "trigger", "snapshot", "monitoring", "retention", "redaction", "actors")
REASON = "restored from an export"


class _Decision(NamedTuple):
    """A decision on an actor, without its number, its time and its author."""

    actor: str
    decision: str
    reason: str


class ExportedSettings(BaseModel):
    """The project with its versions of policies, gates and suites, and its decisions on actors, all oldest first.

    project        as the API shows it
    label_policies version 0, the default of a server, is not among them unless it is adopted
    suites         as in `StoredSuite`; version 0 comes with a server and has its name alone
    """

    project: dict[str, Any]
    label_policies: list[wire.StoredLabelPolicy]
    gates: list[wire.StoredGates]
    suites: list[wire.StoredSuite]
    quarantine_decisions: list[wire.QuarantineDecision]


def settings_of(client: "Client") -> ExportedSettings:
    """Reads the settings of a project."""
    policies = [each for each in client.label_policies.list() if each.version or each.adopted]
    suites = [each for each in client.suites.list() if each.version or each.adopted]
    return ExportedSettings(
        project=client.projects.get().model_dump(mode="json", exclude_unset=True),
        label_policies=policies[::-1],
        gates=list(client.gates.list())[::-1],
        suites=[client.suites.get(each.name, each.version) for each in reversed(suites)],
        quarantine_decisions=list(client.quarantine.decisions())[::-1],
    )


def restore(client: "Client", exported: ExportedSettings) -> list[str]:
    """Gives a project the settings of another one, except for its base model and its name. Returns what was restored,
    as sentences."""
    change = {name: exported.project[name] for name in SECTIONS if name in exported.project}
    if split_key := exported.project.get("split_key"):
        change["split_key"] = split_key
    client.projects.change(wire.ProjectChange.model_validate(change))
    return [f"settings: {', '.join(change)}", *_policies(client, exported), *_gates(client, exported),
            *_suites(client, exported), *_decisions(client, exported)]  # fmt: skip


def _policies(client: "Client", exported: ExportedSettings) -> Iterator[str]:
    for stored in exported.label_policies:
        version = client.label_policies.create(stored.policy, note=stored.note).version
        if stored.adopted:
            if client.label_policies.adopted().version != version:
                client.label_policies.adopt(version, reason=REASON)
            yield f"label policy: {stored.policy.name}, version {version}"


def _gates(client: "Client", exported: ExportedSettings) -> Iterator[str]:
    for stored in exported.gates:
        version = client.gates.create(stored.document, note=stored.note).version
        if stored.adopted:
            if client.gates.adopted().version != version:
                client.gates.adopt(version, reason=REASON)
            yield f"gates: {stored.document.name}, version {version}"


def _suites(client: "Client", exported: ExportedSettings) -> Iterator[str]:
    wanted: dict[str, int] = {}
    for stored in exported.suites:
        version = stored.version and client.suites.create(stored.suite, note=stored.note).version
        if stored.adopted:
            wanted[stored.name] = version
    adopted = {each.name: each.version for each in client.suites.adopted()}
    for name, version in wanted.items():
        if adopted.get(name) != version:
            client.suites.adopt(name, version, reason=REASON)
        yield f"suite: {name}, version {version}"
    for name in sorted(adopted.keys() - wanted.keys()):
        client.suites.drop(name, reason=REASON)


def _decisions(client: "Client", exported: ExportedSettings) -> Iterator[str]:
    """Appends the decisions that the project lacks. Those on actors whose feedback has expired are left out."""
    from thumbwheel import ApiError

    has = [_decision(each) for each in client.quarantine.decisions()][::-1]
    restored = 0
    for decision in map(_decision, exported.quarantine_decisions):
        if has and has[0] == decision:
            has.pop(0)
        else:
            try:
                client.quarantine.decide(wire.NewQuarantineDecision.model_validate(decision._asdict()))
            except ApiError as error:
                if error.code != "actor_not_found":
                    raise
                continue
        restored += 1
    if restored:
        yield f"decisions on actors in quarantine: {restored}"


def _decision(stored: wire.QuarantineDecision) -> _Decision:
    return _Decision(stored.actor, stored.decision, stored.reason)
