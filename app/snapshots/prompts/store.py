"""SQL of the groups of prompts."""

from collections.abc import Mapping

import pyarrow as pa
from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.snapshots.groups import LEADERS
from app.snapshots.tables import LedPrompt, PromptLeader, PromptsPlaced


def placed(session: Session, project: str) -> int:
    """Up to where prompts are placed."""
    return session.scalar(select(PromptsPlaced.position).where(PromptsPlaced.project_id == project)) or 0


def lock_placed(session: Session, project: str) -> int:
    """Up to where prompts are placed; held until the transaction ends."""
    session.execute(insert(PromptsPlaced).values(project_id=project, position=0).on_conflict_do_nothing())
    asked = select(PromptsPlaced.position).where(PromptsPlaced.project_id == project)
    return session.execute(asked.with_for_update()).scalar_one()


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
    """As `groups.LEADERS`, in the order in which they came."""
    row = session.execute(_LEADERS, {"project": project}).one()
    return pa.table([_fixed(said, field.type) for said, field in zip(row, LEADERS, strict=True)], schema=LEADERS)


def add_leaders(session: Session, project: str, rows: pa.Table, start: int) -> None:
    values = [{"project_id": project, "number": start + number, **row} for number, row in enumerate(rows.to_pylist())]
    if values:
        session.execute(insert(PromptLeader), values)


def add_led(session: Session, project: str, led: Mapping[bytes, bytes]) -> None:
    values = [{"project_id": project, "key": key, "leader": leader} for key, leader in sorted(led.items())]
    if values:
        session.execute(insert(LedPrompt).on_conflict_do_nothing(), values)


def led(session: Session, project: str) -> tuple[bytes, bytes]:
    """Keys, 16 bytes each, of the prompts that do not lead themselves; and of those that lead them."""
    keys, leaders = session.execute(_LED, {"project": project}).one()
    return bytes(keys or b""), bytes(leaders or b"")


def _fixed(said: bytes | None, kind: pa.DataType) -> pa.Array:
    held = bytes(said or b"")
    return pa.Array.from_buffers(kind, len(held) // kind.byte_width, [None, pa.py_buffer(held)])
