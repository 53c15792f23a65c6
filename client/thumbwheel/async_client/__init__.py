# Written by tools/async_client.py from ../client/__init__.py: change that file, then run `make async-client`.
"""The HTTP client for asyncio: `AsyncClient`, with one class per area of the API."""

from thumbwheel.async_client.client import AsyncClient

__all__ = ["AsyncClient"]
