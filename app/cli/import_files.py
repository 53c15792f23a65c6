"""`thumbwheel import FILE…`: sends the events and completions of files to the feedback log."""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from app import settings
from app.cli.connection import PATIENT_TRIES, AsJson, Project, connected
from app.cli.import_export import import_export
from app.cli.import_journal import ImportJournal, journal_path
from app.cli.import_outcomes import opened_rejects, print_outcomes
from app.cli.import_sending import sending
from app.cli.listing import as_table, print_json
from app.cli.progress_bars import transfer_bar
from app.errors import Invalid

if TYPE_CHECKING:
    from thumbwheel import Client

    from app.feedback.importing import ImportChoices, ImportOutcome, Source
    from app.feedback.importing.sending import Sending

_PENDING = "the votes in quarantine are not counted yet, since the log is being read: see `thumbwheel readiness` later"


def import_files(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="JSON lines, JSON arrays, CSV, TSV or parquet, plain or in gzip or zip; folders; s3://…; - for stdin.",
        ),
    ],
    project: Project = None,
    shape: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="SHAPE", help="The shape of the records, if it is not recognised: table, langfuse-traces, …"
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--map", metavar="FIELD=COLUMN,...", help="Columns, such as prompt=question,label=thumb."),
    ] = None,
    desirable: Annotated[
        str | None, typer.Option(metavar="VALUE,...", help="Values that are a thumbs up, such as yes,👍,5.")
    ] = None,
    undesirable: Annotated[
        str | None, typer.Option(metavar="VALUE,...", help="Values that are a thumbs down; unset: all others.")
    ] = None,
    scale: Annotated[str | None, typer.Option(metavar="MIN:MAX", help="The scale of ratings.  [default: 1:5]")] = None,
    dry_run: Annotated[
        bool, typer.Option(help="Show ten rows, and what would be stored and lost; send nothing.")
    ] = False,
    rejects: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File for the numbers of rejected records, with reasons.")
    ] = None,
    restart: Annotated[bool, typer.Option(help="Send the files from their beginning after an interruption.")] = False,
    upload: Annotated[
        bool, typer.Option("--upload", help="Send the files as they are, and have the server import them.")
    ] = False,
    with_settings: Annotated[
        bool, typer.Option("--settings", help="Of an export: restore policy, gates, suites and other settings, too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send files of feedback (events, rows of trainers, exports of other tools, tables), or the folder of an export.

    The shape of each record is recognised by its content. Sending a file again stores nothing twice; a changed vote
    with a newer time replaces the older one. An interrupted import continues where it stopped.

    Exit codes: 0 if no record was rejected; 1 if some were; 2 if no record was understood, a file cannot be read or
    the command is used incorrectly.
    """
    from thumbwheel import wire

    from app.cli.imports import import_on_server
    from app.feedback import importing
    from app.feedback.importing.sending import DryRun

    if upload and with_settings:
        raise Invalid("--settings is of the folder of an export: import it without --upload.", code="invalid_option")
    if upload:
        options = wire.ImportOptions(as_=shape, map=columns, desirable=desirable, undesirable=undesirable, scale=scale)
        with connected(project, tries=PATIENT_TRIES) as server:
            import_on_server(server, files, options, dry_run=dry_run, restart=restart, rejects=rejects, as_json=as_json)
        return
    paths = [Path(file) for file in files]
    if import_export(paths, project, dry_run=dry_run, with_settings=with_settings, as_json=as_json):
        return
    chosen = importing.choices(shape, columns, desirable, undesirable, scale)
    with TemporaryDirectory() as folder, ExitStack() as stack:
        sources = [source for argument in files for source in importing.sources_of(argument, Path(folder))]
        for source in sources:
            # Files are looked at before any event is sent; those of a folder and on S3 when it is their turn.
            if not source.remote:
                source.require_whole()
            if not (source.remote or source.part):
                with importing.read_source(source, chosen):
                    pass
        client = None if dry_run else stack.enter_context(connected(project, tries=PATIENT_TRIES))
        sender: Sending = DryRun() if client is None else stack.enter_context(sending(client))
        file = None if rejects is None else stack.enter_context(opened_rejects(rejects))
        advance = stack.enter_context(transfer_bar("importing", sum(source.size for source in sources)))
        given = [repr(option) for option in (shape, columns, desirable, undesirable, scale)]
        journal = ImportJournal(None if client is None else _journal_of(client, files, given), restart=restart)
        outcomes = []
        try:
            for source in sources:
                outcome = importing.ImportOutcome(source.name)
                if file is not None:
                    outcome.on_reject = lambda reject: print(json.dumps(reject), file=file)
                outcomes.append(outcome)
                _import_source(source, chosen, outcome, sender, journal, advance)
        except BaseException:
            journal.write()
            raise
        journal.finish()
        notice = None if client is None else _quarantine_notice(client)
    if notice is not None:
        _say(notice)
    if as_table(as_json):
        print_outcomes(outcomes, dry_run=dry_run)
    else:
        print_json([outcome.document() for outcome in outcomes])
    understood = any(outcome.understood for outcome in outcomes)
    if not understood or any(outcome.rejected for outcome in outcomes):
        raise typer.Exit(1 if understood else 2)


def _import_source(
    source: "Source",
    chosen: "ImportChoices",
    outcome: "ImportOutcome",
    sender: "Sending",
    journal: ImportJournal,
    advance: Callable[[int], None],
) -> None:
    """Sends the items of a source, while the next ones are read."""
    from app.feedback.importing import send_source

    key = None if source.key is None else f"{source.name} {source.key} items"
    sent_before, read = journal.after(key), 0
    if sent_before:
        _say(f"{source.name}: continues after {sent_before:,}, where an import stopped; --restart begins again")
    for position in send_source(source, chosen, outcome, sender, after=sent_before, recount=True):
        journal.note(key, position.items)
        advance(max(0, position.bytes - read))
        read = max(read, position.bytes)
    advance(max(0, source.size - read))


def _journal_of(client: "Client", files: list[str], options: list[str]) -> Path:
    server = [client.url, str(client.project_id)]
    arguments = [file if "://" in file else str(Path(file).resolve()) for file in files]
    return journal_path(settings.current().data_dir / "imports", [*server, *arguments, *options])


def _quarantine_notice(client: "Client") -> str | None:
    """Returns a notice of the votes in quarantine, None without any or if the key may not read it.

    For a long log, the notice is as of its latest reading by the loop.
    """
    from thumbwheel import ApiError, ClientError

    try:
        readiness = client.projects.readiness()
    except ApiError as error:
        return _PENDING if error.code == "readiness_pending" else None
    except ClientError:  # the key may only write feedback, and everything is stored
        return None
    if readiness.quarantine is None or not readiness.quarantine.votes:
        return None
    return next((notice for notice in readiness.notices if "in quarantine" in notice), None)


def _say(sentence: str) -> None:
    from rich.console import Console

    Console(file=sys.stderr, highlight=False).print(sentence, markup=False, soft_wrap=True)
