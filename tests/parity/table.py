"""`python -m tests.parity.table`: prints every comparison with TRL as one Markdown table. Writes no file."""

import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch

from tests.parity import cases, curves, families, paired, unpaired
from tests.parity.compare import Table
from tests.trainer import tiny


def comparisons() -> Iterator[tuple[str, Callable[[], Table]]]:
    """Yields the name of each comparison and a function that computes it."""
    policy = tiny.model()
    sharper, taught = cases.sharpened(policy), cases.taught(policy)
    rows, pairs = cases.unpaired(), cases.preferences()
    batch = partial(unpaired.compared, policy, sharper)
    for objective in ("kto", "apo_zero_unpaired"):
        for beta, lambdas in ((0.02, (1.0, 2.3)), (0.1, (1.7, 1.0)), (0.3, (1.0, 1.0))):
            name = f"{objective}, β {beta}, λ {lambdas[0]} : {lambdas[1]}"
            yield name, partial(batch, rows, objective=objective, beta=beta, lambdas=lambdas)
    yield "kto, z0 clamped", partial(unpaired.compared, policy, taught, rows, lambdas=(1.7, 1.0))
    yield "kto, desirable rows only", partial(batch, cases.unpaired(desirable=True))
    yield "kto, undesirable rows only", partial(batch, cases.unpaired(desirable=False))
    for name, kind in (("LoRA", {}), ("rsLoRA", {"use_rslora": True}), ("DoRA", {"use_dora": True})):
        yield f"kto, {name} against a shipped adapter", partial(_adapted, **kind)
    for objective in paired.DPO_LOSSES:
        yield f"{objective}, β 0.1", partial(paired.preferences_compared, objective, policy, sharper, pairs, beta=0.1)
    yield "simpo, β 2, γ 0.5", partial(paired.simpo_compared, policy, pairs, beta=2.0, gamma=0.5)
    one_token = cases.preferences(letters=(2, 2), prompt="?")
    yield "orpo, β 0.1, prompts of one token", partial(paired.orpo_compared, policy, one_token, beta=0.1)
    yield "sft, completions of one length", partial(paired.sft_compared, policy, cases.unpaired(desirable=True))
    for family in families.FAMILIES:
        yield f"kto, {family}", partial(families.beside_trl, family)
    yield "kto, 50 steps, two micro-batches each", partial(curves.compared, accumulated=2)
    yield "apo_zero_unpaired, 50 steps", partial(curves.compared, "apo_zero_unpaired")
    yield "kto, 50 steps, LoRA against a shipped adapter", partial(curves.compared, lora=True, learning_rate=5e-3)


def _adapted(**kind: bool) -> Table:
    with tempfile.TemporaryDirectory() as folder:
        policy, shipped = unpaired.adapters(Path(folder), **kind)
        return unpaired.compared(policy, shipped, cases.unpaired(letters=2), lambdas=(1.7, 1.0))


def markdown() -> Iterator[str]:
    yield "| compared | quantity | ours | TRL 1.16 | relative difference |"
    yield "|---|---|---:|---:|---:|"
    for name, compare in comparisons():
        for quantity, figures in compare().items():
            yield f"| {name} | {quantity} | {figures.ours:.7g} | {figures.theirs:.7g} | {figures.relative:.1e} |"


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for line in markdown():
        print(line, flush=True)  # noqa: T201 - this module prints the table
