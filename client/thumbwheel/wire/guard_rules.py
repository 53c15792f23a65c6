"""The guards of a label policy: caps on influence, duplicates, and votes that wait in quarantine."""

from typing import Annotated

from pydantic import AfterValidator, Field

from thumbwheel.wire.values import Body

#: Far beyond what any product has; a number that is longer still was not meant.
MOST = 1_000_000_000


def _at_least_one_row(rows: float) -> float:
    if not rows >= 1:
        raise ValueError("is below one row, nothing could be learnt from anyone: give 1 at least, or no cap (null)")
    return rows


class Cap(Body):
    """The largest weight that one actor or prompt may have: the smaller of a share of all weight and a number of rows.

    With few actors or prompts, such a share would leave no data: then `times_equal` equal shares are allowed.
    """

    share: float = Field(gt=0, le=1)
    rows: Annotated[
        float, Field(le=MOST, allow_inf_nan=False, json_schema_extra={"minimum": 1}), AfterValidator(_at_least_one_row)
    ] = Field(description="in the weight of one thumb each")
    times_equal: float = Field(10, ge=1, le=MOST, description="never less than this many times an equal share of all")


class Influence(Body):
    """Rows that go over a cap weigh less, all of them by the same factor."""

    actor: Cap | None = Cap(share=0.005, rows=5_000)
    prompt: Cap | None = Cap(share=0.01, rows=10_000)


class NearDuplicates(Body):
    """Texts whose sets of pairs of neighbouring words are so alike (Jaccard, estimated by MinHash) count once."""

    similarity: float = Field(0.9, ge=0.5, le=1)
    permutations: int = Field(128, ge=16, le=1024)


class Duplicates(Body):
    """Rows with the same prompt and the same completion are one row, with the label of the heavier side."""

    exact: bool = Field(default=True, description="also where only case, spaces and Unicode forms differ")
    near: NearDuplicates | None = Field(None, description="takes about a millisecond a row")


class Burst(Body):
    """More votes of one actor within a short time than a person could give after reading."""

    votes: int = Field(60, ge=2, le=MOST)
    seconds: float = Field(60, gt=0, le=366 * 86_400)


class OneWay(Body):
    """An actor with many votes nearly all on one side, where the others' votes are not so."""

    votes: int = Field(50, ge=2, le=MOST)
    share: float = Field(0.97, gt=0.5, le=1)


class Ring(Body):
    """Actors who judge the same completions in the same way far more often than by chance."""

    together: int = Field(10, ge=2, le=MOST, description="completions that two actors both judged")
    overlap: float = Field(0.8, gt=0, le=1, description="of all that either judged (Jaccard)")
    agreement: float = Field(0.95, gt=0.5, le=1)
    actors: int = Field(3, ge=2, le=MOST, description="the fewest that are a ring")


class Quarantine(Body):
    """The rules that put votes in quarantine: they wait for an operator's decision, and do not count until then."""

    burst: Burst | None = Burst()
    one_way: OneWay | None = OneWay()
    ring: Ring | None = Ring()


class GuardRules(Body):
    influence: Influence = Influence()
    duplicates: Duplicates = Duplicates()
    quarantine: Quarantine = Quarantine()
