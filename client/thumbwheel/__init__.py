"""The client of Thumbwheel: `Client` and the wire models."""

from thumbwheel.client import ApiError, Client, ClientError, Damaged, Unreachable

__all__ = ["ApiError", "Client", "ClientError", "Damaged", "Unreachable"]
