"""Real feedback that people gave, imported whole, with figures of what its labels and snapshots rest on."""
