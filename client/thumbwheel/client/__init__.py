"""The HTTP client: `Client`, with one class per area of the API."""

from thumbwheel.client.client import Client

__all__ = ["Client"]
