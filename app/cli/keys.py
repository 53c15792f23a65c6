"""`thumbwheel keys …`: creates, lists and revokes API keys."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, get_args

import typer
from thumbwheel import wire

from app.cli.connection import AsJson, connected, find_id, short_id
from app.cli.listing import as_table, print_json, show_all, show_one, when
from app.errors import Conflict

keys = typer.Typer(help="API keys and their scopes.", no_args_is_help=True, rich_markup_mode=None)

SCOPES = get_args(wire.Scope)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name, which should say what it is for.")],
    scope: Annotated[list[str], typer.Option(help=f"A scope; may be repeated: {', '.join(SCOPES)}.")],
    project: Annotated[str | None, typer.Option(help="Limit it to this project.  [default: all projects]")] = None,
    days: Annotated[float | None, typer.Option(min=0, help="Days until it expires.  [default: never]")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key. Its secret is shown only this once."""
    expires_at = datetime.now(UTC) + timedelta(days=days) if days is not None else None
    with connected() as client:
        created = client.keys.create(
            wire.NewKey.model_validate({"name": name, "scopes": scope, "project": project, "expires_at": expires_at})
        )
    show_one(created, {"key, shown this once": created.secret, **_lines(created)}, as_json=as_json)


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List keys, including revoked and expired ones."""
    columns = {
        "id": lambda key: short_id(key.id),
        "name": lambda key: key.name,
        "begins with": lambda key: key.prefix,
        "scopes": lambda key: ", ".join(key.scopes),
        "project": lambda key: key.project or "all",
        "created": lambda key: when(key.created_at),
        "expires": lambda key: when(key.expires_at),
        "revoked": lambda key: when(key.revoked_at),
    }
    with connected() as client:
        show_all(client.keys.list(), columns, as_json=as_json)


@keys.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its id, or its last characters.")],
    as_json: AsJson = False,
) -> None:
    """Revoke a key, from now on."""
    with connected() as client:
        revoked = client.keys.revoke(find_id(key, client.keys.list(), "key"))
    show_one(revoked, {**_lines(revoked), "revoked": when(revoked.revoked_at)}, as_json=as_json)


@keys.command()
def first(
    replace: Annotated[bool, typer.Option("--replace", help="Revoke a lost first key and create another one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create the first admin key directly in the database. Needs no key, only access to the database.

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
            "There is an admin key already: create others with it, by `thumbwheel keys create`. "
            "If it is lost, run `thumbwheel keys first --replace`.",
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
