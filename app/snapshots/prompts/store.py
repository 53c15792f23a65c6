"""SQL of prompt groups and conversations."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa
from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.database import is_any_of
from app.snapshots.prompts.conversations import Join, Known, Stray
from app.snapshots.prompts.groups import LEADERS
from app.snapshots.prompts.placing import NewRows
from app.snapshots.prompts.sides import EarlierSnapshots, Joins, Strays
from app.snapshots.tables import (
    ConversationJoin,
    ConversationLink,
    ConversationStray,
    LedPrompt,
    PromptLeader,
    PromptsPlaced,
    Snapshot,
)


def placed(session: Session, project: str) -> int:
    """Returns the position up to which prompts are placed."""
    return session.scalar(select(PromptsPlaced.position).where(PromptsPlaced.project_id == project)) or 0


def lock_placed(session: Session, project: str) -> int:
    """Locks and returns the position up to which prompts are placed. The lock lasts until the transaction ends."""
    session.execute(insert(PromptsPlaced).values(project_id=project, position=0).on_conflict_do_nothing())
    query = select(PromptsPlaced.position).where(PromptsPlaced.project_id == project)
    return session.execute(query.with_for_update()).scalar_one()


def place_up_to(session: Session, project: str, position: int) -> None:
    session.execute(update(PromptsPlaced).where(PromptsPlaced.project_id == project).values(position=position))


_LEADERS = text("""
    SELECT string_agg(leader, '' ORDER BY number), string_agg(bands, '' ORDER BY number),
           string_agg(said, '' ORDER BY number), string_agg(system, '' ORDER BY number)
    FROM prompt_leaders WHERE project_id = :project
""")
_LED = text("""
    SELECT string_agg(key, '' ORDER BY key), string_agg(leader, '' ORDER BY key)
    FROM led_prompts WHERE project_id = :project
""")


def leaders(session: Session, project: str) -> pa.Table:
    """Returns the leaders as a table of `groups.LEADERS`, in the order in which they came."""
    row = session.execute(_LEADERS, {"project": project}).one()
    return pa.table([_fixed(data, field.type) for data, field in zip(row, LEADERS, strict=True)], schema=LEADERS)


def keep(session: Session, project: str, rows: NewRows) -> None:
    """Stores the rows about placed prompts."""
    for start, leaders in rows.leaders:
        _add_leaders(session, project, leaders, start)
    _add_led(session, project, rows.led)
    _keep_links(session, project, rows.links)
    _add_joins(session, project, rows.joins)
    _keep_strays(session, project, rows.strays)


def _add_leaders(session: Session, project: str, rows: pa.Table, start: int) -> None:
    values = [{"project_id": project, "number": start + number, **row} for number, row in enumerate(rows.to_pylist())]
    if values:
        session.execute(insert(PromptLeader), values)


def _add_led(session: Session, project: str, led: Mapping[bytes, bytes]) -> None:
    values = [{"project_id": project, "key": key, "leader": leader} for key, leader in sorted(led.items())]
    if values:
        session.execute(insert(LedPrompt).on_conflict_do_nothing(), values)


def led(session: Session, project: str) -> tuple[bytes, bytes]:
    """Returns the keys, 16 bytes each, of the prompts that do not lead themselves, and those of their leaders."""
    keys, leaders = session.execute(_LED, {"project": project}).one()
    return bytes(keys or b""), bytes(leaders or b"")


def known_links(session: Session, project: str, links: Collection[bytes]) -> dict[bytes, Known]:
    rows = session.execute(
        select(ConversationLink.link, ConversationLink.leader, ConversationLink.position, ConversationLink.joins).where(
            ConversationLink.project_id == project, is_any_of(ConversationLink.link, links)
        )
    )
    return {bytes(link): Known(bytes(leader), position, joins) for link, leader, position, joins in rows}


_KEEP_LINKS = text("""
    INSERT INTO conversation_links (project_id, link, leader, position, joins)
    SELECT :project, * FROM unnest(CAST(:link AS bytea[]), CAST(:leader AS bytea[]), CAST(:position AS bigint[]),
                                   CAST(:joins AS integer[]))
    ON CONFLICT (project_id, link) DO UPDATE SET joins = EXCLUDED.joins
