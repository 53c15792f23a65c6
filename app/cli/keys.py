"""`thumbwheel keys …`: creates, lists, rotates and revokes API keys."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, get_args

import typer
from thumbwheel import wire
from thumbwheel.wire.keys import BROWSER_SCOPES

from app.cli.connection import AsJson, connected, find_id, short_id
from app.cli.listing import as_table, print_json, show_all, show_one, when
from app.errors import Conflict, Invalid

keys = typer.Typer(help="API keys and their scopes.", no_args_is_help=True, rich_markup_mode=None)

SCOPES = get_args(wire.Scope)

PerMinute = Annotated[int | None, typer.Option(min=0, help="Events a minute, in all; 0: any number.")]
PerActor = Annotated[int | None, typer.Option(min=0, help="Events a minute of one actor; 0: any number.")]
GatewayPerMinute = Annotated[
    int | None, typer.Option(min=0, help="Completions a minute by the gateway, in all; 0: any number.")
]
GatewayPerActor = Annotated[
    int | None, typer.Option(min=0, help="Completions a minute by the gateway for one actor; 0: any number.")
]


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name, which should say what it is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"A scope; may be repeated: {', '.join(SCOPES)}.  [with --origin: feedback:write]"),
    ] = None,
    project: Annotated[str | None, typer.Option(help="Limit it to this project.  [default: all projects]")] = None,
    days: Annotated[float | None, typer.Option(min=0, help="Days until it expires.  [default: never]")] = None,
    gateway_per_minute: GatewayPerMinute = None,
    gateway_per_actor: GatewayPerActor = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(help="Make it a browser key for pages of this origin; may be repeated. Needs --project."),
    ] = None,
    per_minute: Annotated[int | None, typer.Option(min=1, help="Events a minute, in all.  [default: any]")] = None,
    per_actor: Annotated[
        int | None, typer.Option(min=1, help="Events a minute of one actor.  [default: any; of a browser key 30]")
    ] = None,
    per_address: Annotated[
        int | None, typer.Option(min=1, help="Events a minute of one address.  [default: any; of a browser key 120]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key. Its secret is shown only this once."""
    limits = {
        "per_minute": per_minute,
        "actor_per_minute": per_actor,
        "address_per_minute": per_address,
        "gateway_per_minute": gateway_per_minute or None,
        "gateway_actor_per_minute": gateway_per_actor or None,
    }
    new = {
        "name": name,
        "scopes": scope or (BROWSER_SCOPES if origin else []),
        "project": project,
        "expires_at": datetime.now(UTC) + timedelta(days=days) if days is not None else None,
        "origins": origin or [],
        "limits": {name: quota for name, quota in limits.items() if quota is not None},
    }
    with connected() as client:
        created = client.keys.create(wire.NewKey.model_validate(new))
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
        "origins": lambda key: ", ".join(key.origins) or "–",
        "events a minute": lambda key: limits_in_words(key.limits),
        "last used": lambda key: when(key.last_used_at),
        "expires": lambda key: when(key.expires_at),
        "revoked": lambda key: when(key.revoked_at),
    }
    with connected() as client:
        show_all(client.keys.list(), columns, as_json=as_json)


@keys.command()
def limits(
    key: Annotated[str, typer.Argument(help="Its id, or its last characters.")],
    per_minute: PerMinute = None,
    per_actor: PerActor = None,
    per_address: Annotated[
        int | None, typer.Option(min=0, help="Events a minute of one address; 0: any number.")
    ] = None,
    gateway_per_minute: GatewayPerMinute = None,
    gateway_per_actor: GatewayPerActor = None,
    as_json: AsJson = False,
) -> None:
    """Change the limits of a key, at once. Those that are not named stay."""
    change = given_limits(
        per_minute=per_minute,
        actor_per_minute=per_actor,
        address_per_minute=per_address,
        gateway_per_minute=gateway_per_minute,
        gateway_actor_per_minute=gateway_per_actor,
    )
    with connected() as client:
        changed = client.keys.change(find_id(key, client.keys.list(), "key"), wire.KeyLimits.model_validate(change))
    show_one(changed, _lines(changed), as_json=as_json)


@keys.command()
def rotate(
    key: Annotated[str, typer.Argument(help="Its id, or its last characters.")],
    overlap_hours: Annotated[
        float, typer.Option(min=0, max=168, help="Hours for which the old secret stays valid; 0 if it has leaked.")
    ] = 24,
    as_json: AsJson = False,
) -> None:
    """Replace the secret of a key. The new one is shown only this once."""
    with connected() as client:
        rotated = client.keys.rotate(find_id(key, client.keys.list(), "key"), overlap_hours)
    lines = {**_lines(rotated), "old secret until": when(rotated.previous_secret_until)}
    show_one(rotated, {"key, shown this once": rotated.secret, **lines}, as_json=as_json)


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


def given_limits(**quotas: int | None) -> dict[str, int | None]:
    """Returns the limits that options name: 0 becomes None, any number. Raises `Invalid` if they name none."""
    given = {name: quota or None for name, quota in quotas.items() if quota is not None}
    if not given:
        raise Invalid("Name a limit to change, such as --per-minute 600.", code="invalid_option")
    return given


def limits_in_words(limits: wire.FeedbackLimits) -> str:
    """Returns the limits of a key or a project, for one line."""
    address = limits.address_per_minute if isinstance(limits, wire.KeyLimits) else None
    parts = {
        "in all": limits.per_minute,
        "an actor": limits.actor_per_minute,
        "an address": address,
        "by the gateway": limits.gateway_per_minute,
        "by the gateway for an actor": limits.gateway_actor_per_minute,
    }
    return ", ".join(f"{quota:,} {whose}" for whose, quota in parts.items() if quota is not None) or "any number"


def _lines(key: wire.Key) -> dict[str, str]:
    return {
        "id": str(key.id),
        "name": key.name,
        "scopes": ", ".join(key.scopes),
        "project": key.project or "all",
        "origins": ", ".join(key.origins) or "–",
        "events a minute": limits_in_words(key.limits),
        "expires": when(key.expires_at),
    }
