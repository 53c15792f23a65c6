"""`thumbwheel runs …`, and what stands in the way of one."""

from typing import Annotated

import typer
from thumbwheel import Client, wire

from app.cli.connection import PATIENT_TRIES, TRIES, AsJson, Project, connected, ending, of_ending
from app.cli.listing import figure, seconds, show_all, show_one, when
from app.cli.projects import Changes, recipe_changes
from app.cli.watch import watched
from app.errors import Invalid

runs = typer.Typer(help="Retraining jobs.", no_args_is_help=True, rich_markup_mode=None)

Which = Annotated[str | None, typer.Argument(metavar="[RUN]", help="Its id, or how that ends.  [default: the newest]")]
Note = Annotated[str | None, typer.Option(help="Why, for the record.")]
Queue = Annotated[bool, typer.Option("--queue", help="Wait for its turn where a run of the project is active.")]
Watch = Annotated[bool, typer.Option("--watch", help="Stay and watch it.")]


@runs.command()
def start(
    changes: Changes = None,
    note: Note = None,
    queue: Queue = False,
    watch: Watch = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Ask for a run with the project's recipe, changed for this one time by --set."""
    with connected(project, tries=PATIENT_TRIES if watch else TRIES) as client:
        run = client.runs.start(wire.NewRun(changes=recipe_changes(changes), note=note, queue=queue))
        _show_begun(client, run, watch=watch, as_json=as_json)


@runs.command("list")
def list_runs(project: Project = None, as_json: AsJson = False) -> None:
    """List runs, newest first."""
    columns = {
        "id": lambda run: ending(run.id),
        "state": _state,
        "done": lambda run: f"{run.phase_done}/{run.phase_total}" if run.phase_total else "–",
        "trigger": lambda run: run.trigger,
        "at": lambda run: when(run.created_at),
        "checkpoint": lambda run: ending(run.checkpoint_id),
        "why": lambda run: run.reason or "",
    }
    with connected(project) as client:
        show_all(client.runs.list(), columns, as_json=as_json)


@runs.command()
def show(run: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Show a run: its state, its figures, what happened."""
    with connected(project) as client:
        _show(chosen(client, run), as_json)


@runs.command()
def watch(run: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Watch a run until it ends. Exit code 1 where it failed or was cancelled."""
    with connected(project, tries=PATIENT_TRIES) as client:
        raise typer.Exit(watched(client, chosen(client, run).id, as_json=as_json))


@runs.command()
def cancel(run: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Have a run end at its next step."""
    with connected(project) as client:
        _show(client.runs.cancel(chosen(client, run).id), as_json)


@runs.command()
def pause(run: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Have a run stop at its next step, its state saved, until it is resumed."""
    with connected(project) as client:
        _show(client.runs.pause(chosen(client, run).id), as_json)


@runs.command()
def resume(run: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Have a paused run go on."""
    with connected(project) as client:
        _show(client.runs.resume(chosen(client, run).id), as_json)


@runs.command()
def retry(
    run: Which = None,
    note: Note = None,
    queue: Queue = False,
    watch: Watch = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Begin a run again that failed or was cancelled, as a new one; it goes on from the saved state if it can."""
    with connected(project, tries=PATIENT_TRIES if watch else TRIES) as client:
        begun = client.runs.retry(chosen(client, run).id, wire.RunAgain(note=note, queue=queue))
        _show_begun(client, begun, watch=watch, as_json=as_json)


@runs.command()
def reproduce(
    run: Which = None,
    note: Note = None,
    queue: Queue = False,
    watch: Watch = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Train an ended run again from its snapshot and recipe, as a new one, and say whether the weights are the same."""
    with connected(project, tries=PATIENT_TRIES if watch else TRIES) as client:
        begun = client.runs.reproduce(chosen(client, run).id, wire.RunAgain(note=note, queue=queue))
        _show_begun(client, begun, watch=watch, as_json=as_json)


def readiness(project: Project = None, as_json: AsJson = False) -> None:
    """Say whether a run could start now, and what is missing. Exit code 1 when something is."""
    with connected(project) as client:
        found = client.projects.readiness(project or client.project_id or _only_project(client))
    lines = {
        "ready": "yes" if found.ready else "no",
        "labels": _counts(found.counts),
        "new": _counts(found.new_counts),
        "pairs": str(found.pairs),
        "λ": f"{figure(found.lambda_desirable)} desirable, {figure(found.lambda_undesirable)} undesirable",
        **_planned(found.plan),
        "watermark": str(found.watermark),
        "held out": _held_out(found.holdout),
        "in the way": "\n".join(found.reasons) or "nothing",
        "look at": "\n".join(found.notices) or "nothing",
    }
    show_one(found, lines, as_json=as_json)
    raise typer.Exit(0 if found.ready else 1)


def _held_out(holdout: wire.HoldoutForecast | None) -> str:
    if holdout is None:
        return "–"
    return f"{holdout.desirable} desirable, {holdout.undesirable} undesirable, about {holdout.prompts} prompts"


def _planned(plan: wire.BalancePlan | None) -> dict[str, str]:
    if plan is None:
        return {}
    up, down = plan.desirable, plan.undesirable
    rows = (
        f"{up.rows} desirable, {down.rows} undesirable; they say as much as {up.effective:.0f} and {down.effective:.0f}"
    )
    return {"training rows": rows, "advised": f"balance {plan.advised or '–'}: {plan.because}"}


def triggers(project: Project = None, as_json: AsJson = False) -> None:
    """List why runs started by themselves, or did not, newest first."""
    columns = {
        "decided": lambda decision: when(decision.decided_at),
        "last seen": lambda decision: when(decision.last_seen_at),
        "started": lambda decision: "yes" if decision.started else "no",
        "run": lambda decision: ending(decision.run_id),
        "why": lambda decision: decision.reason,
    }
    with connected(project) as client:
        show_all(client.runs.trigger_decisions(), columns, as_json=as_json)


def chosen(client: Client, given: str | None) -> wire.Run:
    """The run with that id or ending, else the newest one. Raises `Invalid` where there is none."""
    if given is not None:
        return client.runs.get(of_ending(given, client.runs.list(), "run"))
    newest = next(client.runs.list(), None)
    if newest is None:
        raise Invalid("The project has no run yet: start one with `thumbwheel runs start`.", code="no_run")
    return newest


def _only_project(client: Client) -> str | None:
    """The project of a key that opens one alone."""
    found = [item.project for item in client.projects.list()]
    return found[0] if len(found) == 1 else None


def _counts(counts: wire.ClassCounts) -> str:
    return f"{counts.desirable} desirable, {counts.undesirable} undesirable, {counts.nothing} nothing"


def _state(run: wire.Run) -> str:
    waits = (("paused", run.paused), ("waiting for its turn", run.waiting), ("disk full", run.held_up_by))
    return ", ".join([run.state, *(why for why, so in waits if so)])


def held_up_in_words(run: wire.Run) -> str:
    tried = f"it is tried again at {when(run.next_attempt_at)}" if run.next_attempt_at else "it is being tried again"
    return f"{run.held_up_by} (since {when(run.held_up_since)}; {tried})"


def _show_begun(client: Client, run: wire.Run, *, watch: bool, as_json: bool) -> None:
    if watch:
        raise typer.Exit(watched(client, run.id, as_json=as_json))
    _show(run, as_json)


def _show(run: wire.Run, as_json: bool) -> None:
    lines = {
        "id": str(run.id),
        "state": _state(run),
        "why": run.reason or "–",
        **({"waits": held_up_in_words(run)} if run.held_up_by else {}),
        "trigger": run.trigger,
        **(
            {"reproduces": "the same weights" if run.reproduces else "other weights"}
            if run.reproduces is not None
            else {}
        ),
        "at": when(run.created_at),
        "started": when(run.started_at),
        "finished": when(run.finished_at),
        "done": f"{run.phase_done} of {run.phase_total}",
        "left": seconds(run.eta_seconds),
        "attempts": str(run.attempts),
        "reference": str(run.reference_checkpoint_id),
        "snapshot": str(run.snapshot_id or "–"),
        "checkpoint": str(run.checkpoint_id or "–"),
        "objective": f"{run.recipe.objective}, {run.recipe.method}",
        **{f"last {name}": figure(value) for name, value in (run.last_metrics or {}).items() if name in SHOWN},
        **({"dropped rows": "\n".join(map(dropped_in_words, run.dropped_rows))} if run.dropped_rows else {}),
        "warnings": "\n".join(run.warnings) or "none",
        **({"said": run.said} if run.said else {}),
        "what happened": "\n".join(
            f"{when(step.at)}  {step.to_state}  {step.reason} ({step.by})" for step in run.transitions
        ),
    }
    show_one(run, lines, as_json=as_json)


def dropped_in_words(rows: wire.DroppedRows) -> str:
    """Returns the counts by split, the reason, the first rows and the remedy."""
    splits = ", ".join(f"{count:,} {split}" for split, count in rows.splits.items())
    first = ", ".join(row.completion_id + (f" ({row.detail})" if row.detail else "") for row in rows.examples)
    return f"{splits}: {rows.meaning} (first {first}); {rows.remedy}"


SHOWN = ("loss", "reward_desirable", "reward_undesirable", "margin", "z0", "kl_nats_per_token")
