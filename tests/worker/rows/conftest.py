"""Shorter pauses between two looks at a trainer or a lease."""

import pytest

from worker.children import heartbeat, processes


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(heartbeat, "LONGEST_PAUSE_SECONDS", 0.1)
