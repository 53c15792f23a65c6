"""The limits of what a judge may cost: requests and tokens, over all threads."""

import threading

from app.suites.endpoint import NotRequested

#: Characters that count as one token where the server does not say how many there were: few, so that none is free.
CHARACTERS_PER_TOKEN = 3


class BudgetSpent(NotRequested):
    """The budget does not allow another request."""


class Budget:
    """The most requests, each attempt counted, and the most tokens; None is no limit.

    paid_before  requests that somebody else has sent on the same budget
    """

    def __init__(self, requests: int | None = None, tokens: int | None = None, *, paid_before: int = 0) -> None:
        self._most_requests = requests
        self._paid_before = paid_before
        self._most_tokens = tokens
        self._lock = threading.Lock()
        self.requests = 0
        self.tokens = 0
        self.spent = False

    def take_request(self) -> None:
        """Counts a request that is about to be sent. Raises `BudgetSpent` if none is left."""
        with self._lock:
            if self._most_requests is not None and self._paid_before + self.requests >= self._most_requests:
                self.spent = True
                raise BudgetSpent(f"the judge's budget of {self._most_requests:,} requests is spent")
            self.requests += 1

    def reserve(self, characters: int, answer_tokens: int) -> int:
        """Counts the tokens that a request may use, and returns them. Raises `BudgetSpent` if they exceed the limit."""
        tokens = -(-characters // CHARACTERS_PER_TOKEN) + answer_tokens
        with self._lock:
            if self._most_tokens is not None and self.tokens + tokens > self._most_tokens:
                self.spent = True
                raise BudgetSpent(f"the judge's budget of {self._most_tokens:,} tokens is spent")
            self.tokens += tokens
        return tokens

    def settle(self, reserved: int, used: int | None) -> None:
        """Replaces reserved tokens by those that the server says were used, if it says so."""
        if used is not None:
            with self._lock:
                self.tokens += used - reserved
