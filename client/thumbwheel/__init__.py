"""The client of Thumbwheel: `Client` and the wire models."""
