"""Compares the trainer's numbers with those of TRL 1.16 (https://github.com/huggingface/trl, tag v1.16.0).

Both sides get the same tiny models, rows and mismatched pairs, in float32 on one CPU thread. TRL runs as for
its users: its own trainer classes tokenise, collate and compute the loss. Each comparison is a function that
returns `compare.Table`; `python -m tests.parity.table` prints them all.
"""
