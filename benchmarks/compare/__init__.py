"""The parts of `make compare`: eleven ways to use one set of feedback on the demo's support desk."""
