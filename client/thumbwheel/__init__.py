"""The client of Thumbwheel: `Client`, `AsyncClient`, `FeedbackQueue` and the wire models."""

from thumbwheel.async_client import AsyncClient
from thumbwheel.client import Client
from thumbwheel.context import feedback_context, last_completion_id
from thumbwheel.errors import ApiError, ClientError, Damaged, NotDelivered, QueueFull, Unreachable
from thumbwheel.feedback_queue import FeedbackQueue, QueueFigures, Undelivered
from thumbwheel.openai_calls import wrap_openai

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "ClientError",
    "Damaged",
    "FeedbackQueue",
    "NotDelivered",
    "QueueFigures",
    "QueueFull",
    "Undelivered",
    "Unreachable",
    "feedback_context",
    "last_completion_id",
    "wrap_openai",
]
