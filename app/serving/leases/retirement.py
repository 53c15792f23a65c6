"""Decides which loaded models nobody needs any more. Pure."""

from collections.abc import Collection, Iterable
from datetime import datetime

from app.serving.leases.target_lease import LoadedArtifact
from app.serving.served_artifact import ServedArtifact


def retire(
    loaded: Iterable[LoadedArtifact],
    seen: Collection[ServedArtifact],
    wanted: Collection[ServedArtifact],
    until: datetime,
) -> list[LoadedArtifact]:
    """Returns what is loaded, with the times of unloading.

    seen    what requests get in any role: in use
    wanted  what the ledger says: as it is, since it is not seen yet, or has just failed
    until   when the rest is unloaded, unless it was retired before
    """
    return [
        each.in_use()
        if any(each.is_of(artifact) for artifact in seen)
        else each
        if any(each.is_of(artifact) for artifact in wanted)
        else each.retired(until)
        for each in loaded
    ]
