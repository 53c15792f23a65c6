"""`thumbwheel approval`: what users think of each release."""

from collections.abc import Iterator

from thumbwheel import wire

from app.cli.connection import AsJson, Project, connected, short_id
from app.cli.listing import show_one, when


def approval(project: Project = None, as_json: AsJson = False) -> None:
    """Show what users think of each release, newest first, and what the rule of automatic rollback says."""
    with connected(project) as client:
        found = client.releases.approval()
    lines = {}
    for item in found.releases:
        what = f"{item.action}, checkpoint {short_id(item.checkpoint_id)}, since {when(item.since)}"
        lines[f"release {item.release_number}"] = f"{what}: {_share(item)}"
        for name, value in _details(item):
            lines[f"  {item.release_number} {name}"] = value
    if found.rollback is not None:
        lines["rollback"] = f"{found.rollback.decision.action}: {found.rollback.decision.reason}"
    if found.rollback is not None and found.rollback.failure is not None:
        lines["last try"] = f"failed at {when(found.rollback.failed_at)}: {found.rollback.failure}"
    show_one(found, lines or {"releases": "the loop has not read the log yet"}, as_json=as_json)


def _details(item: wire.ReleaseApproval) -> Iterator[tuple[str, str]]:
    if item.exposures is not None:
        yield "outputs", f"{item.exposures:,}, {item.voted_share or 0:.1%} of them with a label"
    for by in item.segments:
        if by.exposure_weighted is not None:
            weighted = by.exposure_weighted
            yield (
                f"by {by.key}",
                f"{weighted.approval:.1%} ({weighted.low:.1%} to {weighted.high:.1%}) weighted by outputs",
            )
        for segment in by.segments:
            yield f"{by.key} {'(others)' if segment.rest else segment.value or '(none)'}", _share(segment)
    if item.drift is not None:
        yield (
            "mix of reasons",
            f"{item.drift.total_variation:.1%} away from release {item.drift.before}, noise {item.drift.noise:.1%}",
        )
    if item.comparison is not None:
        compared = item.comparison
        actors = f"{compared.release.actors:,} and {compared.other.actors:,} actors"
        interval = f"{compared.low:+.1%} to {compared.high:+.1%} at any time"
        yield f"against release {compared.other.release_number}", f"{interval}, {actors}"


def _share(item: wire.LabelShare) -> str:
    if item.approval is None:
        return "no labels"
    return f"{item.approval:.1%} ({item.low:.1%} to {item.high:.1%}) of {item.desirable + item.undesirable:,} labels"
