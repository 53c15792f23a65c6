"""Prints a comparison or sweep: a table of its arms, differences, notices and the recommendation."""

from thumbwheel import wire

from app.cli.listing import as_table, console, figure, print_json, show_one, when
from app.runs.states import TERMINAL


def show_job(job: wire.ComparisonJob, *, as_json: bool) -> None:
    """Prints the job as tables at a terminal, else as a JSON document."""
    if not as_table(as_json):
        print_json(job.model_dump(mode="json"))
        return
    from rich.table import Table
    from rich.text import Text

    names = ("arm", "runs", "AUROC", "KL nats/token", "length ratio", "suites passed", "gates", "changes")
    table = Table(*names, box=None, header_style="bold", pad_edge=False)
    for arm in job.arms:
        table.add_row(*(Text(cell) for cell in _cells(arm)))
    console().print(table)
    lines = {
        "id": str(job.id),
        "state": f"{job.kind} {job.state}" + (f": {job.reason}" if job.reason else ""),
        "runs": f"{job.runs_ended} of {job.runs_planned} have ended",
        "reference": str(job.reference_checkpoint_id),
        "snapshot": str(job.snapshot_id or "–"),
        "at": when(job.created_at),
        "finished": when(job.finished_at),
        "each arm gets": "\n".join(f"{arm.name}: {'; '.join(arm.budget)}" for arm in job.arms),
        "differences": "\n".join(map(_in_words, job.differences)) or "none",
        "notices": "\n".join(job.notices),
        "recommended": job.recommendation.arm or "none",
        "reason": job.recommendation.reason,
    }
    show_one(job, lines, as_json=as_json)


def progress_line(job: wire.ComparisonJob) -> str:
    """Returns the progress of the job in one line."""
    active = [(arm, run) for arm in job.arms for run in arm.runs if run.state is not None and run.state not in TERMINAL]
    now = "".join(f"; {arm.name}, seed {run.seed}: {run.state}" for arm, run in active)
    return f"{job.kind} {job.state}: {job.runs_ended} of {job.runs_planned} runs have ended{now}"


def _cells(arm: wire.ArmResult) -> list[str]:
    states: dict[str, int] = {}
    for run in arm.runs:
        state = run.state or "planned"
        states[state] = states.get(state, 0) + 1
    verdicts = sorted({run.verdict for run in arm.runs if run.verdict})
    return [
        arm.name,
        ", ".join(f"{count} {state}" for state, count in states.items()) or "–",
        _figure(arm.auroc),
        _figure(arm.kl_nats_per_token),
        _figure(arm.length_ratio),
        ", ".join(f"{name} {_figure(share)}" for name, share in arm.suites.items()) or "–",
        ", ".join(verdicts) or "–",
        ", ".join(f"{name}={value}" for name, value in arm.changes.given().items()) or "–",
    ]


def _figure(shown: wire.ArmFigure) -> str:
    return figure(shown.model_dump())


def _in_words(difference: wire.ArmDifference) -> str:
    parts = []
    if difference.auroc.value is not None:
        parts.append(f"{_figure(difference.auroc)} AUROC")
    elif difference.auroc.reason is not None:
        parts.append(f"AUROC unknown: {difference.auroc.reason}")
    if difference.prompts:
        tokens = _with_unit(difference.tokens, "tokens")
        drift = _with_unit(difference.kl_nats_per_completion, "nats of drift")
        parts.append(f"on {difference.prompts} prompts {tokens}, {drift}")
    return f"{difference.first} minus {difference.second}: {'; '.join(parts)}"


def _with_unit(shown: wire.ArmFigure, unit: str) -> str:
    return f"{unit} unknown: {shown.reason}" if shown.value is None else f"{_figure(shown)} {unit}"
