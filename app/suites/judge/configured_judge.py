"""The judge that the settings name."""

from pathlib import Path

from app.settings import Settings
from app.suites.judge.answer_cache import AnswerCache
from app.suites.judge.budget import Budget
from app.suites.judge.judge import Judge


def judge_of(config: Settings, answers: Path | None = None, *, tries: int = 3) -> Judge | None:
    """Returns the judge, which the caller closes, or None if the settings name none.

    answers  a folder for the answers of one run. Those that an earlier attempt has paid for count against the budget.
    """
    if config.judge_url is None or config.judge_model is None:
        return None
    cache = None if answers is None else AnswerCache(answers)
    return Judge(
        config.judge_url,
        config.judge_model,
        None if config.judge_key is None else config.judge_key.get_secret_value(),
        timeout=config.judge_timeout,
        tries=tries,
        budget=Budget(config.judge_budget, paid_before=0 if cache is None else cache.count()),
        cache=cache,
    )
