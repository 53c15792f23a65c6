"""A lane: one trainer that runs its own loop, and pauses at each event until it is its turn again.

It runs as a greenlet, so all lanes share one thread: the same pool of arithmetic threads, the same arenas of the
allocator. A trainer's process-wide torch settings apply only during its own turns, and so do a lane's swaps. Warnings
are ignored.
"""

import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import reduce
from time import perf_counter, process_time
from typing import Any, Literal, NamedTuple
from unittest.mock import patch

import torch
from greenlet import greenlet

#: loaded: the work independent of the number of rows · reference: a part of that pass · step: a whole optimizer step
Event = Literal["loaded", "reference", "step"]
#: "package.module:name" or "package.module:Class.name" → function from the original to the value during the turns.
Swaps = Mapping[str, Callable[[Any], Any]]


class Turn(NamedTuple):
    """A lane's turn, up to its pause."""

    event: Event
    seconds: float
    cpu_seconds: float  # of all threads, without other work on the machine


class Ended(Exception):
    """A trainer ended before its lane was closed."""


@dataclass
class Lane:
    """One trainer. `loop(lane)` runs it, calls `pause` at each event, and never ends by itself."""

    name: str
    loop: Callable[["Lane"], None]
    losses: Callable[[], Sequence[float]]  # of the steps so far
    rows: Callable[[], Sequence[Sequence[int]]]  # lengths of the rows of each block, in the order of the steps
    swaps: Swaps = field(default_factory=dict)
    held_bytes: int = 0  # on the GPU, of this lane
    peak_bytes: int = 0

    def __post_init__(self) -> None:
        self._greenlet = greenlet(self._run)
        self._flags = Flags.now()

    def advance(self) -> Turn:
        """Runs the trainer up to its next event. Raises `Ended`."""
        with self._surroundings():
            started, cpu_started = perf_counter(), process_time()
            event: Event | None = self._greenlet.switch()
            seconds, cpu_seconds = perf_counter() - started, process_time() - cpu_started
        if event is None:
            raise Ended(f"{self.name} ended too early: it has too few epochs")
        return Turn(event, seconds, cpu_seconds)

    def until(self, event: Event) -> float:
        """Runs the trainer up to its next `event`; returns the seconds that it took."""
        turns = [self.advance()]
        while turns[-1].event != event:
            turns.append(self.advance())
        return sum(turn.seconds for turn in turns)

    def pause(self, event: Event) -> None:
        """Ends the turn at this event. The trainer's loop calls this."""
        _wait_for_device()
        self._greenlet.parent.switch(event)

    def close(self) -> None:
        with self._surroundings():
            self._greenlet.throw()

    def _run(self) -> None:
        self.loop(self)

    @contextmanager
    def _surroundings(self) -> Iterator[None]:
        outside = Flags.now()
        with ExitStack() as stack:
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            for path, replacement in self.swaps.items():
                owner, attribute = owner_of(path)
                stack.enter_context(patch.object(owner, attribute, replacement(getattr(owner, attribute))))
            self._flags.set()
            before = _allocated()
            try:
                yield
            finally:
                self._flags = Flags.now()
                outside.set()
                self._count_memory(before)

    def _count_memory(self, before: int) -> None:
        if torch.cuda.is_available():
            self.peak_bytes = max(self.peak_bytes, self.held_bytes + torch.cuda.max_memory_allocated() - before)
            self.held_bytes += torch.cuda.memory_allocated() - before


def owner_of(path: str) -> tuple[Any, str]:
    """Returns the module or class that has the attribute at `path`, and the attribute's name."""
    module, _, name = path.partition(":")
    *owners, attribute = name.split(".")
    return reduce(getattr, owners, importlib.import_module(module)), attribute


@dataclass(frozen=True)
class Flags:
    """Process-wide torch settings that a trainer may change."""

    deterministic: bool
    warn_only: bool
    fill_memory: bool
    gradients: bool
    matmul: str

    @classmethod
    def now(cls) -> "Flags":
        return cls(
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.utils.deterministic.fill_uninitialized_memory,  # type: ignore[attr-defined]
            torch.is_grad_enabled(),
            torch.get_float32_matmul_precision(),
        )

    def set(self) -> None:
        torch.use_deterministic_algorithms(self.deterministic, warn_only=self.warn_only)
        torch.utils.deterministic.fill_uninitialized_memory = self.fill_memory  # type: ignore[attr-defined]
        torch.set_grad_enabled(self.gradients)
        torch.set_float32_matmul_precision(self.matmul)


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _allocated() -> int:
    """Returns the allocated bytes on the GPU, and resets the peak."""
    if not torch.cuda.is_available():
        return 0
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()
