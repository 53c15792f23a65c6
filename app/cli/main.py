"""`thumbwheel …`: the command line. An expected failure is one line on stderr and exit code 2.

Commands import heavy modules only when they run, so that `--help` is quick.
"""

import sys
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from app.cli.audits import audit
from app.cli.checkpoint_suites import show_suites
from app.cli.checkpoints import checkpoints
from app.cli.comparisons import compare, comparisons, sweep
from app.cli.demo import demo
from app.cli.doctor import doctor
from app.cli.export_project import export
from app.cli.gates import gates
from app.cli.gateway import gateway
from app.cli.holds import holds
from app.cli.import_files import import_files
from app.cli.imports import imports
from app.cli.keys import keys
from app.cli.leftovers import leftovers
from app.cli.migrate import migrate
from app.cli.operator_log import operator_log
from app.cli.policies import policies
from app.cli.privacy import actors, erasures, receipt
from app.cli.project_suites import add, adopt, adopted, drop, history, list_suites, show
from app.cli.projects import projects
from app.cli.quarantine import quarantine
from app.cli.release_approval import approval
from app.cli.releases import releases, rollback, ship, time_to_learn
from app.cli.retention import retention
from app.cli.runs import readiness, runs, triggers
from app.cli.serving import serving
from app.cli.snapshots import snapshot
from app.cli.suites import suites
from app.cli.train import train
from app.cli.up import up
from app.cli.vote_links import vote_links
from app.cli.webhooks import webhooks
from app.errors import ThumbwheelError

if TYPE_CHECKING:
    from thumbwheel import ClientError


def print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"thumbwheel {version_of('thumbwheel-server')}")
        raise typer.Exit


app = typer.Typer(
    help="Turn production thumbs into better models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """Turn production thumbs into better models."""


app.command(short_help="Run everything in this terminal, until Ctrl-C.")(up)
app.command(short_help="Answer OpenAI's completions by the serving targets.")(gateway)
app.command(short_help="Watch the whole loop with simulated users.")(demo)
app.command(short_help="Train on files, without any service.")(train)
app.command(short_help="Check this machine, settings and processes.")(doctor)
app.command(short_help="Migrate the database to the newest tables.")(migrate)
app.command(short_help="List files in the store that no row names.")(leftovers)
app.add_typer(projects, name="projects")
app.add_typer(keys, name="keys")
app.command("operator-log", short_help="List who did what with which key.")(operator_log)
app.add_typer(vote_links, name="vote-links")
app.command("import", short_help="Send files of feedback, or an export.")(import_files)
app.add_typer(imports, name="imports")
app.command(short_help="Write a project to a folder that import reads back.")(export)
app.command(short_help="Show whether a run could start now.")(readiness)
app.add_typer(policies, name="policies")
app.add_typer(quarantine, name="quarantine")
app.add_typer(audit, name="audit")
app.command(short_help="Show what became of one event.")(receipt)
app.add_typer(actors, name="actors")
app.add_typer(erasures, name="erasures")
app.add_typer(retention, name="retention")
app.add_typer(holds, name="holds")
app.add_typer(runs, name="runs")
app.command(short_help="Train several arms on one snapshot and compare them.")(compare)
app.command(short_help="Search a space of recipe fields.")(sweep)
app.add_typer(comparisons, name="comparisons")
app.add_typer(snapshot, name="snapshot")
checkpoints.command("suites")(show_suites)
app.add_typer(checkpoints, name="checkpoints")
suites.command("list")(list_suites)
suites.command()(show)
suites.command()(add)
suites.command()(adopt)
suites.command()(drop)
suites.command()(adopted)
suites.command()(history)
app.add_typer(suites, name="suites")
app.add_typer(gates, name="gates")
app.add_typer(webhooks, name="webhooks")
app.command()(ship)
app.command(short_help="End the canary, or return to the release before.")(rollback)
app.command(short_help="List the releases with their reasons.")(releases)
app.command(short_help="Show what users think of each release.")(approval)
app.command("time-to-learn", short_help="Show how long feedback takes to become live.")(time_to_learn)
app.add_typer(serving, name="serving")
app.command(short_help="List why runs started automatically, or not.")(triggers)


def main() -> None:
    from thumbwheel import ClientError

    try:
        app()
    except ThumbwheelError as error:
        _fail(error.message)
    except ClientError as error:
        _fail(line_of(error))
    except ValidationError as error:
        _fail("; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()) + ".")


def line_of(error: "ClientError") -> str:
    """Returns the error of a call as one line, with the remedy for a person at a terminal."""
    from thumbwheel import ApiError, Unreachable

    message = error.message
    if isinstance(error, Unreachable):
        message += " Start it with `thumbwheel up`, or set THUMBWHEEL_URL to where it runs."
    elif isinstance(error, ApiError):
        if error.status == 401:
            message += " The command line takes it from THUMBWHEEL_API_KEY; a lost admin key is replaced by "
            message += "`thumbwheel keys first --replace`."
        elif error.code == "no_project":
            message = "Your key is valid for every project: name one by --project or THUMBWHEEL_PROJECT."
        message += "".join(f" {reason}" for reason in error.problem.get("reasons") or () if reason not in message)
    return " ".join(message.split())


def _fail(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.exit(2)


if __name__ == "__main__":
    main()
