"""Runs suites against an endpoint: a sample for each test and prompt, several at once, judged as they arrive."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from thumbwheel import wire

from app.suites.assertions import NO_EVIDENCE, Evidence
from app.suites.documents import sha256_of
from app.suites.endpoint import Endpoint, Missing, Sampling, WrittenText
from app.suites.grading import GradedTest, grade_test, texts_to_embed_of, undecided_test
from app.suites.report import SampleOutcome, SuiteReport
from app.suites.samples import SuiteSample, samples_of

#: After this number of requests in a row without an answer, no further one is sent.
MOST_MISSES_IN_A_ROW = 10


class Runner:
    """Runs samples against `model`; `embeddings` serves assertions of type similar."""

    def __init__(self, model: Endpoint, sampling: Sampling, embeddings: Endpoint | None = None) -> None:
        self._model = model
        self._sampling = sampling
        self._embeddings = embeddings
        self._misses_in_a_row = 0
        self._lock = threading.Lock()

    def run(
        self, suites: Sequence[wire.Suite], *, concurrency: int, advance: Callable[[], None] = lambda: None
    ) -> list[SuiteReport]:
        """Returns a report per suite. `advance` is called after each sample, in any thread."""

        def outcome_of(sample: SuiteSample) -> SampleOutcome:
            outcome = self._outcome(sample)
            advance()
            return outcome

        samples = [samples_of(suite) for suite in suites]
        executor = ThreadPoolExecutor(concurrency, thread_name_prefix="suites")
        try:
            futures = [[executor.submit(outcome_of, sample) for sample in group] for group in samples]
            return [
                SuiteReport(suite, sha256_of(suite), [future.result() for future in group])
                for suite, group in zip(suites, futures, strict=True)
            ]
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    def _outcome(self, sample: SuiteSample) -> SampleOutcome:
        try:
            answer = self._answer(sample)
        except Missing as error:
            return _outcome(sample, None, undecided_test(sample.test, f"no answer: {error}"))
        return _outcome(sample, answer, grade_test(sample.test, answer.text, self._evidence(sample.test, answer.text)))

    def _answer(self, sample: SuiteSample) -> WrittenText:
        with self._lock:
            if self._misses_in_a_row >= MOST_MISSES_IN_A_ROW:
                raise Missing(f"it was not requested, as {MOST_MISSES_IN_A_ROW} requests in a row got no answer")
        try:
            answer = self._model.write(sample.messages(), self._sampling)
        except Missing:
            with self._lock:
                self._misses_in_a_row += 1
            raise
        with self._lock:
            self._misses_in_a_row = 0
        return answer

    def _evidence(self, test: wire.SuiteTest, output: str) -> Evidence:
        texts = texts_to_embed_of(test, output)
        if not texts or self._embeddings is None:
            return NO_EVIDENCE
        try:
            return Evidence(self._embeddings.embed(texts))
        except Missing as error:
            return Evidence(no_vectors=f"got no embedding: {error}")


def _outcome(sample: SuiteSample, answer: WrittenText | None, graded: GradedTest) -> SampleOutcome:
    return SampleOutcome(
        test=sample.number,
        description=sample.test.description,
        prompt=sample.prompt.label,
        output=None if answer is None else answer.text,
        cut_off=answer is not None and answer.cut_off,
        graded=graded,
    )
