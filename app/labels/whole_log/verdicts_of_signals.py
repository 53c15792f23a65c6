"""The verdict of a policy on each distinct signal of a log. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from thumbwheel import wire

from app.labels import verdicts
from app.labels.verdicts import Context, SignalVerdict
from app.labels.whole_log.events import NAME, UNKNOWN_EDIT


class Verdicts:
    """The verdicts by index of the signal. `order` ranks them as reasons are reported: the heaviest first."""

    def __init__(self, found: Sequence[SignalVerdict | None]) -> None:
        self.found = found
        self.says = np.array([verdict is not None for verdict in found], dtype=bool)
        self.rank = np.array([verdict.rank if verdict else 0 for verdict in found], dtype=np.int8)
        self.desirable = np.array([bool(verdict and verdict.desirable) for verdict in found], dtype=bool)
        self.weight = np.array([verdict.weight if verdict else 0 for verdict in found], dtype=np.int32)
        self.reason = pl.Series([verdict.reason if verdict else None for verdict in found], dtype=NAME)
        keys = sorted({(-verdict.weight, verdict.rank, verdict.reason) for verdict in found if verdict})
        self.reasons = [reason for _, _, reason in keys]
        index = {key: number for number, key in enumerate(keys)}
        self.order = np.array(
            [index[-verdict.weight, verdict.rank, verdict.reason] if verdict else 0 for verdict in found],
            dtype=np.uint32,
        )


def verdict_of(policy: wire.LabelPolicy, body: Mapping[str, Any], context: Context) -> SignalVerdict | None:
    if body["kind"] != "edit":
        return verdicts.of_signal(policy, body, context)
    severity = body["severity"]
    return None if severity == UNKNOWN_EDIT else verdicts.of_edit(policy, severity)


def kinds_of(signals: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(
        {"kind": [body["kind"] for body in signals], "detail": [_detail(body) for body in signals]},
        schema={"kind": pl.String, "detail": pl.String},
    )


def _detail(body: Mapping[str, Any]) -> str | None:
    match body["kind"]:
        case "thumbs":
            return str(body["value"])
        case "edit":
            return str(body["severity"])
        case "rating":
            return f"{verdicts.place(body):g}"
        case "outcome":
            return f"{body['name']} {str(body['value']).lower()}"
        case "flag":
            return ", ".join(body["flags"])
        case _:
            return None
