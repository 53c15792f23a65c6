"""The ways in which rows share a batch, fastest first.

    PADDED    rows of any lengths, padded on the left, with a cache; new rows join while others continue
    ALIGNED   prompts of equal length, without padding, with a cache
    UNCACHED  prompts of equal length, which are read whole for each token; right for any model

`trial` finds the fastest one that is right for a model.
"""

import inspect
from typing import Any, NamedTuple

#: Names under which models take their cache.
CACHE_NAMES = ("past_key_values", "cache_params")


class BatchWay(NamedTuple):
    padded: bool
    cache_name: str  # the parameter that takes the cache; empty without a cache

    @property
    def cached(self) -> bool:
        return bool(self.cache_name)


PADDED = BatchWay(padded=True, cache_name=CACHE_NAMES[0])
UNCACHED = BatchWay(padded=False, cache_name="")


def ways_of(model: Any) -> list[BatchWay]:
    """Returns the ways that the model may support, fastest first; the last one always works."""
    names = [name for name in CACHE_NAMES if name in parameters_of(model)]
    if not names:
        return [UNCACHED]
    return [BatchWay(padded=True, cache_name=names[0]), BatchWay(padded=False, cache_name=names[0]), UNCACHED]


def parameters_of(model: Any) -> frozenset[str]:
    """Returns the names of the parameters of the model's forward; those of the model inside an adapter."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return frozenset(inspect.signature(inner.forward).parameters)
