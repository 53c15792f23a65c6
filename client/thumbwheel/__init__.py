"""The client of Thumbwheel: `Client` and the wire models."""

from thumbwheel.client import Client
from thumbwheel.errors import ApiError, ClientError, Damaged, Unreachable

__all__ = ["ApiError", "Client", "ClientError", "Damaged", "Unreachable"]
