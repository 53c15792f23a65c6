"""`Client`: feedback in one call, and an attribute for each area of the API.

from thumbwheel import Client

with Client("http://127.0.0.1:8000", api_key="tw_…", project="support") as client:
    client.feedback("msg-1042", "user-77", "up", prompt="Where is my parcel?", completion="On its way.")
    run = client.runs.start()
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import JsonValue

from thumbwheel import wire
from thumbwheel.client.audits import Audits
from thumbwheel.client.checkpoints import Checkpoints
from thumbwheel.client.comparisons import Comparisons
from thumbwheel.client.completions import Completions
from thumbwheel.client.erasures import Erasures
from thumbwheel.client.events import Events
from thumbwheel.client.gates import Gates
from thumbwheel.client.holds import Holds
from thumbwheel.client.http import Http
from thumbwheel.client.imports import Imports
from thumbwheel.client.keys import Keys
from thumbwheel.client.label_policies import LabelPolicies
from thumbwheel.client.log_copies import LogCopies
from thumbwheel.client.operator_log import OperatorLog
from thumbwheel.client.projects import Projects
from thumbwheel.client.quarantine import Quarantine
from thumbwheel.client.releases import Releases
from thumbwheel.client.retries import Retries
from thumbwheel.client.runs import Runs
from thumbwheel.client.serving import ServingTargets
from thumbwheel.client.snapshots import Snapshots
from thumbwheel.client.suites import Suites
from thumbwheel.client.vote_links import VoteLinks
from thumbwheel.client.webhooks import Webhooks
from thumbwheel.connection_settings import ConnectionSettings

TIMEOUT_SECONDS = 30.0
TRIES = 5
RETRY_SECONDS = 120.0

Prompt = str | list[wire.Message] | wire.ChatWithTools


class Client:
    """One client per process is enough; its methods may be called from several threads.

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
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        settings = ConnectionSettings.of(url, api_key, project)
        self.url = settings.url
        self.project_id = settings.project
        http = Http(settings, timeout=timeout, retries=Retries(tries, retry_seconds, sleep))
        self._http = http
        self.events = Events(http)
        self.completions = Completions(http)
        self.log = LogCopies(http)
        self.imports = Imports(http)
        self.projects = Projects(http)
        self.keys = Keys(http)
        self.operator_log = OperatorLog(http)
        self.label_policies = LabelPolicies(http)
        self.gates = Gates(http)
        self.suites = Suites(http)
        self.audits = Audits(http)
        self.quarantine = Quarantine(http)
        self.erasures = Erasures(http)
        self.holds = Holds(http)
        self.runs = Runs(http)
        self.comparisons = Comparisons(http)
        self.checkpoints = Checkpoints(http)
        self.releases = Releases(http)
        self.serving = ServingTargets(http)
        self.snapshots = Snapshots(http)
        self.webhooks = Webhooks(http)
        self.vote_links = VoteLinks(http)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes all connections."""
        self._http.close()

    def feedback(
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
        return self.events.record(
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
