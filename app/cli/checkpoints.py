"""`thumbwheel checkpoints …`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from thumbwheel import wire

from app.cli.checkpoint_samples import commands
from app.cli.connection import AsJson, Project, connected, find_id, short_id
from app.cli.listing import figure, show_all, show_one, when

checkpoints = typer.Typer(help="Immutable weights with manifest and card.", no_args_is_help=True, rich_markup_mode=None)

Which = Annotated[str, typer.Argument(help="Its id, or its last characters.")]

checkpoints.add_typer(commands)


@checkpoints.command("list")
def list_checkpoints(project: Project = None, as_json: AsJson = False) -> None:
    """List checkpoints, newest first."""
    columns = {
        "id": lambda item: short_id(item.id),
        "live": lambda item: "live" if item.live else "",
        "kind": lambda item: item.kind,
        "verdict": lambda item: item.verdict,
        "AUROC": lambda item: figure(item.scores.get("auroc")),
        "KL nats/token": lambda item: figure((item.scores.get("kl") or {}).get("nats_per_token")),
        "created": lambda item: when(item.created_at),
    }
    with connected(project) as client:
        show_all(client.checkpoints.list(), columns, as_json=as_json)


@checkpoints.command()
def show(checkpoint: Which, project: Project = None, as_json: AsJson = False) -> None:
    """Show a checkpoint: its verdict, figures and files."""
    with connected(project) as client:
        item = client.checkpoints.get(find_id(checkpoint, client.checkpoints.list(), "checkpoint"))
    _show(item, as_json)


@checkpoints.command()
def card(checkpoint: Which, project: Project = None) -> None:
    """Print the card of a checkpoint as Markdown, with every override of its gates."""
    with connected(project) as client:
        text = client.checkpoints.card(find_id(checkpoint, client.checkpoints.list(), "checkpoint"))
    typer.echo(text, nl=False)


@checkpoints.command()
def pull(
    checkpoint: Which,
    folder: Annotated[Path, typer.Argument(help="Folder for its files.")],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Download a checkpoint's files and verify each by its hash."""
    with connected(project) as client:
        pulled = client.checkpoints.pull(find_id(checkpoint, client.checkpoints.list(), "checkpoint"), folder)
    lines = {"checkpoint": str(pulled.id), "folder": str(folder), "files, verified": str(len(pulled.files))}
    show_one(pulled, lines, as_json=as_json)


def _show(item: wire.Checkpoint, as_json: bool) -> None:
    scores = {name: value for name, value in item.scores.items() if isinstance(value, dict) and "value" in value}
    drift = item.scores.get("kl") or {}
    written = item.scores.get("samples") or {}
    lines = {
        "id": str(item.id),
        "kind": item.kind,
        "live": "yes" if item.live else "no",
        "verdict": item.verdict,
        "gates": f"{item.gates.name}, version {item.gates.version}" if item.gates else "–",
        "reasons": "\n".join(item.reasons) or "–",
        "overrides": "\n".join(_override(override) for override in item.overrides) or "–",
        "created": when(item.created_at),
        "run": str(item.run_id or "–"),
        "trained against": str(item.parent_id or "–"),
        **{name: figure(value) for name, value in scores.items()},
        **{f"KL {name}": figure(value) for name, value in drift.items() if isinstance(value, dict)},
        **_written(written),
        **_replay(item.scores),
        **_suite_lines(item.scores),
        "weights": item.weights_sha256 or "–",
        "files": "\n".join(sorted(item.files)) or "–",
    }
    show_one(item, lines, as_json=as_json)


def _replay(scores: Mapping[str, Any]) -> dict[str, str]:
    """Returns the sentences on answers that users judged, if any were replayed."""
    from app.checkpoints.replay.section import sentences

    said = sentences(scores)
    return {"replay": "\n".join(said)} if said else {}


def _suite_lines(scores: Mapping[str, Any]) -> dict[str, str]:
    """Returns a line for each suite of the scores of a checkpoint."""
    return {
        f"suite {name}": f"{figure(figures['candidate']['pass_share'])} passed, "
        f"{figure(figures['difference_to_shipped'])} to shipped"
        for name, figures in (scores.get("suites") or {}).items()
    }


def _written(samples: Mapping[str, Any]) -> dict[str, str]:
    """Returns the figures of what the checkpoint writes: its own, and those against the shipped one."""
    parts = (("candidate", "writes"), ("against_shipped", "against shipped"))
    return {
        f"{title} {name}": figure(value)
        for part, title in parts
        for name, value in (samples.get(part) or {}).items()
        if not name.startswith("kl_")  # already shown
    }


def _override(item: wire.Override) -> str:
    rules = ", ".join(item.override_scope)
    return f"release {item.number} by {item.by}, {when(item.created_at)}: {item.override_reason} ({rules})"
