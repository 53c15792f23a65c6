"""`make bench-train`: the trainer beside TRL's KTOTrainer.

Both run their own real loops, on the same rows, in one process and one thread: each pauses after every optimizer step
and another one takes its turn, in an order that alternates (`lane`, `race`). Ours is driven through its public contract
alone (WORKDIR and the wish to stop, `ours`), TRL through `trainer.train()` (`theirs`). So whatever either does in a
step is in its time: reading, guards, clipping, optimizer, log lines.

Five lanes, equal model, rows, precision and AdamW settings:

    trl              as installed: reference online, rows as they come (TRL forbids shuffling), random batches
    ours_same        ours on those very batches and mismatched pairs: equal losses are checked first, then it gives
                     step_ratio
    trl_precomputed  as trl, with its option to precompute the reference
    trl_best         the same with rows sorted by length beforehand
    ours             ours with blocks and pairs of its own plan: together with TRL's lanes it gives the ratios of jobs

TRL computes without gradient checkpointing, which it has on by default: faster, and more memory. Memory is therefore
told beside both. What TRL has no equal of (drift checks, training checkpoints) is off.
"""
