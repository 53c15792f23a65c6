"""The operator log: who did what with which key, and when."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class OperatorAction(BaseModel):
    """One operation that succeeded. Entries are never changed or deleted."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    at: datetime
    operation: str = Field(description="its operationId in the OpenAPI document, for example `ship`")
    project: str | None = Field(description="null: it concerned no project, or all")
    key_id: UUID | None = Field(description="of the key that authorized it; null: a command on the server")
    by: str = Field(description="the name of that key, as in the other ledgers")
    request_id: str | None = Field(description="`X-Request-Id` of the request, if it had one")
    about: dict[str, Any] = Field(description="ids and names of what it concerned; no texts, and no ids of actors")
