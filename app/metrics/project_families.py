"""Names the figures of the projects for Prometheus."""

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric
from thumbwheel import wire

from app.metrics.families import PROJECT, gauge
from app.metrics.projects import ProjectFigures


def families(figures: ProjectFigures) -> Iterable[Metric]:
    """Returns the metric families of these figures; those without a value, too."""
    yield from _learning(figures)
    yield from _releases(figures)
    yield from _approval(figures)
    yield from _runs(figures)
    yield from _serving(figures)
    yield _imports(figures)
    yield from _deliveries(figures)
    yield from _kept(figures)


def _learning(figures: ProjectFigures) -> Iterable[Metric]:
    newest = {project: found.releases[0] for project, found in figures.learning.items() if found.releases}
    waiting = {project: found.waiting for project, found in figures.learning.items() if found.waiting}
    objectives = {project: found.objective for project, found in figures.learning.items() if found.objective}
    yield gauge(
        "thumbwheel_time_to_learn_seconds",
        "Age of the events of which the newest release was the first to learn, when it shipped: the share `quantile` "
        "of them was younger.",
        [PROJECT, "quantile"],
        [
            ((project, quantile), value)
            for project, release in newest.items()
            for quantile, value in (("0.5", release.p50_seconds), ("0.9", release.p90_seconds))
        ],
    )
    yield gauge(
        "thumbwheel_time_to_learn_in_time_ratio",
        "Share of the events due within the last 30 days that were live in time; only with an objective.",
        [PROJECT],
        [((project,), objective.in_time) for project, objective in objectives.items()],
    )
    yield gauge(
        "thumbwheel_time_to_learn_burn_ratio",
        "Late events divided by those that the objective allows, over the last 30 days: above 1 it is not kept.",
        [PROJECT],
        [((project,), objective.burn) for project, objective in objectives.items()],
    )
    yield gauge(
        "thumbwheel_unlearned_events",
        "Events that no release has learnt from yet, when the loop last counted them.",
        [PROJECT],
        [((project,), each.events) for project, each in waiting.items()],
    )
    yield gauge(
        "thumbwheel_unlearned_events_oldest_age_seconds",
        "Age of the oldest event that no release has learnt from yet.",
        [PROJECT],
        [((project,), each.oldest_seconds) for project, each in waiting.items()],
    )
    yield gauge(
        "thumbwheel_labels",
        "Labelled completions that a snapshot could use, by class, when the loop last read them; only of logs with "
        "more than 5,000 events.",
        [PROJECT, "class"],
        _by_class({project: all_ for project, (all_, _) in figures.labels.items()}),
    )
    yield gauge(
        "thumbwheel_new_labels",
        "Labels since the last run, by class; only of logs with more than 5,000 events.",
        [PROJECT, "class"],
        _by_class({project: new for project, (_, new) in figures.labels.items()}),
    )
    yield gauge(
        "thumbwheel_quarantine_undecided_actors",
        "Actors in quarantine whose votes wait for an operator's decision.",
        [PROJECT],
        [((project,), number) for project, number in figures.undecided.items()],
    )


def _kept(figures: ProjectFigures) -> Iterable[Metric]:
    yield gauge(
        "thumbwheel_retention_unfinished_months",
        "Expired months of feedback whose deletion is under way or waits.",
        [PROJECT],
        [((project,), each.unfinished) for project, each in figures.retentions.items()],
    )
    yield gauge(
        "thumbwheel_retention_oldest_unfinished_age_seconds",
        "Time since the oldest of these was begun.",
        [PROJECT],
        [((project,), each.oldest_seconds) for project, each in figures.retentions.items()],
    )
    yield gauge(
        "thumbwheel_retention_last_timestamp_seconds",
        "Unix time at which the deletion of a month last ended.",
        [PROJECT],
        [((project,), each.last) for project, each in figures.retentions.items()],
    )
    yield gauge(
        "thumbwheel_legal_holds",
        "Legal holds in force.",
        [PROJECT],
        [((project,), number) for project, number in figures.holds.items()],
    )


def _by_class(counts: dict[str, wire.ClassCounts]) -> list[tuple[tuple[str, str], float]]:
    return [((project, name), number) for project, by in counts.items() for name, number in by.model_dump().items()]


def _releases(figures: ProjectFigures) -> Iterable[Metric]:
    found = [
        (project, role, release)
        for project, (live, canary) in figures.releases.items()
        for role, release in (("live", live), ("canary", canary))
        if release is not None
    ]
    yield gauge(
        "thumbwheel_release_number",
        "Number of the release in the ledger, by role: the live one, and the canary if there is one.",
        [PROJECT, "role"],
        [((project, role), release.number) for project, role, release in found],
    )
    yield gauge(
        "thumbwheel_release_timestamp_seconds",
        "Unix time of the release.",
        [PROJECT, "role"],
        [((project, role), release.created_at.timestamp()) for project, role, release in found],
    )
    yield gauge(
        "thumbwheel_canary_share_ratio",
        "Share of the actors that get the canary; 0 without one.",
        [PROJECT],
        [((project,), canary.share if canary else 0.0) for project, (_, canary) in figures.releases.items()],
    )


