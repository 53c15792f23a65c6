"""`make bench-labels`: the cost of resolving a whole log, against only reading its rows."""
