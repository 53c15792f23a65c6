"""The routes that requests of a project may take: the releases of the ledger, and the targets that serve them. Pure."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from thumbwheel.assignment import in_canary
from thumbwheel.wire.projects import FeedbackLimits
from thumbwheel.wire.serving import TargetKind


@dataclass(frozen=True)
class Route:
    """A model at a target. `release`: the number of the release in force that it serves, if it does serve one."""

    target: str
    url: str
    model: str
    kind: TargetKind
    key: str | None
    checkpoint_id: UUID
    release: int | None

    @property
    def endpoint(self) -> tuple[str, str, str | None]:
        """Returns what rests if it fails: others may have another model or key at the same server."""
        return self.url, self.model, self.key

    def __repr__(self) -> str:
        return f"Route({self.target}, {self.model})"  # without the key


@dataclass(frozen=True)
class Canary:
    checkpoint_id: UUID
    share: float
    routes: Sequence[Route]


@dataclass(frozen=True)
class ProjectRoutes:
    """The routes of one project.

    live    those to the live checkpoint
    before  those to another checkpoint that a target still serves, as while it loads the live one
    keyless targets whose key is in no variable of this process
    limits  of the project
    """

    project: str
    live: Sequence[Route]
    canary: Canary | None
    before: Sequence[Route]
    keyless: Sequence[str] = ()
    limits: FeedbackLimits = field(default_factory=FeedbackLimits)

    def for_actor(self, actor: str | None) -> list[Sequence[Route]]:
        """Returns groups of routes, the best one first: the actor's release, the live one, what was live before."""
        groups = [self.live, self.before]
        canary = self.canary
        if canary is not None and actor and in_canary(self.project, canary.checkpoint_id, actor, canary.share):
            groups.insert(0, canary.routes)
        return groups


def in_order(groups: Sequence[Sequence[Route]], turn: int, rests: Callable[[Route], bool]) -> Iterator[Route]:
    """Yields the routes in the order in which they are tried: round robin within a group, resting targets last."""
    resting = []
    for group in groups:
        for number in range(len(group)):
            route = group[(turn + number) % len(group)]
            if rests(route):
                resting.append(route)
            else:
                yield route
    yield from resting