def _approval(figures: ProjectFigures) -> Iterable[Metric]:
    found = [
        ((project, "canary" if release.action == "canary" else "live"), release)
        for project, approvals in figures.approvals.items()
        for release in approvals.releases
        if release.until is None
    ]
    labels = [PROJECT, "role"]
    yield gauge(
        "thumbwheel_release_approval_ratio",
        "Share of the labelled completions of the release that users liked.",
        labels,
        [(of, release.approval) for of, release in found],
    )
    yield gauge(
        "thumbwheel_release_approval_low_ratio",
        "Lower bound of the approval's 95 % interval.",
        labels,
        [(of, release.low) for of, release in found],
    )
    yield gauge(
        "thumbwheel_release_approval_high_ratio",
        "Upper bound of the approval's 95 % interval.",
        labels,
        [(of, release.high) for of, release in found],
    )
    yield gauge(
        "thumbwheel_release_labels",
        "Labelled completions of the release by class.",
        [*labels, "class"],
        [
            ((*of, name), number)
            for of, release in found
            for name, number in (("desirable", release.desirable), ("undesirable", release.undesirable))
        ],
    )
    yield gauge(
        "thumbwheel_release_outputs",
        "Outputs that the release gave: completions that were registered.",
        labels,
        [(of, release.exposures) for of, release in found],
    )
    yield gauge(
        "thumbwheel_release_voted_ratio",
        "Share of the release's outputs that have a label.",
        labels,
        [(of, release.voted_share) for of, release in found],
    )
    yield gauge(
        "thumbwheel_release_canary_difference_low_ratio",
        "Lower bound of the approval of the canary minus that of the live release beside it, valid at any time.",
        [PROJECT],
        [((of[0],), release.comparison.low) for of, release in found if of[1] == "canary" and release.comparison],
    )
    yield gauge(
        "thumbwheel_release_canary_difference_high_ratio",
        "Upper bound of the approval of the canary minus that of the live release beside it, valid at any time.",
        [PROJECT],
        [((of[0],), release.comparison.high) for of, release in found if of[1] == "canary" and release.comparison],
    )


def _runs(figures: ProjectFigures) -> Iterable[Metric]:
    yield gauge(
        "thumbwheel_runs",
        "Runs by state.",
        [PROJECT, "state"],
        [((project, state.value), number) for (project, state), number in figures.runs.items()],
    )
    yield gauge(
        "thumbwheel_run_queued_timestamp_seconds",
        "Unix time at which the oldest queued run was requested, by what it waits for: a worker, or the end of the "
        "project's active run. Paused runs do not count.",
        [PROJECT, "waits_for"],
        [
            ((project, "active_run" if waiting else "worker"), at.timestamp())
            for (project, waiting), at in figures.queued.items()
        ],
    )


def _serving(figures: ProjectFigures) -> Iterable[Metric]:
    found = [((target.project, target.name, target.kind), target) for target in figures.targets]
    labels = [PROJECT, "target", "kind"]
    yield gauge(
        "thumbwheel_serving_target_in_step",
        "1 if the enabled target was lately seen to serve the live checkpoint, 0 if not.",
        labels,
        [(of, target.in_step) for of, target in found],
    )
    yield gauge(
        "thumbwheel_serving_target_seen_timestamp_seconds",
        "Unix time at which a worker last saw what the target serves.",
        labels,
        [(of, target.seen_at.timestamp()) for of, target in found if target.seen_at],
    )
    yield gauge(
        "thumbwheel_serving_target_alarm",
        "1 if the enabled target has differed from the ledger for more than five minutes.",
        labels,
        [(of, target.alarm) for of, target in found],
    )


def _imports(figures: ProjectFigures) -> Metric:
    return gauge(
        "thumbwheel_imports",
        "Imports of uploaded files that have not ended, by state.",
        [PROJECT, "state"],
        [(of, number) for of, number in figures.imports.items()],
    )


def _deliveries(figures: ProjectFigures) -> Iterable[Metric]:
    number, oldest = figures.outbox
    yield gauge(
        "thumbwheel_webhook_deliveries_waiting",
        "Deliveries of webhooks that are to be sent, or sent again.",
        [PROJECT],
        [((each.project,), each.waiting) for each in figures.backlogs],
    )
    yield gauge(
        "thumbwheel_webhook_deliveries_failed",
        "Deliveries of events of the last 48 hours that were given up.",
        [PROJECT],
        [((each.project,), each.failed) for each in figures.backlogs],
    )
    yield gauge(
        "thumbwheel_webhook_endpoints_disabled",
        "Webhook endpoints that are disabled, by an operator or because nothing got through.",
        [PROJECT],
        [((each.project,), each.disabled_endpoints) for each in figures.backlogs],
    )
    yield gauge(
        "thumbwheel_outbox_messages",
        "Messages to workers that are committed and not yet sent to the broker.",
        values=[((), number)],
    )
    yield gauge(
        "thumbwheel_outbox_oldest_timestamp_seconds",
        "Unix time of the oldest message in the outbox; absent while it is empty.",
        values=[((), oldest.timestamp() if oldest else None)],
    )
    yield gauge(
        "thumbwheel_last_tick_timestamp_seconds",
        "Unix time at which the loop last ended a round.",
        values=[((), figures.last_tick.timestamp() if figures.last_tick else None)],
    )
