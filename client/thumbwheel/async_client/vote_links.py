# Written by tools/async_client.py from ../client/vote_links.py: change that file, then run `make async-client`.
"""`AsyncVoteLinks`: URLs by which one actor votes once on one completion, without a key."""

from uuid import UUID

from thumbwheel import wire
from thumbwheel.async_client.http import AsyncHttp

PATH = "/v1/vote-links"


class AsyncVoteLinks:
    def __init__(self, http: AsyncHttp) -> None:
        self._http = http

    async def create(self, completion_id: str, actor: str, *, valid_hours: float = 168) -> wire.VoteLink:
        """Creates a link, for a mail to the actor for example. Nothing is stored before the vote."""
        new = wire.NewVoteLink(completion_id=completion_id, actor=actor, valid_hours=valid_hours)
        return await self._http.call(wire.VoteLink, "POST", PATH, new, safe=True)

    async def revoke(self, link_id: UUID) -> wire.RevokedVoteLink:
        """Revokes a link from now on; a vote that was given stays."""
        return await self._http.call(wire.RevokedVoteLink, "DELETE", f"{PATH}/{link_id}", safe=True)

    async def rotate(self, overlap_hours: float = 168) -> wire.VoteLinkSecret:
        """Replaces the secret that signs links. For `overlap_hours` links by the ones before stay valid."""
        rotation = wire.VoteLinkRotation(overlap_hours=overlap_hours)
        return await self._http.call(wire.VoteLinkSecret, "POST", f"{PATH}/rotate", rotation)
