# Written by tools/async_client.py from ../client/client.py: change that file, then run `make async-client`.
"""`AsyncClient`: feedback in one call, and an attribute for each area of the API.

from thumbwheel import AsyncClient

async with AsyncClient("http://127.0.0.1:8000", api_key="tw_…", project="support") as client:
    await client.feedback("msg-1042", "user-77", "up", prompt="Where is my parcel?", completion="On its way.")
    run = await client.runs.start()
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import JsonValue

from thumbwheel import wire
from thumbwheel.async_client.audits import AsyncAudits
from thumbwheel.async_client.checkpoints import AsyncCheckpoints
from thumbwheel.async_client.comparisons import AsyncComparisons
from thumbwheel.async_client.completions import AsyncCompletions
from thumbwheel.async_client.erasures import AsyncErasures
from thumbwheel.async_client.events import AsyncEvents
from thumbwheel.async_client.gates import AsyncGates
from thumbwheel.async_client.holds import AsyncHolds
from thumbwheel.async_client.http import AsyncHttp
from thumbwheel.async_client.imports import AsyncImports
from thumbwheel.async_client.keys import AsyncKeys
from thumbwheel.async_client.label_policies import AsyncLabelPolicies
from thumbwheel.async_client.log_copies import AsyncLogCopies
from thumbwheel.async_client.operator_log import AsyncOperatorLog
from thumbwheel.async_client.projects import AsyncProjects
from thumbwheel.async_client.quarantine import AsyncQuarantine
from thumbwheel.async_client.releases import AsyncReleases
from thumbwheel.async_client.retries import AsyncRetries
from thumbwheel.async_client.runs import AsyncRuns
from thumbwheel.async_client.serving import AsyncServingTargets
from thumbwheel.async_client.snapshots import AsyncSnapshots
from thumbwheel.async_client.suites import AsyncSuites
from thumbwheel.async_client.vote_links import AsyncVoteLinks
from thumbwheel.async_client.webhooks import AsyncWebhooks
from thumbwheel.connection_settings import ConnectionSettings

TIMEOUT_SECONDS = 30.0
TRIES = 5
RETRY_SECONDS = 120.0

Prompt = str | list[wire.Message] | wire.ChatWithTools


class AsyncClient:
    """One client per process is enough; its methods may be called from several tasks of one event loop.

    url, api_key, project  default to THUMBWHEEL_URL, THUMBWHEEL_API_KEY and THUMBWHEEL_PROJECT; with a key of one
                           project, none needs to be named
    timeout                seconds of silence after which an attempt fails
    tries, retry_seconds   attempts of one call, and seconds after which no further attempt begins; see
                           `thumbwheel.client.retry_rules` for what is repeated
    sleep                  waits between two attempts

    Methods raise `ApiError` and `Unreachable`. Sending an event is safe to repeat: it carries an id made here.
    """

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        project: str | None = None,
        *,
        timeout: float = TIMEOUT_SECONDS,
        tries: int = TRIES,
        retry_seconds: float = RETRY_SECONDS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        settings = ConnectionSettings.of(url, api_key, project)
        self.url = settings.url
        self.project_id = settings.project
        http = AsyncHttp(settings, timeout=timeout, retries=AsyncRetries(tries, retry_seconds, sleep))
        self._http = http
        self.events = AsyncEvents(http)
        self.completions = AsyncCompletions(http)
        self.log = AsyncLogCopies(http)
        self.imports = AsyncImports(http)
        self.projects = AsyncProjects(http)
        self.keys = AsyncKeys(http)
        self.operator_log = AsyncOperatorLog(http)
        self.label_policies = AsyncLabelPolicies(http)
        self.gates = AsyncGates(http)
        self.suites = AsyncSuites(http)
        self.audits = AsyncAudits(http)
        self.quarantine = AsyncQuarantine(http)
        self.erasures = AsyncErasures(http)
        self.holds = AsyncHolds(http)
        self.runs = AsyncRuns(http)
        self.comparisons = AsyncComparisons(http)
        self.checkpoints = AsyncCheckpoints(http)
        self.releases = AsyncReleases(http)
        self.serving = AsyncServingTargets(http)
        self.snapshots = AsyncSnapshots(http)
        self.webhooks = AsyncWebhooks(http)
        self.vote_links = AsyncVoteLinks(http)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.close()

    async def feedback(
        self,
        completion_id: str,
        actor: str,
        signal: wire.Signal | Literal["up", "down"],
        *,
        prompt: Prompt | None = None,
        completion: str | wire.Message | None = None,
        checkpoint_id: UUID | None = None,
        occurred_at: datetime | None = None,
        metadata: dict[str, JsonValue] | None = None,
        event_id: str | None = None,
        supersedes: str | None = None,
        conversation_id: str | None = None,
        never_train: bool = False,
    ) -> wire.EventReceipt:
        """Records what `actor` thought of one completion; returns once the event is committed.

        supersedes       id of an earlier event of the same actor that no longer counts
        conversation_id  your id of the conversation; all its rows are on the same side of the split
        never_train      keeps the event out of every snapshot
        """
        return await self.events.record(
            wire.Event(
                event_id=event_id,
                completion_id=completion_id,
                actor=actor,
                signal=wire.Thumbs(value=signal) if isinstance(signal, str) else signal,
                prompt=prompt,
                completion=completion,
                checkpoint_id=checkpoint_id,
                occurred_at=occurred_at,
                supersedes=supersedes,
                conversation_id=conversation_id,
                metadata=metadata or {},
                never_train=never_train,
            )
        )
