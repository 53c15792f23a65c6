"""`make bench-snapshot`: the cost of a snapshot for logs of several sizes, against only copying their rows."""
