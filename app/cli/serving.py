"""`thumbwheel serving …`: the servers and folders that serve checkpoints, and what they were seen to serve."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError
from thumbwheel import wire

from app.cli.connection import AsJson, Project, connected, short_id
from app.cli.listing import as_table, console, print_json, show_all, show_one, when
from app.cli.projects import changes_of
from app.errors import Invalid

if TYPE_CHECKING:
    from thumbwheel import Client

serving = typer.Typer(help="Servers and folders that serve checkpoints.", no_args_is_help=True, rich_markup_mode=None)

#: Exit code of `show --wait` if a target does not serve the live checkpoint in time.
NOT_IN_STEP = 1
POLL_SECONDS = 1.0

Name = Annotated[str, typer.Argument(metavar="TARGET", help="Name of the target.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="A setting of the target, such as max_lora_rank=32; may be repeated."
    ),
]


@serving.command()
def show(
    target: Annotated[str | None, typer.Argument(metavar="TARGET", help="[default: all of them]")] = None,
    wait: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="Wait until the live checkpoint and the canary are served; exit code 1 if not."
        ),
    ] = 0,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Show the live checkpoint and the canary beside what the targets serve."""
    with connected(project) as client:
        in_step = _waited(client, target, wait)
        if target is None:
            _show_all(client.serving.overview(), as_json)
        else:
            _show(client.serving.get(target), as_json)
    if wait and not in_step:
        raise typer.Exit(NOT_IN_STEP)


