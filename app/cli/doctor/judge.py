"""Check of the judge: that it answers, and in the form that it has to."""

from app.cli.doctor.finding import Finding
from app.settings import Settings

QUESTION = ("Which colour has a clear sky at noon?", "Blue.", "I will not tell you.")


def answers(config: Settings) -> Finding:
    """Asks the judge one question. A judge that does not answer leaves figures missing and stops nothing."""
    from app.suites.endpoint import Missing
    from app.suites.judge.configured_judge import judge_of

    judge = judge_of(config, tries=1)
    if judge is None:
        return Finding("Judge", "ok", "none is configured: runs are not judged")
    try:
        judge.prefer(*QUESTION)
    except Missing as reason:
        remedy = "check THUMBWHEEL_JUDGE_URL, _MODEL and _KEY; until then, the figures of runs lack the judge's"
        return Finding("Judge", "note", f"{judge.model} gives no usable answer ({reason}): {remedy}")
    finally:
        judge.close()
    return Finding("Judge", "ok", f"{judge.model} answers in the right form")
