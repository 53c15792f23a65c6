"""`make chaos`; `python -m tests.chaos.runs --runs 4` for a short one. Exits with 1 if anything is wrong."""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

from thumbwheel import wire
from thumbwheel.client import Client

from app import services
from app.access.service import first_admin_key
from app.cli.stack import interruptible
from app.database import transaction
from benchmarks.machine import described
from tests.chaos.runs import evidence, messages
from tests.chaos.runs.clients import TRIES, Desk, Tickets
from tests.chaos.runs.faults import Chaos
from tests.chaos.runs.machine import Machine, machine
from tests.chaos.runs.plan import STRIKES, Blow, blows, wishes
from tests.chaos.runs.table import Bar, table
from tests.chaos.runs.verdict import judge, outcomes
from tests.chaos.runs.watching import Seen, Watch
from tests.story.desk import LENIENT_GATES, events

RESULTS = Path("benchmarks/results/chaos.json")
#: A small and quick recipe with enough steps for faults to strike between them.
RECIPE: dict[str, Any] = {
    "method": "full", "learning_rate": 5e-3, "beta": 0.2, "batch_size": 8, "micro_batch_size": 4, "epochs": 5,
    "max_length": 96, "save_every_steps": 3, "drift": {"checks": 0},
    "evaluation": {"kl_prompts": 2, "kl_max_new_tokens": 4, "bootstrap": 100},
}  # fmt: skip
#: Seconds until a fault strikes a run in any state, if none is in the state that it needs, and until it is dropped.
PATIENT_SECONDS, IMPATIENT_SECONDS = 15.0, 30.0
GAP_SECONDS = 1.0
#: Time limit for sending the last messages after all faults are undone.
AFTERMATH_SECONDS = 15.0
#: Share of the time in which the last runs end: no run and no fault begins in it.
SETTLING_SHARE = 0.2


def main() -> int:
    options = _options()
    interruptible()
    begun = time.monotonic()
    os.environ.update(OMP_NUM_THREADS="1", OMP_WAIT_POLICY="PASSIVE")
    with services.temporary() as folder:
        try:
            return _chaos(options, folder, begun)
        finally:
            if options.keep:
                subprocess.run(["cp", "-a", folder, options.keep], check=False)


def _chaos(options: argparse.Namespace, folder: Path, begun: float) -> int:
    base_model = options.base_model or folder / "base"
    with ExitStack() as stack:
        if options.base_model is None:
            code = f"from tests.trainer.tiny import save_model; save_model({str(base_model)!r}, seed=3)"
            making = stack.enter_context(subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL))
        ours = stack.enter_context(machine(folder, options.workers, options.lease))
        if options.base_model is None and making.wait():
            raise RuntimeError("the toy model cannot be created")
        clients = _clients(ours, base_model, options.projects)
        messages.double()
        with Watch(ours.settings["THUMBWHEEL_DATABASE_URL"]) as watch:
            calm = _undisturbed(clients)
            calm_seconds = time.monotonic() - begun
            chaos = Chaos(ours, watch)
            tickets = Tickets(wishes(options.seed, options.runs))
            died = _disturbed(options, chaos, clients, tickets, begun)
            rows, checkpoints = evidence.rows(), evidence.checkpoints()
        strikes: dict[str, list[list[UUID]]] = defaultdict(list)
        for struck in chaos.struck:
            strikes[struck.fault].append(struck.runs)
        verdict = judge(tickets.accepted, calm, rows, checkpoints)
        verdict.ran_twice += [f"run {run_id}: {both}" for run_id, both in watch.twice.items()]
        verdict.hash_mismatches += evidence.damaged(checkpoints)
        verdict.stale_writes_accepted = chaos.stale.accepted
        verdict.unexpected = [*tickets.errors, *died]
        if unsent := messages.waiting():
            verdict.stuck.append(f"{unsent} messages were never sent")
        by_fault = outcomes({fault: strikes[fault] for fault in STRIKES if fault in strikes}, rows)
        never = [fault for fault in options.only or STRIKES if fault not in strikes]
        ends = Counter(rows[run_id].state for run_id in tickets.accepted if run_id in rows)
        result = {
            "runs": len(tickets.accepted),
            "faults": len(chaos.struck),
            **verdict.counts,
            "stale_writes_refused": chaos.stale.refused,
            "stale_workers_stopped": ours.lines("the lease is gone"),
            "never_struck": never,
            "outcomes": dict(ends),
            "attempts": sum(rows[run_id].epoch for run_id in tickets.accepted if run_id in rows),
            "messages": len(messages.everything_sent()),
            "looks_at_processes": watch.looks,
            "disk": "a disk of its own" if ours.has_disk else "a limit on the length of files",
            "seed": options.seed,
            "undisturbed_seconds": round(calm_seconds),
            "seconds": round(time.monotonic() - begun),
            "by_fault": by_fault,
        }
    say = sys.stdout.write
    say(table(by_fault) + "\n")
    for sentence in verdict.sentences:
        say(f"{sentence}\n")
    wrong = any(verdict.counts.values())
    if len(tickets.accepted) < options.runs:
        say(f"Only {len(tickets.accepted)} of {options.runs} runs fitted into {options.minutes:g} minutes.\n")
        wrong = True
    if never:
        say(f"These faults found no time or no run to strike: {', '.join(never)}.\n")
        wrong = wrong or options.only is None
    if options.results:
        whole = {"machine": described("torch", "transformers"), **result}
        options.results.write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    say(json.dumps(result, ensure_ascii=False) + "\n")
    return int(wrong)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=52, help="runs to disturb, besides an undisturbed one per project")
    parser.add_argument("--projects", type=int, default=4)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--lease", type=float, default=8.0, help="seconds after which a silent worker has lost its run")
    parser.add_argument("--base-model", type=Path, help="a folder with a tiny model; by default one is made")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000), help="seed of the faults (random)")
    parser.add_argument("--minutes", type=float, default=14.5, help="runs that have not ended by then count as stuck")
    parser.add_argument("--only", action="append", choices=list(STRIKES), help="these faults alone; may be repeated")
    parser.add_argument("--results", type=Path, help=f"file to which the figures are written, for example {RESULTS}")
    parser.add_argument("--keep", type=Path, help="folder to which all files, logs included, are copied at the end")
    return parser.parse_args()


