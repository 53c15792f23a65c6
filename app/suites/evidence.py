"""Collects what others have to say about an output before it is graded: embeddings, and the answers of a judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from thumbwheel import wire

from app.suites.assertions import NO_EMBEDDINGS, NO_EVIDENCE, Evidence, JudgeTask, Vector
from app.suites.endpoint import Endpoint, Missing
from app.suites.grading import judge_tasks_of, texts_to_embed_of
from app.suites.judge.answers import FactualityAnswer, RubricAnswer
from app.suites.judge.judge import Judge


@dataclass(frozen=True)
class EvidenceSource:
    """The endpoints that give evidence. What a missing one would decide stays undecided."""

    embeddings: Endpoint | None = None
    judge: Judge | None = None

    def of(self, test: wire.SuiteTest, output: str, prompt: Sequence[Mapping[str, Any]] | str) -> Evidence:
        """Returns what the assertions of a test need about an output; `prompt` is the filled prompt."""
        texts, tasks = texts_to_embed_of(test, output), judge_tasks_of(test, output)
        if not texts and not tasks:
            return NO_EVIDENCE
        vectors, reason = self._vectors(texts)
        judged = {} if self.judge is None else {task: _judged(self.judge, task, output, prompt) for task in tasks}
        return Evidence(vectors, reason, judged)

    def close(self) -> None:
        """Closes all connections."""
        for endpoint in (self.embeddings, self.judge):
            if endpoint is not None:
                endpoint.close()

    def _vectors(self, texts: Sequence[str]) -> tuple[Mapping[str, Vector], str]:
        if self.embeddings is None or not texts:
            return {}, NO_EMBEDDINGS
        try:
            return self.embeddings.embed(texts), NO_EMBEDDINGS
        except Missing as error:
            return {}, f"got no embedding: {error}"


def _judged(
    judge: Judge, task: JudgeTask, output: str, prompt: Sequence[Mapping[str, Any]] | str
) -> RubricAnswer | FactualityAnswer | str:
    try:
        if task.base == "factuality":
            return judge.factuality(prompt, output, task.value)
        return judge.rubric(output, task.value)
    except Missing as error:
        return f"got no judgement: {error}"
