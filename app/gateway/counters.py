"""Counts what the gateway does, for Prometheus and for `GET /v1/gateway`."""

from collections import defaultdict
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

#: Bounds of durations in seconds: from the first token of a small model to the last one of a long answer.
SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Counters:
    """The figures of one process since its start, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "thumbwheel_gateway_requests", "Requests for completions by status", ["project", "status"],
            registry=registry,
        )  # fmt: skip
        self._registered = Counter(
            "thumbwheel_gateway_registered", "Registered completions", ["project"], registry=registry
        )
        self._unregistered = Counter(
            "thumbwheel_gateway_unregistered", "Completions that were answered and not registered",
            ["project", "reason"], registry=registry,
        )  # fmt: skip
        self._fallbacks = Counter(
            "thumbwheel_gateway_target_failures", "Requests that a target failed before its first byte",
            ["project", "target"], registry=registry,
        )  # fmt: skip
        self._ended = Counter(
            "thumbwheel_gateway_cut", "Answers that ended before their end", ["project", "reason"], registry=registry
        )
        self._first_byte = Histogram(
            "thumbwheel_gateway_first_byte_seconds", "Time from a request to the first byte of its answer",
            ["project"], buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "thumbwheel_gateway_seconds", "Time from a request to the last byte of its answer", ["project"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.registered_by_project: dict[str, int] = defaultdict(int)
        self.unregistered_by_project: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def gauge(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Adds a figure that is read with each scrape."""
        Gauge(f"thumbwheel_gateway_{name}", description, registry=self.registry).set_function(value)

    def request(self, project: str, status: int) -> None:
        self._requests.labels(project, str(status)).inc()

    def registered(self, project: str) -> None:
        self._registered.labels(project).inc()
        self.registered_by_project[project] += 1

    def unregistered(self, project: str, reason: str) -> None:
        self._unregistered.labels(project, reason).inc()
        self.unregistered_by_project[project][reason] += 1

    def target_failed(self, project: str, target: str) -> None:
        self._fallbacks.labels(project, target).inc()

    def cut(self, project: str, reason: str) -> None:
        self._ended.labels(project, reason).inc()

    def first_byte(self, project: str, seconds: float) -> None:
        self._first_byte.labels(project).observe(seconds)

    def finished(self, project: str, seconds: float) -> None:
        self._seconds.labels(project).observe(seconds)

    def prometheus(self) -> bytes:
        """Returns the figures in Prometheus' text format."""
        text: bytes = generate_latest(self.registry)
        return text
