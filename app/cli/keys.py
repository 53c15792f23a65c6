"""`thumbwheel keys …`."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, get_args

import typer
from thumbwheel import wire

from app.cli.connection import AsJson, connected, ending, of_ending
from app.cli.listing import as_table, print_json, show_all, show_one, when
from app.errors import Conflict

keys = typer.Typer(help="Who may call the API.", no_args_is_help=True, rich_markup_mode=None)

SCOPES = get_args(wire.Scope)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str], typer.Option(help=f"What it may do: {', '.join(SCOPES)}; repeat it.")],
    project: Annotated[str | None, typer.Option(help="The only project it opens.  [default: all of them]")] = None,
    days: Annotated[float | None, typer.Option(min=0, help="Let it expire after so many days.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown this one time."""
    expires_at = datetime.now(UTC) + timedelta(days=days) if days is not None else None
    with connected() as client:
        made = client.keys.create(
            wire.NewKey.model_validate({"name": name, "scopes": scope, "project": project, "expires_at": expires_at})
        )
    show_one(made, {"key, shown this once": made.secret, **_lines(made)}, as_json=as_json)


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List keys, revoked and expired ones too."""
    columns = {
        "id": lambda key: ending(key.id),
        "name": lambda key: key.name,
        "begins with": lambda key: key.prefix,
        "scopes": lambda key: ", ".join(key.scopes),
        "project": lambda key: key.project or "all",
        "made": lambda key: when(key.created_at),
        "expires": lambda key: when(key.expires_at),
        "revoked": lambda key: when(key.revoked_at),
    }
    with connected() as client:
        show_all(client.keys.list(), columns, as_json=as_json)


@keys.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, or how that ends.")],
    as_json: AsJson = False,
) -> None:
    """Close a key from now on."""
    with connected() as client:
        revoked = client.keys.revoke(of_ending(key, client.keys.list(), "key"))
    show_one(revoked, {**_lines(revoked), "revoked": when(revoked.revoked_at)}, as_json=as_json)


@keys.command()
def first(
    replace: Annotated[
        bool, typer.Option("--replace", help="The first key is lost: revoke it, and make another one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make the first admin key, in the database itself. Needs no key, only the password of the database.

    The database is that of THUMBWHEEL_DATABASE_URL, or the embedded one of a running `thumbwheel up`. In containers:
    docker compose exec api thumbwheel keys first
    """
    from app.access.service import first_admin_key, replaced_first_admin_key
    from app.cli.embedded import use_running_servers
    from app.database import transaction

    use_running_servers()
    with transaction() as session:
        secret = replaced_first_admin_key(session) if replace else first_admin_key(session)
    if secret is None:
        raise Conflict(
            "There is an admin key already: make others with it, by `thumbwheel keys create`. "
            "If it is lost: `thumbwheel keys first --replace`.",
            code="admin_key_exists",
        )
    if as_table(as_json):
        typer.echo(f"export THUMBWHEEL_API_KEY={secret}")
    else:
        print_json({"secret": secret})


def _lines(key: wire.Key) -> dict[str, str]:
    return {
        "id": str(key.id),
        "name": key.name,
        "scopes": ", ".join(key.scopes),
        "project": key.project or "all",
        "expires": when(key.expires_at),
    }
