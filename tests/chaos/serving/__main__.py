"""`make chaos-serving`; `python -m tests.chaos.serving --kills 3` for a short one. Exits with 1 if anything is
wrong.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import psycopg

from app import services
from app.cli.stack import API, BEAT, interruptible
from benchmarks.machine import described
from tests.chaos.runs.table import Bar
from tests.chaos.serving.actors import Actors
from tests.chaos.serving.place import SERVERS, Place, place
from tests.chaos.serving.plan import KILLED, Blow, blows
from tests.chaos.serving.releases import Ledger
from tests.chaos.serving.target import LOAD_SECONDS
from tests.chaos.serving.verdict import not_seen, two_live

RESULTS = Path("benchmarks/results/chaos-serving.json")
#: Seconds within which a request of a client is in the API, and within which a load begins after a release.
REQUEST_SECONDS, LOAD_BEGINS_SECONDS = 0.04, 2.0
#: Seconds that a blow may take to settle, and everything at the end: a server that lost its adapters is found by the
#: regular look, a minute later.
SETTLE_SECONDS, AFTERMATH_SECONDS = 20.0, 100.0


def main() -> int:
    options = _options()
    interruptible()
    with services.temporary() as folder:
        try:
            return _chaos(options, folder)
        finally:
            if options.keep:
                subprocess.run(["cp", "-a", folder, options.keep], check=False)


def _chaos(options: argparse.Namespace, folder: Path) -> int:
    begun = time.monotonic()
    kills: Counter[str] = Counter()
    in_the_middle: Counter[str] = Counter()
    with place(folder) as here:
        ledger = Ledger(here.client(), here.weighted)
        bar = Bar(options.kills, "blows")
        settled = []
        with Actors(here, options.actors, options.seed) as actors:
            for blow in blows(options.seed, options.kills):
                in_the_middle[blow.killed] += _strike(here, ledger, blow)
                kills[blow.killed] += 1
                if blow.settles:
                    settled.append(_settled(here, SETTLE_SECONDS))
                else:
                    time.sleep(blow.pause)
                bar.show(kills.total(), kills.total(), f"{len(actors.answers)} answers")
            ended_seconds = _settled(here, AFTERMATH_SECONDS)
        bar.show(kills.total(), kills.total(), "", last=True)
        wrong = {"not_seen": _out_of_step(here), "two_live": two_live(actors.answers, here.contents)}
        wrong["unexpected"] = [*ledger.errors, *_died(here), *_entries_lost_or_doubled(ledger)]
        result = {
            "kills": kills.total(),
            **{name: len(sentences) for name, sentences in wrong.items()},
            "killed": {name: kills[name] for name in KILLED},
            "in_the_middle": {name: in_the_middle[name] for name in KILLED},
            "releases": dict(Counter(entry.action for entry in ledger.accepted)),
            "refused": len(ledger.refused),
            "answers": len(actors.answers),
            "actors_and_states": len({(answer.actor, answer.state) for answer in actors.answers}),
            "unanswered": dict(actors.unanswered),
            "slowest_settling_seconds": round(max(settled, default=0.0), 1),
            "last_settling_seconds": round(ended_seconds, 1),
            "seed": options.seed,
            "seconds": round(time.monotonic() - begun),
        }
    for name, sentences in wrong.items():
        for sentence in sentences[:20]:
            sys.stdout.write(f"{name}: {sentence}\n")
    if options.results:
        whole = {"machine": described(), **result}
        options.results.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
    return int(any(wrong.values()))


def _strike(here: Place, ledger: Ledger, blow: Blow) -> bool:
    """Acts on the ledger, kills a process, and starts it again. Returns whether the kill fell into the request to the
    API, or into a load of a worker or at a target.
    """
    acting = threading.Thread(target=ledger.act, args=(blow,))
    acting.start()
    if blow.killed == "API":
        time.sleep(blow.moment * REQUEST_SECONDS)
        middle = acting.is_alive()
        _kill_child(here, API, blow.away)
        here.machine.await_api()
    elif blow.killed == "worker":
        acting.join()
        _await_load(here)
        time.sleep(blow.moment * LOAD_SECONDS)
        middle = _loading(here)
        _kill_child(here, BEAT, blow.away)
    else:
        acting.join()
        _await_load(here)
        time.sleep(blow.moment * LOAD_SECONDS)
        drawn = SERVERS if blow.dice < 0.5 else SERVERS[::-1]
        name = next((each for each in drawn if _loading(here, each)), drawn[0])
        server, middle = here.servers[name], _loading(here, name)
        os.kill(server.pid, signal.SIGKILL)
        server.popen.wait()
        time.sleep(blow.away)
        here.start_server(name)
    acting.join()
    return middle


def _kill_child(here: Place, name: str, away: float) -> None:
    here.machine.kill_child(name)
    time.sleep(away)
    here.machine.start_child(name)


def _await_load(here: Place) -> None:
    """Waits until a worker loads something, or has had the time to begin."""
    services.wait_until(lambda: _loading(here), LOAD_BEGINS_SECONDS)


def _loading(here: Place, name: str | None = None) -> bool:
    """Returns whether a worker loads something now, at the target or at any."""
    query = (
        "SELECT FROM serving_sightings AS each JOIN serving_targets AS target ON target.id = each.target_id "
        "WHERE each.state = 'loading' AND target.name = coalesce(%s, target.name) LIMIT 1"
    )
    with psycopg.connect(here.machine.settings["THUMBWHEEL_DATABASE_URL"]) as connection:
        return connection.execute(query, [name]).fetchone() is not None


def _settled(here: Place, seconds: float) -> float:
    """Waits until all targets are in step, at most for some seconds, and returns how long it took."""
    begun = time.monotonic()
    services.wait_until(lambda: not _out_of_step(here), seconds)
    return time.monotonic() - begun


def _out_of_step(here: Place) -> list[str]:
    loaded = {name: here.loaded(name) for name in SERVERS}
    try:
        linked = here.linked()
    except OSError:
        linked = {}
    return not_seen(here.client().serving.overview(), loaded, linked, here.contents)


def _died(here: Place) -> list[str]:
    processes = {**here.machine.children, **here.servers}
    return [f"{name} ended by itself" for name, process in processes.items() if not process.alive()]


def _entries_lost_or_doubled(ledger: Ledger) -> list[str]:
    """Compares the ledger with what the API accepted: a request that was repeated counts once."""
    written = {entry.id for entry in ledger.client.releases.list() if entry.action != "start"}
    accepted = {entry.id for entry in ledger.accepted}
    lost = [f"entry {entry_id} was accepted and is not there" for entry_id in accepted - written]
    return [*lost, *(f"entry {entry_id} was written and not accepted" for entry_id in written - accepted)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos-serving", description=__doc__)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--actors", type=int, default=3, help="threads that call targets for actors")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="seed of acts and kills (random)")
    parser.add_argument("--results", type=Path, help=f"file to which the figures are written, for example {RESULTS}")
    parser.add_argument("--keep", type=Path, help="folder to which all files, logs included, are copied at the end")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
