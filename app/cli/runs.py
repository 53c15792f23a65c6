"""`thumbwheel runs …`, `thumbwheel readiness` and `thumbwheel triggers`."""

from typing import Annotated

import typer
from thumbwheel import Client, wire

from app.cli.connection import PATIENT_TRIES, TRIES, AsJson, Project, connected, find_id, short_id
from app.cli.listing import figure, seconds, show_all, show_one, when
from app.cli.projects import Changes, recipe_changes
from app.cli.watch import watch_run
from app.errors import Invalid

runs = typer.Typer(help="Retraining jobs.", no_args_is_help=True, rich_markup_mode=None)

Which = Annotated[
    str | None, typer.Argument(metavar="[RUN]", help="Its id, or its last characters.  [default: the newest]")
]
Note = Annotated[str | None, typer.Option(help="The reason, for the record.")]
Queue = Annotated[bool, typer.Option("--queue", help="Wait for its turn if a run of the project is active.")]
Watch = Annotated[bool, typer.Option("--watch", help="Watch the run until it ends.")]


@runs.command()
def start(
    changes: Changes = None,
    note: Note = None,
    queue: Queue = False,
    watch: Watch = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Start a run with the project's recipe, which --set changes for this run only."""
    with connected(project, tries=PATIENT_TRIES if watch else TRIES) as client:
        run = client.runs.start(wire.NewRun(changes=recipe_changes(changes), note=note, queue=queue))
        _show_started(client, run, watch=watch, as_json=as_json)


@runs.command("list")
def list_runs(project: Project = None, as_json: AsJson = False) -> None:
    """List runs, newest first."""
    columns = {
        "id": lambda run: short_id(run.id),
        "state": _state,
        "done": lambda run: f"{run.phase_done}/{run.phase_total}" if run.phase_total else "–",
        "trigger": lambda run: run.trigger,
        "at": lambda run: when(run.created_at),
        "checkpoint": lambda run: short_id(run.checkpoint_id),
        "why": lambda run: run.reason or "",
    }
    with connected(project) as client:
        show_all(client.runs.list(), columns, as_json=as_json)


@runs.command()
def show(run: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Show a run: its state, figures and history."""
    with connected(project) as client:
        _show(run_of(client, run), as_json)


@runs.command()
def watch(run: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Watch a run until it ends. Exit code 1 if it failed or was cancelled."""
    with connected(project, tries=PATIENT_TRIES) as client:
        raise typer.Exit(watch_run(client, run_of(client, run).id, as_json=as_json))


@runs.command()
def cancel(run: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Cancel a run at its next step."""
    with connected(project) as client:
        _show(client.runs.cancel(run_of(client, run).id), as_json)


@runs.command()
def pause(run: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Pause a run at its next step, with its state saved, until it is resumed."""
    with connected(project) as client:
        _show(client.runs.pause(run_of(client, run).id), as_json)


@runs.command()
def resume(run: Which = None, project: Project = None, as_json: AsJson = False) -> None:
    """Resume a paused run."""
    with connected(project) as client:
        _show(client.runs.resume(run_of(client, run).id), as_json)


@runs.command()
def retry(
    run: Which = None,
    note: Note = None,
    queue: Queue = False,
    watch: Watch = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Retry a failed or cancelled run as a new one, which continues from the saved state if possible."""
    with connected(project, tries=PATIENT_TRIES if watch else TRIES) as client:
        new_run = client.runs.retry(run_of(client, run).id, wire.RunAgain(note=note, queue=queue))
        _show_started(client, new_run, watch=watch, as_json=as_json)


@runs.command()
def reproduce(
    run: Which = None,
    note: Note = None,
    queue: Queue = False,
    watch: Watch = False,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Repeat an ended run from its snapshot and recipe as a new one, and compare the weights."""
    with connected(project, tries=PATIENT_TRIES if watch else TRIES) as client:
        new_run = client.runs.reproduce(run_of(client, run).id, wire.RunAgain(note=note, queue=queue))
        _show_started(client, new_run, watch=watch, as_json=as_json)


def readiness(project: Project = None, as_json: AsJson = False) -> None:
    """Show whether a run could start now, and what is missing. Exit code 1 if anything is."""
    with connected(project) as client:
        answer = client.projects.readiness(project or client.project_id or _only_project(client))
    lines = {
        "ready": "yes" if answer.ready else "no",
        "labels": _counts(answer.counts),
        "new": _counts(answer.new_counts),
        "pairs": str(answer.pairs),
        "λ": f"{figure(answer.lambda_desirable)} desirable, {figure(answer.lambda_undesirable)} undesirable",
        **_plan_lines(answer.plan),
        **_writer_lines(answer.writers),
        "watermark": str(answer.watermark),
        "held out": _held_out(answer.holdout),
        "missing": "\n".join(answer.reasons) or "nothing",
        "notices": "\n".join(answer.notices) or "none",
    }
    show_one(answer, lines, as_json=as_json)
    raise typer.Exit(0 if answer.ready else 1)


def _held_out(holdout: wire.HoldoutForecast | None) -> str:
    if holdout is None:
        return "–"
    return f"{holdout.desirable} desirable, {holdout.undesirable} undesirable, about {holdout.prompts} prompts"


def _plan_lines(plan: wire.BalancePlan | None) -> dict[str, str]:
    if plan is None:
        return {}
    up, down = plan.desirable, plan.undesirable
    rows = (
        f"{up.rows} desirable, {down.rows} undesirable; with their weights, worth {up.effective:.0f} and "
        f"{down.effective:.0f} rows"
    )
    return {"training rows": rows, "advised": f"balance {plan.advised or '–'}: {plan.because}"}


def _writer_lines(writers: wire.Writers | None) -> dict[str, str]:
    if writers is None:
        return {}
    kinds = {
        "the live checkpoint": writers.reference,
        "other checkpoints": writers.others,
        "people": writers.people,
        "unknown": writers.unknown,
    }
    shares = [f"{name} {part.share_of_weight:.0%}" for name, part in kinds.items() if part.desirable + part.undesirable]
    ages = writers.age_days
    days = "–" if ages.median is None else f"{ages.median:g} at the median, {ages.oldest:g} at most"
    return {"written by": ", ".join(shares) or "–", "age in days": days}


def triggers(project: Project = None, as_json: AsJson = False) -> None:
    """List why runs started automatically or did not, newest first."""
    columns = {
        "decided": lambda decision: when(decision.decided_at),
        "last seen": lambda decision: when(decision.last_seen_at),
        "started": lambda decision: "yes" if decision.started else "no",
        "run": lambda decision: short_id(decision.run_id),
        "why": lambda decision: decision.reason,
    }
    with connected(project) as client:
        show_all(client.runs.trigger_decisions(), columns, as_json=as_json)


def run_of(client: Client, argument: str | None) -> wire.Run:
    """Returns the run that the argument identifies, the newest run for None. Raises `Invalid` if there is none."""
    if argument is not None:
        return client.runs.get(find_id(argument, client.runs.list(), "run"))
    newest = next(client.runs.list(), None)
    if newest is None:
        raise Invalid("The project has no run yet: start one with `thumbwheel runs start`.", code="no_run")
    return newest


def _only_project(client: Client) -> str | None:
    """Returns the only project that the key may see, None if there are several or none."""
    names = [item.project for item in client.projects.list()]
    return names[0] if len(names) == 1 else None


def _counts(counts: wire.ClassCounts) -> str:
    return f"{counts.desirable} desirable, {counts.undesirable} undesirable, {counts.nothing} nothing"


def _state(run: wire.Run) -> str:
    reasons = (("paused", run.paused), ("waiting for its turn", run.waiting), ("disk full", run.held_up_by))
    return ", ".join([run.state, *(reason for reason, applies in reasons if applies)])


def held_up_in_words(run: wire.Run) -> str:
    retry = f"next attempt at {when(run.next_attempt_at)}" if run.next_attempt_at else "an attempt is under way"
    return f"{run.held_up_by} (since {when(run.held_up_since)}; {retry})"


def _show_started(client: Client, run: wire.Run, *, watch: bool, as_json: bool) -> None:
    if watch:
        raise typer.Exit(watch_run(client, run.id, as_json=as_json))
    _show(run, as_json)


def _show(run: wire.Run, as_json: bool) -> None:
    lines = {
        "id": str(run.id),
        "state": _state(run),
        "why": run.reason or "–",
        **({"waiting": held_up_in_words(run)} if run.held_up_by else {}),
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
        "suites": ", ".join(f"{suite.name} {suite.version}" for suite in run.suites) or "none",
        "checkpoint": str(run.checkpoint_id or "–"),
        "objective": f"{run.recipe.objective}, {run.recipe.method}",
        **{f"last {name}": figure(value) for name, value in (run.last_metrics or {}).items() if name in SHOWN},
        **({"dropped rows": "\n".join(map(dropped_in_words, run.dropped_rows))} if run.dropped_rows else {}),
        "warnings": "\n".join(run.warnings) or "none",
        **({"last output": run.said} if run.said else {}),
        "history": "\n".join(
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
