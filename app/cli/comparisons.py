"""`thumbwheel compare`, `thumbwheel sweep` and `thumbwheel comparisons …`."""

import json
import time
from typing import Annotated, Any, Literal
from uuid import UUID

import typer
from thumbwheel import Client, wire

from app.cli.comparison_report import progress_line, show_job
from app.cli.connection import PATIENT_TRIES, TRIES, AsJson, Project, connected, find_id, short_id
from app.cli.listing import show_all, when
from app.cli.watch import ENDED_OTHERWISE, INTERRUPTED, SUCCEEDED
from app.errors import Invalid

comparisons = typer.Typer(help="Comparisons and sweeps.", no_args_is_help=True, rich_markup_mode=None)

#: Seconds between two looks at a job that is watched.
LOOK_SECONDS = 2.0

Seeds = Annotated[int, typer.Option(help="Trainings of each arm, which differ in their seed alone.")]
Votes = Annotated[
    int | None, typer.Option(help="Budget: the approximate number of labelled completions to learn from.")
]
Tokens = Annotated[int | None, typer.Option(help="Budget: tokens to train on.")]
Steps = Annotated[int | None, typer.Option(help="Budget: optimizer steps.")]
KlBudget = Annotated[float | None, typer.Option(help="Drift in nats a token that an arm may have.  [default: gates]")]
SnapshotId = Annotated[UUID | None, typer.Option("--snapshot", help="An existing snapshot, by its whole id.")]
Note = Annotated[str | None, typer.Option(help="The reason, for the record.")]
Watch = Annotated[bool, typer.Option("--watch", help="Watch until it ends.")]
Which = Annotated[
    str | None, typer.Argument(metavar="[COMPARISON]", help="Its id, or its last characters.  [default: the newest]")
]


