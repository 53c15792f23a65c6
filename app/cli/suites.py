"""`thumbwheel suites …`: prompts with assertions: list, check and run them, and import those of other tools."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.connection import AsJson
from app.cli.document_files import read_document
from app.cli.listing import as_table, console, print_json
from app.cli.progress_bars import progress_bar
from app.cli.suite_reports import exit_code, report_document, show_reports
from app.errors import Invalid

if TYPE_CHECKING:
    from thumbwheel import wire


suites = typer.Typer(
    help="Suites: prompts with assertions about what a model writes.", no_args_is_help=True, rich_markup_mode=None
)

INTERRUPTED = 130

Suites = Annotated[
    list[str], typer.Argument(metavar="SUITE...", help="A name from `thumbwheel suites list`, a file, or - for stdin.")
]
KEY_HELP = "Name of the environment variable with the key of"


@suites.command("list")
def list_suites(as_json: AsJson = False) -> None:
    """List the suites that come with Thumbwheel."""
    from app.suites import own
    from app.suites.documents import sha256_of

    items = [
        {
            "name": suite.name,
            "version": suite.version,
            "tests": len(suite.tests),
            "sha256": sha256_of(suite),
            "description": suite.description,
        }
        for suite in map(suite_of, own.names())
    ]
    if not as_table(as_json):
        print_json(items)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "version", "tests", "sha256", "description", box=None, header_style="bold", pad_edge=False)
    for item in items:
        cells = {**item, "sha256": str(item["sha256"])[:12]}
        table.add_row(*(Text(str(cell)) for cell in cells.values()))
    console().print(table)


@suites.command()
def show(name: Annotated[str, typer.Argument(help="A name from `thumbwheel suites list`.")]) -> None:
    """Print a suite that comes with Thumbwheel, to copy and change it."""
    from app.suites import own

    if name not in own.names():
        raise Invalid(f"No suite is named {name!r}: use {', '.join(own.names())}.", code="unknown_suite")
    sys.stdout.write(own.text_of(name))


@suites.command()
def check(chosen: Suites, as_json: AsJson = False) -> None:
    """Check whether files are valid suites. Needs neither a server nor a model."""
    from app.suites.documents import sha256_of

    items = [
        {"suite": name, "name": suite.name, "valid": True, "tests": len(suite.tests), "sha256": sha256_of(suite)}
        for name, suite in ((name, suite_of(name)) for name in chosen)
    ]
    if not as_table(as_json):
        print_json(items)
        return
    for item in items:
        console().print(f"{item['suite']}: valid, {item['tests']} tests, sha256 {item['sha256']}", markup=False)


@suites.command()
def run(
    chosen: Suites,
    endpoint: Annotated[
        str, typer.Option(metavar="URL", help="OpenAI-compatible endpoint, such as http://127.0.0.1:8000/v1.")
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help="Model at the endpoint.")],
    key_env: Annotated[str | None, typer.Option(metavar="VARIABLE", help=f"{KEY_HELP} the endpoint.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Requests at once.")] = 4,
    timeout: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds for each attempt of a request.")] = 60,
    tries: Annotated[int, typer.Option(min=1, max=20, help="Attempts of each request.")] = 3,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 is greedy.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, max=100_000, help="Longest output.")] = 512,
    seed: Annotated[int | None, typer.Option(help="Seed, if the endpoint takes one.")] = None,
    embeddings: Annotated[
        str | None, typer.Option(metavar="URL", help="Endpoint of embeddings, for assertions of type similar.")
    ] = None,
    embedding_model: Annotated[str | None, typer.Option(metavar="NAME", help="Model for --embeddings.")] = None,
    embedding_key_env: Annotated[str | None, typer.Option(metavar="VARIABLE", help=f"{KEY_HELP} --embeddings.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run suites against a model behind an endpoint.

    Exit codes: 0 if every test passed; 1 if one failed; 2 if a suite or an option is invalid; 3 if no test failed, but
    one is undecided, since an answer, an embedding or a judge is missing.
    """
    from app.suites.endpoint import Endpoint, Sampling
    from app.suites.running import Runner
    from app.suites.samples import samples_of

    if (embeddings is None) != (embedding_model is None):
        raise Invalid("--embeddings and --embedding-model belong together: give both.", code="invalid_option")
    documents = [suite_of(name) for name in chosen]
    sampling = Sampling(temperature, max_tokens, seed)
    at = Endpoint(endpoint, model, _key(key_env), timeout=timeout, tries=tries)
    embedder: Endpoint | None = None
    if embeddings is not None and embedding_model is not None:
        embedder = Endpoint(embeddings, embedding_model, _key(embedding_key_env), timeout=timeout, tries=tries)
    opened = [connection for connection in (at, embedder) if connection is not None]
    try:
        with progress_bar("running", sum(len(samples_of(suite)) for suite in documents)) as advance:
            reports = Runner(at, sampling, embedder).run(documents, concurrency=concurrency, advance=lambda: advance(1))
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted: no suite was run to its end.\n")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        for connection in opened:
            connection.close()
    if as_table(as_json):
        show_reports(reports)
    else:
        print_json(report_document(reports, at, sampling))
    raise typer.Exit(exit_code(reports))


