"""Makes metric families of Prometheus. Pure."""

from collections.abc import Iterable, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from app.histogram import Histogram

#: The label that distinguishes the figures of one project from those of others.
PROJECT = "project"

Labels = Sequence[str]


def gauge(
    name: str, documentation: str, labels: Labels = (), values: Iterable[tuple[Labels, float | None]] = ()
) -> Metric:
    """Returns a gauge. A value of None is left out: its series has no sample now."""
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for of, value in values:
        if value is not None:
            family.add_metric(of, value)
    return family


def counter(name: str, documentation: str, labels: Labels, values: Iterable[tuple[Labels, float]]) -> Metric:
    family = CounterMetricFamily(name, documentation, labels=labels)
    for of, value in values:
        family.add_metric(of, value)
    return family


def histogram(name: str, documentation: str, labels: Labels, values: Iterable[tuple[Labels, Histogram]]) -> Metric:
    family = HistogramMetricFamily(name, documentation, labels=labels)
    for of, value in values:
        buckets = [(floatToGoString(bound), float(count)) for bound, count in value.cumulative()]
        family.add_metric(of, buckets, value.sum)
    return family


def visible_to(families: Iterable[Metric], project: str | None) -> list[Metric]:
    """Returns the families without the series of projects other than `project`; all of them if it is None."""
    if project is None:
        return list(families)
    return [_only(family, project) for family in families]


def _only(family: Metric, project: str) -> Metric:
    kept = Metric(family.name, family.documentation, family.type, family.unit)
    kept.samples = [sample for sample in family.samples if sample.labels.get(PROJECT, project) == project]
    return kept
