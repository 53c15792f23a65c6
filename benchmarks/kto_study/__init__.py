"""The parts of `make study-kto`: KTO on the demo's support desk against the claims of its paper."""
