"""The client of Thumbwheel: `Client`, `AsyncClient` and the wire models."""

from thumbwheel.async_client import AsyncClient
from thumbwheel.client import Client
from thumbwheel.errors import ApiError, ClientError, Damaged, Unreachable

__all__ = ["ApiError", "AsyncClient", "Client", "ClientError", "Damaged", "Unreachable"]
