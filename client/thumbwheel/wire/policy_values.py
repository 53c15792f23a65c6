"""The values in label policies: weights, places on a scale, shares, times, labels."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field


def _in_thousandths(weight: float) -> float:
    thousandths = round(weight * 1000)
    if abs(weight * 1000 - thousandths) > 1e-6 or thousandths == 0:
        raise ValueError("has more than three decimals: round it, for example to 0.125")
    return thousandths / 1000


def _on_the_scale(place: float) -> float:
    if not 0 <= place <= 1:
        raise ValueError("lies outside of the scale: 0 is its lowest and 1 its highest value, 4 of 1 to 5 is 0.75")
    return place


#: In thousandths, so that sums are exact and ties are ties.
Weight = Annotated[
    float,
    Field(gt=0, le=10, description="how much it counts, in thousandths at most; a thumb counts 1"),
    AfterValidator(_in_thousandths),
]
Place = Annotated[
    float,
    Field(allow_inf_nan=False, json_schema_extra={"minimum": 0, "maximum": 1}),
    AfterValidator(_on_the_scale),
]
Share = Annotated[float, Field(ge=0, le=1)]
Hours = Annotated[float, Field(gt=0, le=24 * 366)]
Label = Literal["desirable", "undesirable"]
#: Groups of signals in the order of precedence; implicit: accept, reject, copy, regenerate, escalate, reopen, resolve.
Precedence = Literal["thumbs", "flag", "edit", "rating", "preference", "outcome", "implicit"]
