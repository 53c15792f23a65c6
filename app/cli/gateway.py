"""`thumbwheel gateway`: answers OpenAI's completions by the serving targets, and registers what they write."""

import os
import sys
from typing import Annotated

import typer

from app import settings


def gateway(
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [default: THUMBWHEEL_HOST]")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.  [default: THUMBWHEEL_GATEWAY_PORT]")
    ] = None,
) -> None:
    """Answer OpenAI's completions by the serving targets, and register what they write, until Ctrl-C.

    Products set it as their base URL, with a key of the scope gateway:use, and the project as the model.
    """
    from app.cli.stack import gateway_command, require_free
    from app.services import free_port

    chosen = settings.current()
    chosen.need_database()
    listen = chosen.host if host is None else host
    number = chosen.gateway_port if port is None else port
    number = number or free_port()
    require_free(listen, number)
    typer.echo(f"gateway: http://{listen}:{number}/v1", err=True)
    command = gateway_command(listen, number)
    sys.stderr.flush()
    os.execv(command[0], command)  # noqa: S606 - our own server, in place of this process, so that signals reach it
