"""Studies and measurements that take minutes: each has a make target, and leaves its figures in benchmarks/results."""
