"""`thumbwheel projects …`: creates, shows, archives and changes projects."""

import json
from typing import Annotated, Any, Literal

import typer
from pydantic import ValidationError
from thumbwheel import wire

from app.cli.connection import AsJson, Project, connected
from app.cli.gates import gates_of
from app.cli.keys import (
    GatewayPerActor,
    GatewayPerMinute,
    PerActor,
    PerMinute,
    given_limits,
    limits_in_words,
)
from app.cli.listing import show_all, show_one, when
from app.cli.retention import rule_in_words
from app.errors import Invalid

projects = typer.Typer(help="Products whose models are improved.", no_args_is_help=True, rich_markup_mode=None)

Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Change a field of the recipe, such as lora.rank=8; may be repeated."
    ),
]


def changes_of(options: list[str] | None) -> dict[str, Any]:
    """Returns ``{"beta": 0.3, "lora": {"rank": 8}}`` for ``["beta=0.3", "lora.rank=8"]``. Raises `Invalid`."""
    changes: dict[str, Any] = {}
    for text in options or []:
        path, sign, value = text.partition("=")
        if not sign or not all(path.split(".")):
            raise Invalid(f"--set: expected FIELD=VALUE, got {text!r}.", code="invalid_option")
        *sections, field = path.split(".")
        inner = changes
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise Invalid(
                    f"--set {text} contradicts another --set {section}=…: leave one out.", code="invalid_option"
                )
        inner[field] = _value(value)
    return changes


