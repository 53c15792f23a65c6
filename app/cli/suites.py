"""`thumbwheel suites check`, `run` and `import`, which need no server of Thumbwheel."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli.connection import AsJson
from app.cli.document_files import read_document
from app.cli.listing import as_table, console, print_json
from app.cli.progress_bars import progress_bar
from app.cli.suite_reports import exit_code, report_document, show_reports
from app.cli.suite_targets import JudgeOptions, TargetOptions, embeddings_of
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
        str | None, typer.Option(metavar="URL", help="OpenAI-compatible endpoint, such as http://127.0.0.1:8000/v1.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="Model at --endpoint.")] = None,
    key_env: Annotated[str | None, typer.Option(metavar="VARIABLE", help=f"{KEY_HELP} the endpoint.")] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Instead of an endpoint: folder of a model, run on this machine.")
    ] = None,
    adapter: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of an adapter for --folder.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=64, help="Requests at once.")] = 4,
    timeout: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds for each attempt of a request.")] = 60,
    tries: Annotated[int, typer.Option(min=1, max=20, help="Attempts of each request.")] = 3,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 is greedy.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, max=100_000, help="Longest output.")] = 512,
    seed: Annotated[int | None, typer.Option(help="Seed, if the endpoint takes one.")] = None,
    judge: Annotated[
        str | None, typer.Option(metavar="URL", help="Endpoint of a judge, for llm-rubric and factuality.")
    ] = None,
    judge_model: Annotated[str | None, typer.Option(metavar="NAME", help="Model for --judge.")] = None,
    judge_key_env: Annotated[str | None, typer.Option(metavar="VARIABLE", help=f"{KEY_HELP} --judge.")] = None,
    judge_budget: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most requests to the judge.")] = None,
    judge_tokens: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most tokens of the judge.")] = None,
    judge_max_tokens: Annotated[int, typer.Option(min=16, max=100_000, help="Longest answer of the judge.")] = 1024,
    judge_cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder in which the judge's answers are kept and looked up.")
    ] = None,
    embeddings: Annotated[
        str | None, typer.Option(metavar="URL", help="Endpoint of embeddings, for assertions of type similar.")
    ] = None,
    embedding_model: Annotated[str | None, typer.Option(metavar="NAME", help="Model for --embeddings.")] = None,
    embedding_key_env: Annotated[str | None, typer.Option(metavar="VARIABLE", help=f"{KEY_HELP} --embeddings.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run suites against a model, behind an endpoint or in a folder.

    Exit codes: 0 if every test passed; 1 if one failed; 2 if a suite or an option is invalid; 3 if no test failed, but
    one is undecided, since an answer, an embedding or a judgement is missing.
    """
    from app.suites.endpoint import Sampling
    from app.suites.evidence import EvidenceSource
    from app.suites.running import Runner
    from app.suites.samples import samples_of

    chosen_target = TargetOptions(endpoint, model, key_env, folder, adapter)
    chosen_target.check()
    judging = JudgeOptions(judge, judge_model, judge_key_env, judge_budget, judge_tokens, judge_max_tokens, judge_cache)
    documents = [suite_of(name) for name in chosen]
    sampling = Sampling(temperature, max_tokens, seed)
    with ExitStack() as closing:
        embedder = embeddings_of(embeddings, embedding_model, embedding_key_env, timeout, tries, closing)
        source = EvidenceSource(embedder, judging.opened(timeout, tries, closing))
        target = chosen_target.opened(sampling, timeout, tries, closing)
        try:
            with progress_bar("running", sum(len(samples_of(suite)) for suite in documents)) as advance:
                runner = Runner(target, source)
                reports = runner.run(documents, concurrency=concurrency, advance=lambda: advance(1))
        except KeyboardInterrupt:
            sys.stderr.write("Interrupted: no suite was run to its end.\n")
            raise typer.Exit(INTERRUPTED) from None
    usage = None if source.judge is None else source.judge.usage()
    if as_table(as_json):
        show_reports(reports, usage)
    else:
        print_json(report_document(reports, chosen_target.document(), vars(sampling), usage))
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