def compare(
    arms: Annotated[
        str,
        typer.Option(
            help="Arms, by commas: kto, dpo, ipo, simpo, orpo, sft, bco, apo_zero_unpaired, untouched, few_shots."
        ),
    ],
    base: Annotated[
        list[str] | None,
        typer.Option(
            "--base",
            metavar="ARM=FOLDER",
            help="Let an arm start from another base model, as smaller=/models/small; it need not be in --arms.",
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="ARM.FIELD=VALUE", help="Change a recipe field of an arm, as dpo.beta=0.05."),
    ] = None,
    seeds: Seeds = 1,
    votes: Votes = None,
    tokens: Tokens = None,
    steps: Steps = None,
    kl_budget: KlBudget = None,
    snapshot: SnapshotId = None,
    note: Note = None,
    watch: Watch = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Train several arms on one snapshot, with the same seeds and budget, and recommend one."""
    new = wire.NewComparison.model_validate(
        {
            "arms": _arms(arms, base or [], change or []),
            "seeds": seeds,
            "budget": {"votes": votes, "tokens": tokens, "steps": steps},
            "kl_budget": kl_budget,
            "snapshot_id": snapshot,
            "note": note,
        }
    )
    with connected(project, tries=PATIENT_TRIES if watch else TRIES) as client:
        _show_started(client, client.comparisons.start(new), watch=watch, as_json=as_json)


def sweep(
    space: Annotated[
        list[str],
        typer.Argument(
            metavar="FIELD=VALUES...", help="beta=0.1,0.3 for values; learning_rate=1e-5..1e-3 for a range (log scale)."
        ),
    ],
    search: Annotated[Literal["grid", "random", "halving"], typer.Option(help="How points are chosen.")] = "grid",
    points: Annotated[int | None, typer.Option(help="Points to draw.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the drawn points.")] = 0,
    rungs: Annotated[str | None, typer.Option(help="halving: steps (or epochs) of each rung, as 50,150,450.")] = None,
    resource: Annotated[Literal["max_steps", "epochs"], typer.Option(help="halving: what rises.")] = "max_steps",
    keep: Annotated[int, typer.Option(help="halving: one point of this number goes on.")] = 3,
    seeds: Seeds = 1,
    votes: Votes = None,
    tokens: Tokens = None,
    steps: Steps = None,
    kl_budget: KlBudget = None,
    snapshot: SnapshotId = None,
    note: Note = None,
    watch: Watch = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Train the points of a space of recipe fields, and recommend one by held-out evidence."""
    new = wire.NewSweep.model_validate(
        {
            "space": _space(space),
            "search": search,
            "points": points,
            "seed": seed,
            "rungs": [] if rungs is None else [_value(rung) for rung in rungs.split(",")],
            "resource": resource,
            "keep": keep,
            "seeds": seeds,
            "budget": {"votes": votes, "tokens": tokens, "steps": steps},
            "kl_budget": kl_budget,
            "snapshot_id": snapshot,
            "note": note,
        }
    )
    with connected(project, tries=PATIENT_TRIES if watch else TRIES) as client:
        _show_started(client, client.comparisons.sweep(new), watch=watch, as_json=as_json)


@comparisons.command("list")
def list_comparisons(project: Project = None, as_json: AsJson = False) -> None:
    """List comparisons and sweeps, newest first."""
    columns = {
        "id": lambda job: short_id(job.id),
        "kind": lambda job: job.kind,
        "state": lambda job: job.state,
        "runs": lambda job: f"{job.runs_ended}/{job.runs_planned}",
        "arms": lambda job: ", ".join(arm.name for arm in job.arms[:6]) + (" …" if len(job.arms) > 6 else ""),
        "recommended": lambda job: job.recommendation.arm or "–",
        "at": lambda job: when(job.created_at),
    }
    with connected(project) as client:
        show_all(client.comparisons.list(), columns, as_json=as_json)


@comparisons.command()
def show(comparison: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Show a comparison or sweep: a table of its arms, and the recommendation with its reason."""
    with connected(project) as client:
        show_job(_job_of(client, comparison), as_json=as_json)


@comparisons.command()
def watch(comparison: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Watch a comparison or sweep until it ends. Exit code 1 if it failed or was cancelled."""
    with connected(project, tries=PATIENT_TRIES) as client:
        raise typer.Exit(_watch(client, _job_of(client, comparison), as_json=as_json))


@comparisons.command()
def cancel(comparison: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Cancel a comparison or sweep and its runs; the figures so far are kept."""
    with connected(project) as client:
        show_job(client.comparisons.cancel(_job_of(client, comparison).id), as_json=as_json)


def _arms(names: str, bases: list[str], changes: list[str]) -> list[dict[str, Any]]:
    """Returns the arms with base models and changes. Raises `Invalid` for a change of an arm that is not compared."""
    arms: dict[str, dict[str, Any]] = {}
    listed = [name.strip() for name in names.split(",") if name.strip()]
    twice = next((name for name in listed if listed.count(name) > 1), None)
    if twice is not None:
        raise Invalid(f"--arms: {twice} is there twice: name each arm once.", code="invalid_option")
    for name in listed:
        arms[name] = {}
    folders: dict[str, str] = {}
    for text in bases:
        name, _, folder = text.partition("=")
        if not name or not folder:
            raise Invalid(f"--base: expected ARM=FOLDER, got {text!r}.", code="invalid_option")
        if name in folders:
            raise Invalid(f"--base: {name} is there twice: name each arm once.", code="invalid_option")
        folders[name] = folder
        arms.setdefault(name, {})
    for text in changes:
        path, sign, value = text.partition("=")
        name, _, field = path.partition(".")
        if not sign or not field:
            raise Invalid(f"--set: expected ARM.FIELD=VALUE, got {text!r}.", code="invalid_option")
        if name not in arms:
            raise Invalid(f"--set {text}: {name} is not one of the arms: {', '.join(arms)}.", code="invalid_option")
        section, _, last = field.rpartition(".")
        (arms[name].setdefault(section, {}) if section else arms[name])[last] = _value(value)
    return [{"name": name, "changes": given, "base_model": folders.get(name)} for name, given in arms.items()]


def _space(options: list[str]) -> dict[str, Any]:
    """Returns ``{"beta": [0.1, 0.3]}`` for ``["beta=0.1,0.3"]``. Raises `Invalid`."""
    space: dict[str, Any] = {}
    for text in options:
        field, sign, values = text.partition("=")
        if not sign or not field or not values:
            raise Invalid(f"expected FIELD=VALUES, got {text!r}: beta=0.1,0.3 for example.", code="invalid_option")
        if field in space:
            raise Invalid(f"{text}: {field} is there twice: put all of its values into one.", code="invalid_option")
        low, dots, high = values.partition("..")
        if dots:
            space[field] = {"low": _value(low), "high": _value(high), "scale": "log"}
        else:
            space[field] = [_value(value) for value in values.split(",")]
    return space


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text  # a bare word, as in schedule=cosine


def _job_of(client: Client, argument: str | None) -> wire.ComparisonJob:
    """Returns the job that the argument identifies, the newest for None. Raises `Invalid` if there is none."""
    if argument is not None:
        return client.comparisons.get(find_id(argument, client.comparisons.list(), "comparison"))
    newest = next(client.comparisons.list(), None)
    if newest is None:
        raise Invalid("The project has no comparison yet: start one with `thumbwheel compare`.", code="no_comparison")
    return newest


def _show_started(client: Client, job: wire.ComparisonJob, *, watch: bool, as_json: bool) -> None:
    if watch:
        raise typer.Exit(_watch(client, job, as_json=as_json))
    show_job(job, as_json=as_json)


def _watch(client: Client, job: wire.ComparisonJob, *, as_json: bool) -> int:
    """Prints a line per change until the job has ended, then the job. Returns the exit code."""
    printed = None
    try:
        while True:
            line = progress_line(job)
            if line != printed:
                typer.echo(line, err=True)
                printed = line
            if job.state != "running":
                break
            time.sleep(LOOK_SECONDS)
            job = client.comparisons.get(job.id)
    except KeyboardInterrupt:
        typer.echo(
            f"Comparison {job.id} continues: `thumbwheel comparisons watch` shows it, `comparisons cancel` ends it.",
            err=True,
        )
        raise typer.Exit(INTERRUPTED) from None
    show_job(job, as_json=as_json)
    return SUCCEEDED if job.state == "succeeded" else ENDED_OTHERWISE
