"""Gathers the page of a project's comparisons and sweeps: a list, and one of them with a table and a plot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from markupsafe import Markup
from sqlalchemy.orm import Session
from thumbwheel import wire

from app.dashboard import plots
from app.projects import service as projects
from app.runs.comparisons import service as comparisons

SHOWN = 20
#: Points of the plot: more could not be distinguished.
PLOTTED = 16


@dataclass(frozen=True)
class ComparisonsView:
    project: wire.Project
    jobs: Sequence[wire.ComparisonJob]
    shown: wire.ComparisonJob | None
    plot: Markup


def view_of(session: Session, project: str, job_id: UUID | None) -> ComparisonsView:
    """Returns the contents of the page; the newest job is shown for None. Raises `NotFound`."""
    configuration = projects.get(session, project)
    jobs = comparisons.page(session, project, cursor=None, limit=SHOWN).items
    newest = jobs[0] if jobs else None
    shown = newest if job_id is None else comparisons.get(session, project, job_id)
    return ComparisonsView(configuration, jobs, shown, plot_of(shown) if shown else Markup())


def plot_of(job: wire.ComparisonJob) -> Markup:
    """Returns the plot of AUROC against drift, of the arms with both figures, the highest AUROC first."""
    complete = [arm for arm in job.arms if arm.auroc.low is not None and arm.kl_nats_per_token.low is not None]
    best = sorted(complete, key=lambda arm: arm.auroc.value or 0.0, reverse=True)[:PLOTTED]
    points = {arm.name: plots.Cross(_triple(arm.kl_nats_per_token), _triple(arm.auroc)) for arm in best}
    return plots.crosses("Held-out AUROC against drift, nats per token", points, budget=job.kl_budget)


def states(arm: wire.ArmResult) -> Mapping[str, int]:
    """Returns the number of the arm's runs by state."""
    counts: dict[str, int] = {}
    for run in arm.runs:
        state = run.state or "planned"
        counts[state] = counts.get(state, 0) + 1
    return counts


def _triple(figure: wire.ArmFigure) -> tuple[float, float, float]:
    assert figure.low is not None
    assert figure.value is not None
    assert figure.high is not None
    return figure.low, figure.value, figure.high
