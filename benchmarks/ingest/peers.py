"""The servers that our ingest is compared with, each run by the same uvicorn.

empty  an endpoint that validates the same body with pydantic, and does nothing else: the cost of FastAPI itself
orm    the obvious implementation: one async SQLAlchemy session and one INSERT per request
"""

import os
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import DateTime, String
from sqlalchemy.dialects.postgresql import JSONB, UUID
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, mapped_column
from thumbwheel import wire

from app.database import now


class Received(BaseModel):
    status: str


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "obvious_events"

    event_id = mapped_column(String(128), primary_key=True)
    received_at = mapped_column(DateTime(timezone=True))
    completion_id = mapped_column(String(128), index=True)
    actor = mapped_column(String(128))
    signal = mapped_column(JSONB)
    prompt = mapped_column(JSONB)
    completion = mapped_column(String)
    checkpoint_id = mapped_column(UUID(as_uuid=True))
    occurred_at = mapped_column(DateTime(timezone=True))
    extra = mapped_column("metadata", JSONB)


def empty() -> FastAPI:
    api = FastAPI()

    @api.post("/v1/feedback", status_code=201)
    async def record(event: wire.Event) -> Received:  # noqa: ARG001 - it is only validated
        return Received(status="ignored")

    return api


def orm() -> FastAPI:
    api = FastAPI()
    url = os.environ["THUMBWHEEL_DATABASE_URL"].replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, pool_size=20, max_overflow=60)
    sessions = async_sessionmaker(engine, expire_on_commit=False)

    async def session() -> AsyncIterator[AsyncSession]:
        async with sessions() as new_session:
            yield new_session

    @api.post("/v1/feedback", status_code=201)
    async def record(event: wire.Event, db: Annotated[AsyncSession, Depends(session)]) -> Received:
        body: dict[str, Any] = event.model_dump(mode="json", include={"signal", "prompt", "metadata"})
        db.add(
            Row(
                event_id=event.event_id,
                received_at=now(),
                completion_id=event.completion_id,
                actor=event.actor,
                signal=body["signal"],
                prompt=body["prompt"],
                completion=event.completion,
                checkpoint_id=event.checkpoint_id,
                occurred_at=event.occurred_at,
                extra=body["metadata"],
            )
        )
        await db.commit()
        return Received(status="stored")

    return api
