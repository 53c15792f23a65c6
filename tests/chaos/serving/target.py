"""A stand-in for vLLM as a process: `python -m tests.chaos.serving.target PORT CHECKPOINTS`."""

import sys

from tests.serving.made_checkpoints import content, probe
from tests.serving.stand_in import StandIn, server_of

#: Seconds of a load, so that a kill can fall into one.
LOAD_SECONDS = 0.4


def main(port: int, checkpoints: int) -> None:
    """Serves until it is killed. Its adapters end with it."""
    probes = {content(number): probe(number) for number in range(1, checkpoints + 1)}
    server_of(StandIn(probes=probes, slow_load=LOAD_SECONDS), port).serve_forever()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
