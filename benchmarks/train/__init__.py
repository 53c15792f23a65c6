"""`make bench-train`: the trainer against TRL's KTOTrainer.

Both run their own real loops, on the same rows, in one process and one thread: each pauses after every optimizer step
and the next takes its turn, in alternating order (`lane`, `race`). Ours is driven only through its public contract
(WORKDIR and stop requests, `ours`), TRL through `trainer.train()` (`theirs`). A step's time therefore includes all that
either does in it: reading, guards, clipping, optimizer, log lines.

Five lanes, with the same model, rows, precision and AdamW settings:

    trl              as installed: reference online, rows in the given order (TRL forbids shuffling), random batches
    ours_same        ours on the same batches and mismatched pairs: equal losses are checked first, then it gives
                     step_ratio
    trl_precomputed  as trl, with its option to precompute the reference
    trl_best         as trl_precomputed, with rows sorted by length beforehand
    ours             ours with blocks and pairs of its own plan: together with TRL's lanes it gives the ratios of jobs

TRL computes without gradient checkpointing, which is on by default: faster, but with more memory. Memory is therefore
compared with and without it. Features without a counterpart in TRL (drift checks, training checkpoints) are off.
"""
