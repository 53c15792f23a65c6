"""The figures of this process, which need no database."""

import platform
from collections import defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from prometheus_client import CollectorRegistry
from prometheus_client.core import InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector

from app.capacity import Capacity
from app.database import connections_in_use
from app.feedback.ingest.figures import OUTCOMES
from app.feedback.ingest.group_commit import Intake
from app.histogram import Histogram
from app.metrics.families import PROJECT, counter, gauge, histogram
from app.web.request_times import RequestKind, RequestTimes

#: Methods of HTTP that the parser knows and no operation has are counted together.
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class ProcessFigures:
    """Reads the figures of one process of the API. Call it in the event loop, which writes them.

    others  registries of optional parts of the process, such as the gateway
    """

    def __init__(
        self, requests: RequestTimes, intake: Intake, capacity: Capacity, others: Sequence[CollectorRegistry] = ()
    ) -> None:
        self._others = others
        self._requests = requests
        self._intake = intake
        self._capacity = capacity
        self._process = ProcessCollector(registry=CollectorRegistry())  # of Linux: processor, memory, open files
        self._build = {"version": version("thumbwheel-server"), "python": platform.python_version()}

    def __call__(self) -> list[Metric]:
        return [
            InfoMetricFamily("thumbwheel_build", "The version of Thumbwheel and of Python.", value=self._build),
            *_request_families(self._requests.copied()),
            *self._ingest(),
            *self._limits(),
            *self._process.collect(),
            *(family for registry in self._others for family in registry.collect()),
        ]

    def _ingest(self) -> Iterable[Metric]:
        figures = self._intake.figures
        bodies, size = self._intake.waiting
        return (
            counter(
                "thumbwheel_ingest_bodies",
                "Events and registered completions that were received, by what became of them: stored; replayed (it "
                "was stored already); conflict (its id has another body); erased, erased_actor; invalid; refused (by "
                "Postgres); unavailable (not stored, the sender has to retry).",
                [PROJECT, "kind", "outcome"],
                [
                    ((project, kind, outcome), figures.outcomes.get((kind, project, outcome), 0))
                    for project, kind in sorted({(project, kind) for kind, project, _ in figures.outcomes})
                    for outcome in OUTCOMES  # those that have not happened too, so that the first one is an increase
                ],
            ),
            counter(
                "thumbwheel_redaction_findings",
                "Personal data and secrets that were found in feedback before it was stored, by kind and by what was "
                "done: masked, or the feedback was refused (reject).",
                [PROJECT, "mode", "kind"],
                list(figures.findings.items()),
            ),
            histogram(
                "thumbwheel_ingest_transaction_bodies",
                "Events or completions that were stored by one transaction.",
                (),
                [((), figures.bodies)],
            ),
            histogram(
                "thumbwheel_ingest_transaction_duration_seconds",
                "Duration of the transactions that store events and completions, with their commit.",
                (),
                [((), figures.commit_seconds)],
            ),
            gauge(
                "thumbwheel_ingest_waiting_bodies",
                "Events and completions that are received and not yet committed; beyond 20,000 they are refused.",
                values=[((), bodies)],
            ),
            gauge(
                "thumbwheel_ingest_waiting_bytes",
                "Size of the requests that are received and not yet committed; beyond 256 MiB they are refused.",
                values=[((), size)],
            ),
        )

    def _limits(self) -> Iterable[Metric]:
        turns = self._capacity.turns()
        connections = connections_in_use()
        purposes = {purpose: (purpose.name.lower(),) for purpose in connections}
        return (
            gauge(
                "thumbwheel_admitted_requests",
                "Requests that have a turn now: ordinary ones, and those that read a whole log.",
                ["kind"],
                [((each.kind,), each.admitted) for each in turns],
            ),
            gauge(
                "thumbwheel_admitted_requests_limit",
                "The most requests that may have a turn at the same time.",
                ["kind"],
                [((each.kind,), each.most) for each in turns],
            ),
            gauge(
                "thumbwheel_requests_waiting",
                "Requests that wait for a turn; after two seconds they are answered with 503.",
                ["kind"],
                [((each.kind,), each.waiting) for each in turns],
            ),
            gauge(
                "thumbwheel_database_connections_in_use",
                "Connections to Postgres in use now, by purpose; those of the intake and the outbox are not counted.",
                ["purpose"],
                [(purposes[purpose], used) for purpose, (used, _) in connections.items()],
            ),
            gauge(
                "thumbwheel_database_connections_limit",
                "The most connections to Postgres that this process may open for each purpose.",
                ["purpose"],
                [(purposes[purpose], most) for purpose, (_, most) in connections.items()],
            ),
        )


def _request_families(requests: Iterable[tuple[RequestKind, Histogram]]) -> Iterable[Metric]:
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    durations: dict[tuple[str, str], Histogram] = defaultdict(Histogram)
    for kind, times in requests:
        method = kind.method if kind.method in METHODS else "other"
        counts[method, kind.route, f"{kind.status // 100}xx"] += times.count
        durations[method, kind.route].add(times)
    return (
        counter(
            "thumbwheel_http_requests",
            "Requests that were answered, by method, route and class of the status. Route none: unknown paths, and "
            "requests that were refused before their route was found.",
            ["method", "route", "status"],
            list(counts.items()),
        ),
        histogram(
            "thumbwheel_http_request_duration_seconds",
            "Time from the headers of a request to the beginning of its answer.",
            ["method", "route"],
            list(durations.items()),
        ),
    )
