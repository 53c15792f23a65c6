"""The assignment of actors to a canary."""

from hashlib import sha256
from uuid import UUID

import pytest
from thumbwheel.assignment import in_canary

CHECKPOINT = UUID("0193f2a0-0000-7000-8000-000000000001")


def test_the_place_of_an_actor_is_the_one_that_the_documentation_says():
    digest = sha256(b"acme\n0193f2a0-0000-7000-8000-000000000001\nactor 7 \xc3\xa9").hexdigest()
    place = int(digest[:16], 16) / 2**64

    assert not in_canary("acme", CHECKPOINT, "actor 7 é", place)
    assert in_canary("acme", CHECKPOINT, "actor 7 é", place + 1e-9)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_the_share_of_many_actors_is_the_share_of_the_canary(share):
    count = sum(in_canary("acme", CHECKPOINT, f"actor-{number}", share) for number in range(20_000))

    assert abs(count / 20_000 - share) < 0.015