@suites.command("import")
def import_suite(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="promptfooconfig.yaml, or JSON lines of OpenAI evals.")],
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="File to write.  [default: stdout]")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the suite.  [default: that of the file]")] = None,
    any_of: Annotated[
        bool, typer.Option("--contains", help="OpenAI evals: the output contains an ideal answer, not equals it.")
    ] = False,
) -> None:
    """Convert a file of promptfoo or OpenAI evals into a suite. Each part that cannot be converted is a line on stderr.

    Exit codes: 0 if everything was converted; 1 if something was left out; 2 if nothing could be converted.
    """
    from app.suites.importing.files import imported

    result = imported(file, name, contains=any_of)
    for loss in result.losses:
        sys.stderr.write(f"{file}: {loss.pointer or '/'}: {loss.message}\n")
    _write(result.text, output)
    raise typer.Exit(1 if result.losses else 0)


def suite_of(name: str) -> "wire.Suite":
    """Returns the suite of a name or a file. Raises `Invalid` with all its faults on one line."""
    from thumbwheel import wire

    from app.bounded_yaml import load
    from app.suites import own
    from app.suites.documents import read

    document = load(own.text_of(name)) if name in own.names() else read_document(_existing(name))
    result = read(document)
    if isinstance(result, wire.Suite):
        return result
    faults = "; ".join(f"{fault.pointer or 'the document'}: {fault.message}" for fault in result)
    more = f" (and {result.total - len(result)} more)" if result.total > len(result) else ""
    title = "stdin" if name == "-" else name
    raise Invalid(f"{title} is not a suite: {faults}{more}.", code="invalid_suite", faults=result)


def _existing(name: str) -> Path:
    from app.suites import own

    path = Path(name)
    if name != "-" and not path.suffix and not path.exists():
        raise Invalid(
            f"{name} is neither a file nor the name of a suite: use {', '.join(own.names())}.", code="unknown_suite"
        )
    return path


def _key(variable: str | None) -> str | None:
    """Returns the key in an environment variable. Raises `Invalid` if there is none that a header can carry."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise Invalid(f"The environment variable {variable} is empty: set it to the key.", code="invalid_option")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise Invalid(f"The key in {variable} has characters that no header can carry.", code="invalid_option")
    return key


def _write(text: str, output: Path | None) -> None:
    """Writes the whole text, to a file or to stdout."""
    from app.durable import write_atomically

    if output is None:
        sys.stdout.write(text)
        return
    try:
        write_atomically(output, text.encode())
    except OSError as error:
        raise Invalid(f"--output {output} cannot be written: {error.strerror}.", code="invalid_option") from error
