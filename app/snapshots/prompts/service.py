"""Places a project's prompts in groups and conversations, once for each prompt and in the order of the log.

place         stores the groups of new prompts; the loop and the making of snapshots call it
placed_up_to  reads the groups, and works out those of prompts that are not stored yet, without storing them
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.errors import Unavailable
from app.feedback.reading.service import LogTexts
from app.projects import service as projects
from app.snapshots.prompts import conversations, store
from app.snapshots.prompts.conversations import Linked
from app.snapshots.prompts.placing import NewRows, Placing
from app.snapshots.prompts.sides import Sides

#: Prompts that are placed at a time.
AT_ONCE = 20_000
#: Readings of groups before giving up. One is repeated if another transaction stored groups meanwhile, as the loop does
#: once in a round.
ATTEMPTS = 5


@dataclass(frozen=True)
class Placed:
    """The prompts of a log up to a watermark. `led`, `leader`: (L, 2) keys of prompts that do not lead themselves, and
    of their leaders · `sides`: those of the conversations."""

    led: NDArray[np.uint64]
    leader: NDArray[np.uint64]
    sides: Sides

    def leaders_of(self, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Returns the (P, 2) keys of the leaders of these (P, 2) prompts; a prompt without another leader leads
        itself."""
        leaders = keys.copy()
        if len(self.led):
            index_of = {key.tobytes(): index for index, key in enumerate(self.led)}
            for number, key in enumerate(keys):
                index = index_of.get(key.tobytes())
                if index is not None:
                    leaders[number] = self.leader[index]
        return leaders


def place(session: Session, project: str, watermark: int) -> int:
    """Places the prompts up to `watermark` that are not placed yet, and stores their groups. Returns the number of
    prompts that were read.

    A prompt's group follows from the log up to the prompt alone, not from the number of calls or their watermarks.
    Other calls for the project wait.
    """
    if store.placed(session, project) >= watermark:
        return 0
    placed = store.lock_placed(session, project)
    if placed >= watermark:
        return 0
    prompts = 0
    for rows in _new_rows(session, project, placed, watermark, unstored=NewRows()):
        store.keep(session, project, rows)
        prompts += rows.prompts
    store.place_up_to(session, project, watermark)
    return prompts


def placed_up_to(session: Session, project: str, watermark: int) -> Placed:
    """Returns the prompts up to `watermark` with their groups and sides, stored or not, as `place` would store them.

    Raises `Unavailable` if other transactions keep storing groups while they are read.
    """
    for _ in range(ATTEMPTS):
        placed = store.placed(session, project)
        unstored = NewRows()
        if placed < watermark:
            for rows in _new_rows(session, project, placed, watermark, unstored):
                unstored.add(rows)
        prompts = _read(session, project, watermark, placed, unstored)
        if store.placed(session, project) == placed:  # otherwise another transaction stored some of them meanwhile
            return prompts
    raise Unavailable(
        f"Groups of prompts of {project} are being stored. Try again in a moment.", code="prompts_being_placed"
    )


def _new_rows(session: Session, project: str, placed: int, watermark: int, unstored: NewRows) -> Iterator[NewRows]:
    """Yields the rows about the prompts after position `placed`, `AT_ONCE` prompts at a time.

    unstored  the rows of earlier steps that the caller has not stored
    """
    texts = LogTexts(session, project, watermark)
    prompts = texts.prompts_after(placed, AT_ONCE)
    if not len(prompts):
        return
    placing = Placing(store.leaders(session, project))
    while len(prompts):
        rows, linked = placing.place(prompts)
        _join(session, project, linked, rows, unstored)
        yield rows
        if len(prompts) < AT_ONCE:  # these were the last ones
            return
        prompts = texts.prompts_after(prompts["position"][-1].as_py(), AT_ONCE)


def _join(session: Session, project: str, prompts: Sequence[Linked], rows: NewRows, unstored: NewRows) -> None:
    """Joins the groups of these prompts, given in the order of the log, with the groups that have the same links, and
    adds the result to `rows`."""
    if not prompts:
        return
    counters = {
        conversations.counter_of(prompt.leader) for prompt in prompts for link in prompt.links if link.kind == "id"
    }
    links = counters | {link.key for prompt in prompts for link in prompt.links}
    known = store.known_links(session, project, links)
    known |= {link: unstored.links[link] for link in links & unstored.links.keys()}
    before = {link: (first.leader, first.joins) for link, first in known.items()}
    leaders = {prompt.leader for prompt in prompts} | {first.leader for first in known.values()}
    joined = store.joins_of(session, project, leaders)
    joined |= {(join.leader, join.other) for join in unstored.joins if join.leader in leaders}
    joins, strays = conversations.join(prompts, known, joined)
    rows.links = {link: first for link, first in known.items() if before.get(link) != (first.leader, first.joins)}
    rows.joins = joins
    rows.add_strays(strays)


def _read(session: Session, project: str, watermark: int, placed: int, unstored: NewRows) -> Placed:
    """Returns the stored rows about the prompts up to `watermark`, and those after `placed` that are not stored."""
    led, leader = store.led(session, project)
    joins = store.joins(session, project, watermark).followed_by(unstored.joins)
    strays = store.strays(session, project, watermark).with_more(_more_strays(session, project, placed, unstored))
    snapshots = store.earlier_snapshots(session, project, watermark)
    return Placed(
        _keys(led, *unstored.led.keys()),
        _keys(leader, *unstored.led.values()),
        Sides.of(projects.split_key(session, project), joins, snapshots, strays),
    )


def _more_strays(session: Session, project: str, placed: int, unstored: NewRows) -> list[tuple[bytes, bytes, bytes]]:
    """Returns row, prompt and other leader of the strays that are not stored, and of the stored ones whose link is
    not stored."""
    if not unstored.prompts:
        return []
    stored = {stray.row: stray for stray in store.every_stray(session, project)}
    new_links = {link for link, first in unstored.links.items() if first.position > placed}
    strays = [stray for stray in stored.values() if stray.link in new_links]
    strays += [stray for row, stray in unstored.strays.items() if row not in stored]
    known = store.known_links(session, project, {stray.link for stray in strays}) | unstored.links
    return [(stray.row, stray.prompt, known[stray.link].leader) for stray in strays if stray.link in known]


def _keys(*parts: bytes) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(parts), dtype=np.uint64).reshape(-1, 2)