def recipe_changes(options: list[str] | None) -> wire.RecipeChanges:
    """Returns the changes of a recipe by ``--set``. Raises `Invalid` with the name of each wrong field."""
    try:
        return wire.RecipeChanges.model_validate(changes_of(options))
    except ValidationError as error:
        faults = [(".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors()]
        raise Invalid(
            "; ".join(f"--set {name}: {text}" for name, text in faults) + ".", code="invalid_option"
        ) from None


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # a bare word, as in schedule=cosine


@projects.command()
def create(
    project: Annotated[str, typer.Argument(help="Its name: lower-case letters, digits, hyphens.")],
    base_model: Annotated[str, typer.Option(help="Folder of the base model, as the workers see it.")],
    preset: Annotated[str, typer.Option(help="Recipe to start from.")] = "lora-small",
    changes: Changes = None,
    new_per_class: Annotated[
        int | None, typer.Option(help="Start a run after this many new labels of each class.")
    ] = None,
    every_hours: Annotated[
        float | None, typer.Option(help="Start a run at this interval, if there is anything new.")
    ] = None,
    minimum_per_class: Annotated[
        int, typer.Option(help="Refuse a run with fewer training rows of a class.")
    ] = wire.SnapshotRules.model_fields["minimum_per_class"].default,
    events: Annotated[
        Literal["all", "shipped"],
        typer.Option(help="Learn from the whole log, or only from the live checkpoint's completions."),
    ] = "all",
    suites: Annotated[
        list[str] | None,
        typer.Option("--suite", help="Suite of the server to run in evaluations; may be repeated.  [default: all]"),
    ] = None,
    no_suites: Annotated[bool, typer.Option("--no-suites", help="Run no suites in evaluations.")] = False,
    gates: Annotated[
        str, typer.Option(metavar="FILE|PRESET", help="Gates: standard, strict or toy, or a file in YAML or JSON.")
    ] = "standard",
    as_json: AsJson = False,
) -> None:
    """Create a project. Further configuration is set through the API."""
    if suites and no_suites:
        raise Invalid("--suite and --no-suites contradict each other: leave one out.", code="invalid_option")
    new = wire.NewProject(
        project=project,
        base_model=base_model,
        suites=[] if no_suites else suites,
        recipe=wire.RecipeChoice(preset=preset, changes=recipe_changes(changes)),
        trigger=wire.TriggerRules(new_per_class=new_per_class, every_hours=every_hours),
        snapshot=wire.SnapshotRules(minimum_per_class=minimum_per_class, events=events),
        gates=gates_of(gates),
    )
    with connected() as client:
        _show(client.projects.create(new), as_json)


@projects.command("list")
def list_projects(as_json: AsJson = False) -> None:
    """List projects."""
    columns = {
        "project": lambda item: item.project,
        "base model": lambda item: item.base_model,
        "recipe": lambda item: item.recipe.preset,
        "trigger": lambda item: _trigger(item.trigger),
        "created": lambda item: when(item.created_at),
        "archived": lambda item: when(item.archived_at),
    }
    with connected() as client:
        show_all(client.projects.list(), columns, as_json=as_json)


@projects.command()
def show(
    project: Annotated[str | None, typer.Argument(help="Its name.")] = None,
    option: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show a project's configuration."""
    with connected(project or option) as client:
        _show(client.projects.get(), as_json)


@projects.command()
def limits(
    project: Annotated[str, typer.Argument(help="Its name.")],
    per_minute: PerMinute = None,
    per_actor: PerActor = None,
    gateway_per_minute: GatewayPerMinute = None,
    gateway_per_actor: GatewayPerActor = None,
    as_json: AsJson = False,
) -> None:
    """Change how much feedback a project takes, and how many completions its gateway gives. Limits that are not named
    stay.
    """
    change = given_limits(
        per_minute=per_minute,
        actor_per_minute=per_actor,
        gateway_per_minute=gateway_per_minute,
        gateway_actor_per_minute=gateway_per_actor,
    )
    with connected(project) as client:
        _show(client.projects.change(wire.ProjectChange.model_validate({"limits": change})), as_json)


@projects.command()
def archive(
    project: Annotated[str, typer.Argument(help="Its name.")],
    undo: Annotated[bool, typer.Option("--undo", help="Reopen the project.")] = False,
    as_json: AsJson = False,
) -> None:
    """Close a project to feedback and new runs. Nothing is deleted, and --undo reopens it."""
    with connected(project) as client:
        _show(client.projects.change(wire.ProjectChange(archived=not undo)), as_json)


@projects.command()
def redaction(
    project: Annotated[str, typer.Argument(help="Its name.")],
    mode: Annotated[
        wire.RedactionMode | None, typer.Argument(help="off, mask or reject; none: show what was found.")
    ] = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="Kind to look for, such as email; may be repeated.  [default: the built-in ones]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Mask or refuse personal data and secrets before feedback is stored, from now on.

    Feedback that is stored already stays as it is.
    """
    if mode is None and kinds:
        raise Invalid("--kind needs a mode: mask or reject.", code="invalid_option")
    with connected(project) as client:
        if mode is None:
            _show_findings(client.projects.redaction(), as_json)
        else:
            rules = wire.RedactionRules(mode=mode, kinds=kinds or None)
            _show(client.projects.change(wire.ProjectChange(redaction=rules)), as_json)


@projects.command()
def actors(
    project: Annotated[str, typer.Argument(help="Its name.")],
    form: Annotated[wire.ActorForm, typer.Argument(help="plain or hashed.")],
    as_json: AsJson = False,
) -> None:
    """Store the ids of actors as they are sent, or keyed hashes of them, from now on.

    Events that are stored already keep the ids that they have; an erasure finds both.
    """
    with connected(project) as client:
        _show(client.projects.change(wire.ProjectChange(actors=form)), as_json)


@projects.command("base-model")
def base_model(
    project: Annotated[str, typer.Argument(help="Its name.")],
    folder: Annotated[str, typer.Argument(help="Folder of the new base model, as the workers see it.")],
    reason: Annotated[str, typer.Option(help="The reason, for the ledger.")] = "",
    as_json: AsJson = False,
) -> None:
    """Start a new line of checkpoints from another base model, which goes live at once.

    Earlier checkpoints can neither ship nor be the reference until their base model is the project's again.
    """
    with connected(project) as client:
        release = client.projects.change_base_model(wire.NewBaseModel(base_model=folder, reason=reason))
    lines = {"release": f"{release.number} ({release.action})", "why": release.reason, "at": when(release.created_at)}
    show_one(release, lines, as_json=as_json)


def _show(item: wire.Project, as_json: bool) -> None:
    changes = item.recipe.changes.given()
    lines = {
        "project": item.project,
        "base model": item.base_model,
        "created": when(item.created_at),
        "archived": when(item.archived_at),
        "recipe": " ".join([item.recipe.preset, *(f"{name}={value}" for name, value in changes.items())]),
        "trigger": _trigger(item.trigger),
        "gates": f"{item.gates.document.name}, version {item.gates.version} (sha256 {item.gates.sha256[:12]}…)",
        "events a minute": limits_in_words(item.limits),
        "keeps feedback": rule_in_words(item.retention),
        "redaction": _redaction(item),
        "actors": item.actors if item.protected_since is None else f"{item.actors}, since {when(item.protected_since)}",
        **{f"snapshot {name}": str(value) for name, value in item.snapshot},
    }
    show_one(item, lines, as_json=as_json)


def _show_findings(report: wire.RedactionReport, as_json: bool) -> None:
    found = {f"{each.kind}, {each.mode}": f"{each.findings:,}, last {when(each.last_at)}" for each in report.findings}
    show_one(report, {"redaction": _redaction(report), "actors": report.actors, **found}, as_json=as_json)


def _redaction(item: wire.Project | wire.RedactionReport) -> str:
    rules = item.redaction
    what = rules.mode if rules.mode == "off" else f"{rules.mode} {', '.join(rules.kinds or ())}"
    return what if item.protected_since is None else f"{what}, since {when(item.protected_since)}"


def _trigger(rules: wire.TriggerRules) -> str:
    parts = []
    if rules.new_per_class is not None:
        parts.append(f"{rules.new_per_class} new labels per class")
    if rules.every_hours is not None:
        parts.append(f"every {rules.every_hours:g} h")
    return ", ".join(parts) or "by hand"
