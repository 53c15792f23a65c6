"""Runs suites against an endpoint or a model in a folder.

Each test with each of its prompts is a sample; several are in work at once, and each output is graded as it arrives.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

from thumbwheel import wire

from app.suites.consecutive_misses import ConsecutiveMisses
from app.suites.documents import sha256_of
from app.suites.endpoint import Endpoint, Missing, Sampling, WrittenText
from app.suites.evidence import EvidenceSource
from app.suites.grading import GradedTest, grade_test, undecided_test
from app.suites.report import SampleOutcome, SuiteReport
from app.suites.samples import SuiteSample, samples_of

#: Writes the output of each sample, when it is called. Raises `Missing`.
Writers = Sequence[Callable[[], WrittenText]]


class EndpointTarget:
    """The model behind an endpoint as what a suite runs against."""

    def __init__(self, endpoint: Endpoint, sampling: Sampling) -> None:
        self._endpoint = endpoint
        self._sampling = sampling
        self._misses = ConsecutiveMisses()

    def writers(self, samples: Sequence[SuiteSample]) -> Writers:
        """Returns for each sample the call that requests its output."""
        return [partial(self._write, sample) for sample in samples]

    def _write(self, sample: SuiteSample) -> WrittenText:
        return self._misses.attempt(lambda: self._endpoint.write(sample.messages(), self._sampling))


class Target(Protocol):
    """The source of outputs that a suite runs against: an endpoint, or a model in a folder."""

    def writers(self, samples: Sequence[SuiteSample]) -> Writers:
        """Returns for each sample the call that returns its output or raises `Missing`."""


class Runner:
    """Runs samples against a target; the source of evidence serves what needs embeddings or a judge."""

    def __init__(self, target: Target, source: EvidenceSource) -> None:
        self._target = target
        self._source = source

    def run(
        self, suites: Sequence[wire.Suite], *, concurrency: int, advance: Callable[[], None] = lambda: None
    ) -> list[SuiteReport]:
        """Returns a report per suite. `advance` is called after each sample, in any thread."""

        def outcome_of(sample: SuiteSample, write: Callable[[], WrittenText]) -> SampleOutcome:
            outcome = self._outcome(sample, write)
            advance()
            return outcome

        samples = [samples_of(suite) for suite in suites]
        writers = iter(self._target.writers([sample for group in samples for sample in group]))
        executor = ThreadPoolExecutor(concurrency, thread_name_prefix="suites")
        try:
            futures = [[executor.submit(outcome_of, sample, next(writers)) for sample in group] for group in samples]
            return [
                SuiteReport(suite, sha256_of(suite), [future.result() for future in group])
                for suite, group in zip(suites, futures, strict=True)
            ]
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    def _outcome(self, sample: SuiteSample, write: Callable[[], WrittenText]) -> SampleOutcome:
        try:
            answer = write()
        except Missing as error:
            return _outcome(sample, None, undecided_test(sample.test, f"no answer: {error}"))
        evidence = self._source.of(sample.test, answer.text, sample.messages())
        return _outcome(sample, answer, grade_test(sample.test, answer.text, evidence))


def _outcome(sample: SuiteSample, answer: WrittenText | None, graded: GradedTest) -> SampleOutcome:
    return SampleOutcome(
        test=sample.number,
        description=sample.test.description,
        prompt=sample.prompt.label,
        output=None if answer is None else answer.text,
        cut_off=answer is not None and answer.cut_off,
        graded=graded,
    )
