"""`make bench-client`, in parts: a product in threads and in tasks counts its requests with and without puts."""

import asyncio

import pytest
from thumbwheel import FeedbackQueue

from benchmarks.client import product
from benchmarks.client.product import Product, figures, in_tasks, in_threads
from tests.client.faulty_api import faulty_api


@pytest.mark.parametrize("mode", ["threads", "asyncio"])
def test_a_product_counts_its_requests_with_and_without_puts(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr(product, "CALLERS", 5)
    monkeypatch.setattr(product, "PACE_SECONDS", 0.01)
    monkeypatch.setattr(product, "TURN_SECONDS", 0.1)
    with faulty_api() as api, FeedbackQueue(api.url) as thumbs:
        measured = Product(thumbs, 0.2)
        if mode == "threads":
            in_threads(measured)
        else:
            asyncio.run(in_tasks(measured))
        assert thumbs.flush(20)
        shown = figures(measured, thumbs)

    requests = shown["requests"]
    assert requests > 5
    assert len(measured.times.request_without) > 5
    assert shown["stored"] == len(api.stored) == 2 * requests + 2
    assert 0 < shown["thumb_p50_ms"] <= shown["thumb_p99_ms"]
