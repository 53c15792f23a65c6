"""`Client`: every operation of the API as a method.

from thumbwheel import Client

with Client("http://127.0.0.1:8000", api_key="tw_…", project="support") as client:
    client.feedback("msg-1042", "user-77", "up", prompt="Where is my parcel?", completion="On its way.")
"""

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx
from pydantic import BaseModel, JsonValue

from thumbwheel import wire
from thumbwheel.client.downloads import Progress, download, inside
from thumbwheel.errors import ClientError, successful
from thumbwheel.client.run_stream import SILENT_SECONDS, followed
from thumbwheel.client.retries import Retries, if_never_sent, if_safe, if_safe_once

DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_SECONDS = 30.0
TRIES = 5
RETRY_SECONDS = 120.0
#: Most events, and about the most bytes, of one batch: well under what the API takes.
BATCH_EVENTS = 500
BATCH_BYTES = 8 * 1024 * 1024

Model = TypeVar("Model", bound=BaseModel)
Prompt = str | list[wire.Message]


class Client:
    """One client per process is enough; its methods may be called from several threads.

    url, api_key, project  unset: THUMBWHEEL_URL, THUMBWHEEL_API_KEY, THUMBWHEEL_PROJECT; a key of one project needs no
                           project here
    timeout                seconds of silence after which an attempt fails
    tries, retry_seconds   how often a call is made, and after how many seconds no other attempt begins; see
                           `thumbwheel.client.retries` for what is repeated
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
        self.url = (url or os.environ.get("THUMBWHEEL_URL") or DEFAULT_URL).rstrip("/")
        self.project_id = project or os.environ.get("THUMBWHEEL_PROJECT") or None
        self.retries = Retries(tries, retry_seconds, sleep)
        key = api_key or os.environ.get("THUMBWHEEL_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    # -- feedback -------------------------------------------------------------------------------------------------

    def feedback(
        self,
        completion_id: str,
        actor: str,
        signal: wire.Signal | Literal["up", "down"],
        *,
        prompt: Prompt | None = None,
        completion: str | None = None,
        checkpoint_id: UUID | None = None,
        occurred_at: datetime | None = None,
        metadata: dict[str, JsonValue] | None = None,
        event_id: str | None = None,
        supersedes: str | None = None,
        conversation_id: str | None = None,
        never_train: bool = False,
    ) -> wire.EventReceipt:
        """Record what `actor` thought of one completion; returns once it is stored for good.

        supersedes       event id of what the same actor said before, and which counts no more
        conversation_id  your id of the conversation: all of it is on one side of the split
        never_train      keep what is said here out of every snapshot
        """
        return self.record(
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

    def record(self, event: wire.Event) -> wire.EventReceipt:
        """Store one event. An event without id gets one, so that a retry stores nothing twice."""
        return self._call(wire.EventReceipt, "POST", "/v1/feedback", body=_with_id(event), safe=True)

    def record_many(self, events: Iterable[wire.Event]) -> wire.BatchReceipt:
        """Store events in as few requests as will do; items that are wrong are reported, their neighbours stored."""
        stored = replayed = rejected = 0
        items: list[wire.BatchItem] = []
        for batch in _batches(events):
            answer = self._send("POST", "/v1/feedback/batch", lines=batch, safe=True)
            receipt = wire.BatchReceipt.model_validate(answer.json())
            items += [item.model_copy(update={"index": item.index + len(items)}) for item in receipt.items]
            stored, replayed = stored + receipt.stored, replayed + receipt.replayed
            rejected += receipt.rejected
        return wire.BatchReceipt(stored=stored, replayed=replayed, rejected=rejected, items=items)

    def register_completion(self, completion_id: str, completion: wire.Completion) -> wire.CompletionReceipt:
        """Tell what a model was given and what it wrote, so that events may name it by its id alone."""
        path = f"/v1/completions/{quote(completion_id, safe='')}"
        return self._call(wire.CompletionReceipt, "PUT", path, body=completion, safe=True)

    def completion(self, completion_id: str) -> wire.StoredCompletion:
        """A registered completion."""
        return self._call(wire.StoredCompletion, "GET", f"/v1/completions/{quote(completion_id, safe='')}", safe=True)

    def events(self, **filters: str) -> Iterator[wire.StoredEvent]:
        """The feedback log, newest first."""
        return self._pages(wire.StoredEvent, "/v1/feedback", filters)

    def receipt(self, event_id: str) -> wire.Receipt:
        """What became of one event: its label, and the snapshots, runs and checkpoints that rest on it."""
        return self._call(wire.Receipt, "GET", f"/v1/feedback/{quote(event_id, safe='')}/receipt", safe=True)

    def approvals(self) -> list[wire.Approval]:
        """Thumbs per checkpoint."""
        return [wire.Approval.model_validate(item) for item in self._send("GET", "/v1/approvals", safe=True).json()]

    # -- projects -------------------------------------------------------------------------------------------------

    def create_project(self, new: wire.NewProject) -> wire.Project:
        return self._call(wire.Project, "POST", "/v1/projects", body=new, scoped=False)

    def projects(self) -> Iterator[wire.Project]:
        return self._pages(wire.Project, "/v1/projects", {}, scoped=False)

    def project(self, project: str | None = None) -> wire.Project:
        return self._call(wire.Project, "GET", self._project_path(project), safe=True, scoped=False)

    def change_project(self, change: wire.ProjectChange, project: str | None = None) -> wire.Project:
        """Replace the sections that are given."""
        return self._call(
            wire.Project, "PATCH", self._project_path(project), body=change, safe=True, scoped=False, drop_unset=True
        )

    def change_base_model(self, new: wire.NewBaseModel, project: str | None = None) -> wire.Release:
        """Begins a new line of ancestry with another base model, which is live at once."""
        path = f"{self._project_path(project)}/base-model"
        return self._call(wire.Release, "PUT", path, body=new, safe=True, scoped=False)

    def readiness(self, project: str | None = None) -> wire.Readiness:
        """Whether a run could start now, and what is missing."""
        path = f"{self._project_path(project)}/readiness"
        return self._call(wire.Readiness, "GET", path, safe=True, scoped=False)

    # -- keys -----------------------------------------------------------------------------------------------------

    def create_key(self, new: wire.NewKey) -> wire.CreatedKey:
        """The answer holds the secret, this one time."""
        return self._call(wire.CreatedKey, "POST", "/v1/keys", body=new, scoped=False)

    def keys(self) -> Iterator[wire.Key]:
        return self._pages(wire.Key, "/v1/keys", {}, scoped=False)

    def revoke_key(self, key_id: UUID) -> wire.Key:
        return self._call(wire.Key, "DELETE", f"/v1/keys/{key_id}", safe=True, scoped=False)

    # -- label policies -------------------------------------------------------------------------------------------

    def create_label_policy(self, policy: wire.LabelPolicy, *, note: str = "") -> wire.StoredLabelPolicy:
        """Store it as the next version; the same policy again is the version that there is."""
        new = wire.NewLabelPolicy(policy=policy, note=note)
        return self._call(wire.StoredLabelPolicy, "POST", "/v1/label-policies", body=new, safe=True)

    def label_policies(self) -> Iterator[wire.StoredLabelPolicy]:
        """The versions, newest first; the last one, 0, is the server's default."""
        return self._pages(wire.StoredLabelPolicy, "/v1/label-policies", {})

    def label_policy(self, version: int) -> wire.StoredLabelPolicy:
        return self._call(wire.StoredLabelPolicy, "GET", f"/v1/label-policies/{version}", safe=True)

    def adopted_label_policy(self) -> wire.StoredLabelPolicy:
        """What labels are given by now."""
        return self._call(wire.StoredLabelPolicy, "GET", "/v1/label-policies/adopted", safe=True)

    def adopt_label_policy(self, version: int, *, reason: str = "") -> wire.LabelPolicyAdoption:
        """Have labels given by this version from now on."""
        new = wire.NewAdoption(reason=reason)
        return self._call(wire.LabelPolicyAdoption, "POST", f"/v1/label-policies/{version}/adopt", body=new)

    def label_policy_adoptions(self) -> Iterator[wire.LabelPolicyAdoption]:
        """The ledger, newest first."""
        return self._pages(wire.LabelPolicyAdoption, "/v1/label-policies/adoptions", {})

    def preview_label_policy(self, new: wire.NewPreview) -> wire.Preview:
        """What a policy would change. Large logs take longer than the usual timeout."""
        return self._call(wire.Preview, "POST", "/v1/label-policies/preview", body=new, safe=True)

    def explain_label(self, completion_id: str) -> wire.LabelExplanation:
        """What the adopted policy makes of one completion, signal by signal."""
        path = f"/v1/completions/{quote(completion_id, safe='')}/label"
        return self._call(wire.LabelExplanation, "GET", path, safe=True)

    # -- audits ---------------------------------------------------------------------------------------------------

    def start_audit(self, new: wire.NewAudit | None = None) -> wire.Audit:
        """Draw a sample of the labels as they are now. Large logs take longer than the usual timeout."""
        return self._call(wire.Audit, "POST", "/v1/audits", body=new or wire.NewAudit())

    def audits(self) -> Iterator[wire.Audit]:
        """Newest first."""
        return self._pages(wire.Audit, "/v1/audits", {})

    def audit(self, audit_id: UUID) -> wire.Audit:
        """What it found so far."""
        return self._call(wire.Audit, "GET", f"/v1/audits/{audit_id}", safe=True)

    def audit_items(self, audit_id: UUID, *, pending: bool = False) -> Iterator[wire.AuditItem]:
        """In the order in which to judge them; `pending`: only those without a verdict."""
        return self._pages(wire.AuditItem, f"/v1/audits/{audit_id}/items", {"pending": str(pending).lower()})

    def give_audit_verdict(self, audit_id: UUID, number: int, new: wire.NewAuditVerdict) -> wire.AuditItem:
        """Say whether the label of one row is right; once more to say something else."""
        path = f"/v1/audits/{audit_id}/items/{number}/verdict"
        return self._call(wire.AuditItem, "PUT", path, body=new, safe=True)

    # -- quarantine -----------------------------------------------------------------------------------------------

    def quarantine(self, state: wire.QuarantineState | None = None) -> Iterator[wire.QuarantinedActor]:
        """Actors that were found or decided on, by their ids. Large logs take longer than the usual timeout."""
        filters = {"limit": "200", **({"state": state} if state else {})}
        return self._pages(wire.QuarantinedActor, "/v1/quarantine", filters)

    def quarantined_actor(self, actor: str) -> wire.QuarantinedActor:
        """What was found of one actor, and the decision that counts."""
        answer = self._send("GET", "/v1/quarantine/actor", parameters={"actor": actor}, safe=True)
        return wire.QuarantinedActor.model_validate(answer.json())

    def decide_on_actor(self, new: wire.NewQuarantineDecision) -> wire.QuarantineDecision:
        """Have the votes of an actor count, or not, from now on."""
        return self._call(wire.QuarantineDecision, "POST", "/v1/quarantine/decisions", body=new)

    def quarantine_decisions(self, actor: str | None = None) -> Iterator[wire.QuarantineDecision]:
        """Every decision that was taken, or those on one actor, newest first."""
        filters = {"actor": actor} if actor is not None else {}
        return self._pages(wire.QuarantineDecision, "/v1/quarantine/decisions", filters)

    # -- erasures -------------------------------------------------------------------------------------------------

    def erase_actor(self, actor: str) -> wire.Erasure:
        """Begin to erase whatever an actor said; nothing that they say is stored from now on."""
        answer = self._send("DELETE", "/v1/actors", parameters={"actor": actor}, safe=True)
        return wire.Erasure.model_validate(answer.json())

    def erasures(self) -> Iterator[wire.Erasure]:
        """Newest first, without certificates."""
        return self._pages(wire.Erasure, "/v1/erasures", {})

    def erasure(self, erasure_id: UUID) -> wire.Erasure:
        """How far it is; with its certificate, once it is done."""
        return self._call(wire.Erasure, "GET", f"/v1/erasures/{erasure_id}", safe=True)

    def erased_events(self, erasure_id: UUID) -> Iterator[wire.ErasedEvent]:
        """Ids of what was erased."""
        return self._pages(wire.ErasedEvent, f"/v1/erasures/{erasure_id}/events", {"limit": "1000"})

    def lift_tombstone(self, erasure_id: UUID) -> wire.Erasure:
        """Let the actor of an erasure come back: what they say is stored again."""
        return self._call(wire.Erasure, "DELETE", f"/v1/erasures/{erasure_id}/tombstone", safe=True)

    # -- runs -----------------------------------------------------------------------------------------------------

    def start_run(self, new: wire.NewRun | None = None) -> wire.Run:
        return self._call(wire.Run, "POST", "/v1/runs", body=new or wire.NewRun(), once=True)

    def runs(self) -> Iterator[wire.Run]:
        """Newest first."""
        return self._pages(wire.Run, "/v1/runs", {})

    def run(self, run_id: UUID) -> wire.Run:
        return self._call(wire.Run, "GET", f"/v1/runs/{run_id}", safe=True)

    def follow_run(
        self, run_id: UUID, *, last_event_id: str | None = None, history: bool = True
    ) -> Iterator[wire.AnyRunEvent]:
        """What happens to the run, as it happens, until it has ended; goes on by itself where the connection is cut.

        last_event_id  go on behind the event with this id
        history        False: without one, begin with how the run stands now
        """
        parameters = {**({"project": self.project_id} if self.project_id else {}), "history": str(history).lower()}
        patience = httpx.Timeout(self._http.timeout.connect, read=SILENT_SECONDS)

        def request(behind: str | None) -> httpx.Request:
            headers = {"Accept": "text/event-stream", **({"Last-Event-ID": behind} if behind else {})}
            path = f"/v1/runs/{run_id}/events"
            return self._http.build_request("GET", path, params=parameters, headers=headers, timeout=patience)

        return followed(self._http, request, self.retries, last_event_id)

    def metrics(self, run_id: UUID) -> wire.Metrics:
        return self._call(wire.Metrics, "GET", f"/v1/runs/{run_id}/metrics", safe=True)

    def cancel_run(self, run_id: UUID) -> wire.Run:
        return self._call(wire.Run, "POST", f"/v1/runs/{run_id}/cancel", safe=True)

    def pause_run(self, run_id: UUID) -> wire.Run:
        """Have its worker save its state and give it back; nobody takes it until it is resumed."""
        return self._call(wire.Run, "POST", f"/v1/runs/{run_id}/pause", safe=True)

    def resume_run(self, run_id: UUID) -> wire.Run:
        """Have a paused run go on from its saved state."""
        return self._call(wire.Run, "POST", f"/v1/runs/{run_id}/resume", safe=True)

    def retry_run(self, run_id: UUID, again: wire.RunAgain | None = None) -> wire.Run:
        """A new run by what decided one that failed or was cancelled; it goes on from the saved state if it can."""
        return self._call(wire.Run, "POST", f"/v1/runs/{run_id}/retry", body=again or wire.RunAgain(), once=True)

    def reproduce_run(self, run_id: UUID, again: wire.RunAgain | None = None) -> wire.Run:
        """A new run on an ended one's snapshot, by its recipe; it begins again and says whether it made the same."""
        return self._call(wire.Run, "POST", f"/v1/runs/{run_id}/reproduce", body=again or wire.RunAgain(), once=True)

    def trigger_decisions(self) -> Iterator[wire.TriggerDecision]:
        """Why runs started by themselves, or did not, newest first."""
        return self._pages(wire.TriggerDecision, "/v1/trigger-decisions", {})

    # -- checkpoints and releases ---------------------------------------------------------------------------------

    def checkpoints(self) -> Iterator[wire.Checkpoint]:
        """Newest first."""
        return self._pages(wire.Checkpoint, "/v1/checkpoints", {})

    def checkpoint(self, checkpoint_id: UUID) -> wire.Checkpoint:
        return self._call(wire.Checkpoint, "GET", f"/v1/checkpoints/{checkpoint_id}", safe=True)

    def pull_checkpoint(self, checkpoint_id: UUID, folder: Path) -> wire.Checkpoint:
        """Download the checkpoint's files into `folder`, each verified by its SHA-256.

        A file that is there already, whole, is kept. Raises `Damaged` where the content is another one.
        """
        checkpoint = self.checkpoint(checkpoint_id)
        for path, sha256 in checkpoint.files.items():
            self._download(f"/v1/checkpoints/{checkpoint_id}/files/{quote(path)}", inside(folder, path), sha256)
        return checkpoint

    def ship(self, checkpoint_id: UUID, *, reason: str = "", override_reason: str | None = None) -> wire.Release:
        """Make the checkpoint the one in production. `override_reason`: although its gates failed."""
        new = wire.NewRelease(checkpoint_id=checkpoint_id, reason=reason, override_reason=override_reason)
        return self._call(wire.Release, "POST", "/v1/releases", body=new, once=True)

    def rollback(self, *, reason: str = "") -> wire.Release:
        """Go back to what was live before the current release."""
        new = wire.NewRelease(rollback=True, reason=reason)
        return self._call(wire.Release, "POST", "/v1/releases", body=new, once=True)

    def current_release(self) -> wire.CurrentRelease:
        return self._call(wire.CurrentRelease, "GET", "/v1/releases/current", safe=True)

    def releases(self) -> Iterator[wire.Release]:
        """The ledger, newest first."""
        return self._pages(wire.Release, "/v1/releases", {})

    # -- snapshots ------------------------------------------------------------------------------------------------

    def snapshots(self) -> Iterator[wire.Snapshot]:
        """Newest first; redacted ones, too."""
        return self._pages(wire.Snapshot, "/v1/snapshots", {})

    def snapshot(self, snapshot_id: UUID) -> wire.SnapshotDetail:
        """With its whole manifest."""
        return self._call(wire.SnapshotDetail, "GET", f"/v1/snapshots/{snapshot_id}", safe=True)

    def snapshot_card(self, snapshot_id: UUID) -> str:
        """What is inside, as Markdown."""
        return self._send("GET", f"/v1/snapshots/{snapshot_id}/card", safe=True).text

    def pull_snapshot(
        self,
        snapshot_id: UUID,
        folder: Path,
        *,
        paths: Collection[str] | None = None,
        progress: Callable[[str, int, int | None], None] = lambda _path, _done, _total: None,
    ) -> wire.SnapshotDetail:
        """Download the snapshot's files into `folder`, each verified by its SHA-256.

        paths     of those files alone
        progress  told a file's path, how many of its bytes have come, and how many there are

        A file that is there already, whole, is kept. Raises `Damaged` where the content is another one, and `ApiError`
        410 with `successor_id` where the snapshot was redacted.
        """
        snapshot = self.snapshot(snapshot_id)
        for path, sha256 in snapshot.files.items():
            if paths is None or path in paths:
                url = f"/v1/snapshots/{snapshot_id}/files/{quote(path)}"
                self._download(url, inside(folder, path), sha256, partial(progress, path))
        return snapshot

    # -- HTTP -----------------------------------------------------------------------------------------------------

    def _project_path(self, project: str | None) -> str:
        chosen = project or self.project_id
        if chosen is None:
            raise ClientError("No project is named: give one, or set THUMBWHEEL_PROJECT.")
        return f"/v1/projects/{quote(chosen, safe='')}"

    def _call(
        self,
        model: type[Model],
        method: str,
        path: str,
        *,
        body: BaseModel | dict[str, Any] | None = None,
        safe: bool = False,
        once: bool = False,
        scoped: bool = True,
        drop_unset: bool = False,
    ) -> Model:
        sent = body.model_dump(mode="json", exclude_unset=drop_unset) if isinstance(body, BaseModel) else body
        return model.model_validate(self._send(method, path, body=sent, safe=safe, once=once, scoped=scoped).json())

    def _download(self, url: str, target: Path, sha256: str, progress: Progress = lambda _done, _total: None) -> None:
        project = {"project": self.project_id} if self.project_id else {}

        def request(headers: dict[str, str]) -> httpx.Request:
            return self._http.build_request("GET", url, params=project, headers=headers)

        download(self._http, request, target, sha256, self.retries, progress)

    def _pages(
        self, model: type[Model], path: str, filters: Mapping[str, str], *, scoped: bool = True
    ) -> Iterator[Model]:
        cursor: str | None = None
        while True:
            parameters = {**filters, **({"cursor": cursor} if cursor else {})}
            page = self._send("GET", path, parameters=parameters, safe=True, scoped=scoped).json()
            for item in page["items"]:
                yield model.model_validate(item)
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        lines: bytes | None = None,
        parameters: Mapping[str, str] | None = None,
        safe: bool = False,
        once: bool = False,
        scoped: bool = True,
    ) -> httpx.Response:
        """Returns the answer of success. A call that is not `safe` is repeated only if it cannot have been received.

        once  send a key made here, by which the API does it once however often it is sent: that makes it safe
        """
        project = {"project": self.project_id} if scoped and self.project_id else {}
        headers = {"Content-Type": "application/x-ndjson"} if lines is not None else {}
        if once:
            headers["Idempotency-Key"] = f'"{uuid4()}"'
        request = self._http.build_request(
            method,
            path,
            params={**project, **(parameters or {})},
            json=body,
            content=lines,
            headers=headers,
        )
        rule = if_safe_once if once else if_safe if safe else if_never_sent
        return self.retries.call(self.url, lambda: successful(self._http.send(request)), rule)


def _with_id(event: wire.Event) -> wire.Event:
    return event if event.event_id is not None else event.model_copy(update={"event_id": str(uuid4())})


def _batches(events: Iterable[wire.Event]) -> Iterator[bytes]:
    """An event a line."""
    batch: list[bytes] = []
    size = 0
    for event in events:
        line = _with_id(event).model_dump_json(exclude_none=True).encode()
        if batch and (len(batch) == BATCH_EVENTS or size + len(line) > BATCH_BYTES):
            yield b"\n".join(batch)
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield b"\n".join(batch)
