"""Items that a process puts before it ends are sent once, by the process that put them."""

import subprocess
import sys
import textwrap
from typing import Any

from tests.client.faulty_api import FaultyApi


def run(script: str, api: FaultyApi) -> Any:
    """Runs a product's process to its end."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), api.url], capture_output=True, text=True, timeout=60
    )


def test_a_process_and_its_forks_send_at_their_ends_what_they_have_put(faulty):
    done = run(
        """
        import multiprocessing, os, sys
        from thumbwheel import FeedbackQueue

        thumbs = FeedbackQueue(sys.argv[1], interval=60)

        def work():
            thumbs.up("multiprocessing", "user-1", event_id="multiprocessing")

        thumbs.up("before", "user-1", event_id="before")
        if not os.fork():
            thumbs.up("fork", "user-1", event_id="fork")
            sys.exit()
        os.wait()
        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        process.join()
        thumbs.complete("A prompt", "An answer", completion_id="completion")
        """,
        faulty,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(faulty.stored) == ["before", "completion", "fork", "multiprocessing"]


def test_an_api_that_does_not_answer_does_not_keep_a_process_alive(faulty):
    faulty.open.clear()

    done = run(
        """
        import sys
        from thumbwheel import FeedbackQueue

        thumbs = FeedbackQueue(sys.argv[1], close_seconds=0.2, on_error=lambda item: print(item.code, item.id))
        thumbs.up("msg-1", "user-1", event_id="e-1")
        """,
        faulty,
    )

    assert (done.returncode, done.stdout) == (0, "closed e-1\n")
    assert "1 items of feedback were not sent" in done.stderr
