"""Measures what the gateway adds to a streamed answer."""