""")


def _keep_links(session: Session, project: str, links: Mapping[bytes, Known]) -> None:
    """Inserts new links, and updates the number of groups that the others have joined."""
    if not links:
        return
    rows = sorted(links.items())
    columns = {
        "link": [link for link, _ in rows],
        "leader": [known.leader for _, known in rows],
        "position": [known.position for _, known in rows],
        "joins": [known.joins for _, known in rows],
    }
    session.execute(_KEEP_LINKS, {"project": project, **columns})


def joins_of(session: Session, project: str, leaders: Collection[bytes]) -> set[tuple[bytes, bytes]]:
    """Returns (leader, other) of the joins of these leaders with earlier ones."""
    rows = session.execute(
        select(ConversationJoin.leader, ConversationJoin.other).where(
            ConversationJoin.project_id == project, is_any_of(ConversationJoin.leader, leaders)
        )
    )
    return {(bytes(leader), bytes(other)) for leader, other in rows}


def _add_joins(session: Session, project: str, joins: Sequence[Join]) -> None:
    if joins:
        session.execute(insert(ConversationJoin), [{"project_id": project, **join._asdict()} for join in joins])


def _keep_strays(session: Session, project: str, strays: Mapping[bytes, Stray]) -> None:
    """Inserts the strays whose rows are not stored yet."""
    values = [{"project_id": project, **stray._asdict()} for _, stray in sorted(strays.items())]
    if values:
        session.execute(insert(ConversationStray).on_conflict_do_nothing(), values)


_STRAYS = text("""
    SELECT string_agg(row, '' ORDER BY row), string_agg(prompt, '' ORDER BY row),
           string_agg(links.leader, '' ORDER BY row)
    FROM conversation_strays strays JOIN conversation_links links USING (project_id, link)
    WHERE project_id = :project AND strays.position <= :watermark AND links.position <= :watermark
""")


def strays(session: Session, project: str, watermark: int) -> Strays:
    """Returns the rows up to a watermark that stay apart from their conversations."""
    row = session.execute(_STRAYS, {"project": project, "watermark": watermark}).one()
    return Strays(*(np.frombuffer(bytes(column or b""), np.uint64).reshape(-1, 2) for column in row))


def every_stray(session: Session, project: str) -> list[Stray]:
    """Returns all stored strays, including those whose link no other prompt has had yet."""
    rows = session.execute(
        select(
            ConversationStray.row, ConversationStray.prompt, ConversationStray.link, ConversationStray.position
        ).where(ConversationStray.project_id == project)
    )
    return [Stray(bytes(row), bytes(prompt), bytes(link), position) for row, prompt, link, position in rows]


_JOINS = text("""
    SELECT string_agg(leader, '' ORDER BY position, leader, other),
           string_agg(other, '' ORDER BY position, leader, other),
           string_agg(int8send(position), '' ORDER BY position, leader, other),
           string_agg(int8send(earlier), '' ORDER BY position, leader, other)
    FROM conversation_joins WHERE project_id = :project AND position <= :watermark
""")


def joins(session: Session, project: str, watermark: int) -> Joins:
    """Returns the joins up to a watermark, in the order of the log."""
    row = session.execute(_JOINS, {"project": project, "watermark": watermark}).one()
    leader, other, position, earlier = (bytes(column or b"") for column in row)
    return Joins(
        np.frombuffer(leader, np.uint64).reshape(-1, 2),
        np.frombuffer(other, np.uint64).reshape(-1, 2),
        np.frombuffer(position, ">i8").astype(np.int64),
        np.frombuffer(earlier, ">i8").astype(np.int64),
    )


def earlier_snapshots(session: Session, project: str, watermark: int) -> EarlierSnapshots:
    """Returns the watermarks of the project's earlier snapshots, by the kind of their split."""
    rows = session.execute(
        select(Snapshot.watermark, Snapshot.manifest.has_key("conversations")).where(
            Snapshot.project_id == project, Snapshot.watermark < watermark
        )
    ).all()
    return EarlierSnapshots(
        by_conversation=sorted({position for position, by_conversation in rows if by_conversation}),
        by_prompt=max((position for position, by_conversation in rows if not by_conversation), default=0),
    )


def _fixed(data: bytes | None, kind: pa.DataType) -> pa.Array:
    held = bytes(data or b"")
    return pa.Array.from_buffers(kind, len(held) // kind.byte_width, [None, pa.py_buffer(held)])
