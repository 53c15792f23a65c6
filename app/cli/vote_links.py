"""`thumbwheel vote-links …`: links by which one person votes once on one completion."""

from typing import Annotated
from uuid import UUID

import typer

from app.cli.connection import AsJson, Project, connected
from app.cli.listing import show_one, when

vote_links = typer.Typer(
    help="Links by which one person votes once on one completion.", no_args_is_help=True, rich_markup_mode=None
)


@vote_links.command()
def create(
    completion: Annotated[str, typer.Argument(help="Your id of the completion.")],
    actor: Annotated[str, typer.Argument(help="Your id of the person who gets the link.")],
    hours: Annotated[float, typer.Option(min=0, help="Hours until it expires.")] = 168,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Create a link. Anybody who has it may vote: send it to the actor alone."""
    with connected(project) as client:
        link = client.vote_links.create(completion, actor, valid_hours=hours)
    show_one(link, {"link": link.url, "id": str(link.id), "expires": when(link.expires_at)}, as_json=as_json)


@vote_links.command()
def revoke(
    link: Annotated[UUID, typer.Argument(help="The id of the link.")], project: Project = None, as_json: AsJson = False
) -> None:
    """Revoke a link, from now on. A vote that was given stays."""
    with connected(project) as client:
        revoked = client.vote_links.revoke(link)
    show_one(revoked, {"id": str(revoked.id), "revoked": when(revoked.revoked_at)}, as_json=as_json)


@vote_links.command()
def rotate(
    overlap_hours: Annotated[
        float, typer.Option(min=0, help="Hours for which links by earlier secrets stay valid; 0 ends all of them.")
    ] = 168,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Replace the secret that signs the project's links."""
    with connected(project) as client:
        secret = client.vote_links.rotate(overlap_hours)
    show_one(secret, {"secret": f"number {secret.number}", "since": when(secret.created_at)}, as_json=as_json)