@serving.command()
def add(
    target: Name,
    kind: Annotated[str, typer.Option(help="vllm, sglang, transformers, folder or webhook.")],
    publish_folder: Annotated[str, typer.Option(help="Folder that the workers write and the server reads.")],
    url: Annotated[str | None, typer.Option(help="Address of the server, such as http://127.0.0.1:8000.")] = None,
    settings: Settings = None,
    disabled: Annotated[bool, typer.Option("--disabled", help="Store it and leave the server alone.")] = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Add a target. A worker brings it to the live checkpoint, and to a canary."""
    given: dict[str, Any] = {"kind": kind, "publish_folder": publish_folder, **changes_of(settings)}
    if url is not None:
        given["url"] = url
    with connected(project) as client:
        _show(client.serving.create(target, _settings(given), enabled=not disabled), as_json)


@serving.command("set")
def set_(target: Name, settings: Settings = None, project: Project = None, as_json: AsJson = False) -> None:
    """Change settings of a target. It is then looked at as if it were new."""
    changes = changes_of(settings)
    if not changes:
        raise Invalid("Nothing to change: give --set FIELD=VALUE.", code="invalid_option")
    with connected(project) as client:
        before = client.serving.get(target).settings.model_dump(mode="json")
        _show(client.serving.change(target, settings=_settings({**before, **changes})), as_json)


@serving.command()
def enable(target: Name, project: Project = None, as_json: AsJson = False) -> None:
    """Keep a target at the live checkpoint from now on."""
    with connected(project) as client:
        _show(client.serving.change(target, enabled=True), as_json)


@serving.command()
def disable(target: Name, project: Project = None, as_json: AsJson = False) -> None:
    """Leave a target alone from now on, with what it has loaded."""
    with connected(project) as client:
        _show(client.serving.change(target, enabled=False), as_json)


@serving.command()
def remove(target: Name, project: Project = None) -> None:
    """Forget a target. What its server has loaded stays there."""
    with connected(project) as client:
        client.serving.delete(target)


@serving.command()
def sync(target: Name, project: Project = None, as_json: AsJson = False) -> None:
    """Look at a target now instead of after its pause."""
    with connected(project) as client:
        _show(client.serving.sync(target), as_json)


def _settings(given: dict[str, Any]) -> wire.TargetSettings:
    """Returns the settings of a target. Raises `Invalid` with the name of each wrong field."""
    adapter: TypeAdapter[wire.TargetSettings] = TypeAdapter(wire.TargetSettings)
    try:
        return adapter.validate_python(given)
    except ValidationError as error:
        # The first part of a place is the kind, unless the kind itself is wrong.
        faults = [(".".join(map(str, fault["loc"][1:])) or "kind", fault["msg"]) for fault in error.errors()]
        raise Invalid("; ".join(f"{name}: {text}" for name, text in faults) + ".", code="invalid_option") from None


def _waited(client: "Client", target: str | None, seconds: float) -> bool:
    """Returns whether the targets are in step, after waiting for it for `seconds` at most."""
    end = time.monotonic() + seconds
    while True:
        in_step = client.serving.overview().in_step if target is None else client.serving.get(target).in_step
        if in_step or time.monotonic() >= end:
            return in_step
        time.sleep(POLL_SECONDS)


def _show_all(item: wire.Serving, as_json: bool) -> None:
    if not as_table(as_json):
        print_json(item.model_dump(mode="json"))
        return
    console().print(f"live: checkpoint {short_id(item.checkpoint_id)}, release {item.release}", markup=False)
    if item.canary is not None:
        share = f"{item.canary.share or 0:g} of the actors"
        canary = f"checkpoint {short_id(item.canary.checkpoint_id)}, release {item.canary.number}, {share}"
        console().print(f"canary: {canary}", markup=False)
    columns = {
        "target": lambda target: target.name,
        "kind": lambda target: target.kind,
        "state": lambda target: target.state,
        "seen": lambda target: short_id(target.seen_checkpoint_id),
        "probe": lambda target: probe_in_words(target.probe),
        "canary": lambda target: canary_in_words(target.canary),
        "age": lambda target: "–" if target.age_seconds is None else f"{target.age_seconds:.0f} s",
        "differs since": lambda target: when(target.differs_since),
        "why": _why,
    }
    show_all(item.targets, columns, as_json=as_json)


def _show(item: wire.ServingTarget, as_json: bool) -> None:
    lines = {
        "target": f"{item.name} ({item.kind})",
        "state": item.state,
        "why": item.reason or "–",
        "desired": short_id(item.desired_checkpoint_id),
        "seen": short_id(item.seen_checkpoint_id),
        "model": item.model or "–",
        "url": item.url or "–",
        "probe": probe_in_words(item.probe),
        "seen at": when(item.seen_at),
        **_canary_lines(item.canary),
        "differs since": when(item.differs_since),
        "next look": when(item.next_try_at),
        "draining": ", ".join(item.draining) or "–",
        "settings": ", ".join(f"{name}={value}" for name, value in item.settings if value is not None),
        "notices": "; ".join(item.notices) or "–",
    }
    show_one(item, lines, as_json=as_json)


def _why(target: wire.ServingTarget) -> str:
    if target.reason is None and target.canary is not None and target.canary.reason is not None:
        return f"canary: {target.canary.reason}"
    return target.reason or ""


def _canary_lines(canary: wire.ServedCanary | None) -> dict[str, str]:
    if canary is None:
        return {"canary": "–"}
    return {
        "canary": canary_in_words(canary),
        "canary: why": canary.reason or "–",
        "canary: desired": short_id(canary.desired_checkpoint_id),
        "canary: model": canary.model or "–",
        "canary: probe": probe_in_words(canary.probe),
    }


def canary_in_words(canary: wire.ServedCanary | None) -> str:
    """Returns the state of a canary at a target, and what was seen of it."""
    if canary is None:
        return "–"
    state = canary.state.replace("_", " ")
    return state if canary.seen_checkpoint_id is None else f"{state}, {short_id(canary.seen_checkpoint_id)}"


def probe_in_words(probe: wire.ProbeResult | None) -> str:
    """Returns the verdict with its main figure."""
    if probe is None:
        return "–"
    if probe.max_nats is not None:
        return f"{probe.verdict}, {probe.max_nats:.2g} nats a token"
    if probe.agreeing is not None:
        return f"{probe.verdict}, {probe.agreeing} of {probe.tokens} continuations"
    return probe.verdict