def _clients(ours: Machine, base_model: Path, projects: int) -> list[Client]:
    """Creates projects with feedback and returns a client for each."""
    with transaction() as session:
        key = first_admin_key(session)
    clients = []
    for number in range(projects):
        client = Client(ours.url, key, f"desk-{number}", tries=TRIES)
        client.projects.create(
            wire.NewProject(
                suites=[],
                project=f"desk-{number}",
                base_model=str(base_model),
                recipe=wire.RecipeChoice(preset="cpu-demo", changes={**RECIPE, "seed": number}),
                gates=LENIENT_GATES,
                snapshot=wire.SnapshotRules(minimum_per_class=10, holdout_share=0.2),
            )
        )
        client.events.record_many(events(60))
        clients.append(client)
    return clients


def _undisturbed(clients: list[Client]) -> dict[str, UUID]:
    """Runs each project once without faults and returns the ids. Raises `RuntimeError` if a run does not succeed."""
    started = {client: client.runs.start() for client in clients}
    for client, run in started.items():
        while (now := client.runs.get(run.id)).state not in ("succeeded", "failed", "cancelled"):
            time.sleep(0.3)
        if now.state != "succeeded":
            raise RuntimeError(f"an undisturbed run {now.state}: {now.reason}")
    return {run.project: run.id for run in started.values()}


def _disturbed(
    options: argparse.Namespace, chaos: Chaos, clients: list[Client], tickets: Tickets, begun: float
) -> list[str]:
    """Starts runs and strikes faults until every run has ended or time is up; returns the processes that ended by
    themselves.
    """
    end = begun + 60 * options.minutes
    closing = end - 60 * options.minutes * SETTLING_SHARE
    desks = [Desk(client, tickets) for client in clients]
    for desk in desks:
        desk.start()
    bar = Bar(options.runs)
    left = blows(options.seed, options.runs, frozenset(options.only) if options.only else None)
    pending: list[tuple[float, Blow]] = []
    last = time.monotonic()
    died: list[str] = []
    while any(desk.is_alive() for desk in desks) and time.monotonic() < end:
        time.sleep(0.05)
        at = time.monotonic()
        chaos.undo_due()
        died += _restart_dead(chaos)
        if at > closing:
            tickets.closed, left, pending = True, [], []
        while left and left[0].run <= tickets.taken - len(desks) + 1:
            pending.append((at + left[0].pause, left.pop(0)))
        if at - last > GAP_SECONDS:
            for due in pending:
                waited = at - due[0]
                if waited > IMPATIENT_SECONDS or (waited > 0 and _strike(chaos, due[1], waited > PATIENT_SECONDS)):
                    pending.remove(due)
                    last = at
                    break
        bar.show(chaos.watch.ended() - len(clients), len(chaos.struck), ", ".join(sorted(chaos.away)))
    for desk in desks:
        desk.stopping.set()
    while chaos.lasting:
        chaos.undo_due()
        time.sleep(0.05)
    for desk in desks:
        desk.join(timeout=60)
    services.wait_until(lambda: messages.waiting() == 0, AFTERMATH_SECONDS)
    bar.show(chaos.watch.ended() - len(clients), len(chaos.struck), "", last=True)
    return died


def _strike(chaos: Chaos, blow: Blow, anywhere: bool) -> bool:
    def fits(run: Seen) -> bool:
        return anywhere or run.state == blow.moment

    return any(fits(run) and chaos.strike(blow, run) for run in chaos.watch.active)


def _restart_dead(chaos: Chaos) -> list[str]:
    died = []
    for name, process in chaos.machine.children.items():
        if name not in chaos.away and not process.alive():
            died.append(f"{name} ended by itself with exit code {process.stop()}")
            chaos.machine.start_child(name)
    return died


if __name__ == "__main__":
    sys.exit(main())
