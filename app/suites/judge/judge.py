"""A judge behind an endpoint: a model that answers questions about what other models write.

    question ─▶ answer kept earlier? ─▶ budget ─▶ endpoint (time-out, retries) ─▶ strict reading ─▶ kept

Everything that ends without an answer raises `Missing` with the reason. A missing judgement is never a bad one.
"""

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from app.suites.consecutive_misses import ConsecutiveMisses
from app.suites.endpoint import Endpoint, Missing, Sampling, WrittenText
from app.suites.judge import answers, preference, questions
from app.suites.judge.answer_cache import AnswerCache, key_of
from app.suites.judge.budget import Budget

ANSWER_TOKENS = 1024

Answer = TypeVar("Answer", answers.RubricAnswer, answers.FactualityAnswer, answers.PreferenceAnswer)


class Judge:
    """A model that judges, greedily, within a budget.

    requests      sent so far, each attempt counted
    from_cache    questions whose answer was kept earlier
    budget_spent  whether a question was not sent because the budget is spent
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        *,
        timeout: float = 60,
        tries: int = 3,
        answer_tokens: int = ANSWER_TOKENS,
        budget: Budget | None = None,
        cache: AnswerCache | None = None,
    ) -> None:
        self._budget = budget or Budget()
        self._endpoint = Endpoint(
            url, model, key, timeout=timeout, tries=tries, before_attempt=self._budget.take_request,
            tokens_option="the judge's limit of tokens",
        )  # fmt: skip
        self._sampling = Sampling(max_tokens=answer_tokens)
        self._cache = cache
        self._misses = ConsecutiveMisses()
        self._lock = threading.Lock()
        self.from_cache = 0

    def close(self) -> None:
        """Closes all connections; a request that is under way fails."""
        self._endpoint.close()

    @property
    def model(self) -> str:
        return self._endpoint.model

    @property
    def requests(self) -> int:
        return self._budget.requests

    @property
    def budget_spent(self) -> bool:
        return self._budget.spent

    def usage(self) -> dict[str, Any]:
        """Returns what the judge has cost so far, as JSON values."""
        return {
            "model": self.model, "requests": self.requests, "tokens": self._budget.tokens,
            "from_cache": self.from_cache, "budget_spent": self.budget_spent,
        }  # fmt: skip

    def rubric(self, output: str, rubric: Any) -> answers.RubricAnswer:
        """Returns whether an output satisfies a rubric. Raises `Missing`."""
        return self._ask(questions.rubric_question(output, rubric), answers.rubric_answer)

    def factuality(
        self, prompt: Sequence[Mapping[str, Any]] | str, output: str, expert: str
    ) -> answers.FactualityAnswer:
        """Returns how the facts of an output relate to those of an expert's answer. Raises `Missing`."""
        return self._ask(questions.factuality_question(prompt, output, expert), answers.factuality_answer)

    def compare(self, prompt: Sequence[Mapping[str, Any]] | str, candidate: str, other: str) -> preference.JudgedPair:
        """Returns the judgement of two outputs in both orders; missing if either order has no answer."""
        if candidate == other:
            return preference.UNCHANGED
        try:
            first = self.prefer(prompt, candidate, other)
            second = self.prefer(prompt, other, candidate)
        except Missing as error:
            return preference.JudgedPair(None, missing=str(error))
        return preference.in_both_orders(first.better, second.better)

    def prefer(self, prompt: Sequence[Mapping[str, Any]] | str, first: str, second: str) -> answers.PreferenceAnswer:
        """Returns which of two outputs is better, in this order alone. Raises `Missing`."""
        return self._ask(questions.preference_question(prompt, first, second), answers.preference_answer)

    def _ask(self, question: questions.Question, read: Callable[[str], Answer]) -> Answer:
        messages = question.messages()
        key = key_of(self.model, messages, {"temperature": 0, "max_tokens": self._sampling.max_tokens})
        answer = self._kept(key, read)
        if answer is None:
            answer = self._read(self._write(messages), question, read)
            if self._cache is not None:
                self._cache.put(key, json.dumps(answer.document(), ensure_ascii=False))
        shortened = question.shortened()
        return replace(answer, reason=f"{answer.reason} ({shortened})") if shortened else answer

    def _kept(self, key: str, read: Callable[[str], Answer]) -> Answer | None:
        """Returns the answer that was kept earlier, if there is one that this version can read."""
        kept = self._cache.get(key) if self._cache is not None else None
        if kept is None:
            return None
        try:
            answer = read(kept)
        except answers.UnusableAnswer:
            return None
        with self._lock:
            self.from_cache += 1
        return answer

    def _read(self, written: WrittenText, question: questions.Question, read: Callable[[str], Answer]) -> Answer:
        try:
            answer = read(written.text)
        except answers.UnusableAnswer as error:
            cut = f" (it was cut off after {self._sampling.max_tokens} tokens)" if written.cut_off else ""
            shortened = question.shortened()
            reason = f"the judge's answer is not usable: {error}{cut}{f'; {shortened}' if shortened else ''}"
            raise Missing(self._endpoint.without_key(reason)) from None
        return replace(answer, reason=self._endpoint.without_key(answer.reason))

    def _write(self, messages: Sequence[Mapping[str, Any]]) -> WrittenText:
        reserved = self._budget.reserve(sum(len(message["content"]) for message in messages), self._sampling.max_tokens)
        written = self._misses.attempt(lambda: self._endpoint.write(messages, self._sampling))
        self._budget.settle(reserved, written.tokens)
        return written
