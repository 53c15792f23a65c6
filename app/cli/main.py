"""`thumbwheel …`: the command line. An expected failure is one line on stderr and exit code 2."""

import sys

import typer

from app.cli.doctor import doctor
from app.cli.migrate import migrate
from app.cli.up import up
from app.errors import ThumbwheelError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(up)
app.command()(doctor)
app.command()(migrate)


def main() -> None:
    try:
        app()
    except ThumbwheelError as error:
        sys.stderr.write(f"{error.message}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
