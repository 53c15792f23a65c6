"""The messages between processes: each task of the workers with its queue and its arguments."""

from dataclasses import dataclass

#: Queues: `runs` for long work on expensive machines, `housekeeping` for short work anywhere.
RUNS = "runs"
HOUSEKEEPING = "housekeeping"


@dataclass(frozen=True)
class Task:
    """A task of the workers, as the senders of messages know it.

    name       the name in messages; it stays the same when the function in `worker.tasks` moves
    queue      the queue that the task is sent to
    arguments  the names of the parameters, each of which is the id of a row
    """

    name: str
    queue: str
    arguments: tuple[str, ...] = ()


LOOK_AT_RUN = Task("worker.tasks.look_at_run", RUNS, ("run_id",))
TICK = Task("worker.tasks.tick", HOUSEKEEPING)
LOOK_AT_COMPARISON = Task("worker.tasks.look_at_comparison", HOUSEKEEPING, ("comparison_id",))
ERASE = Task("worker.tasks.erase", HOUSEKEEPING, ("erasure_id",))
EXPIRE_MONTH = Task("worker.tasks.expire_month", HOUSEKEEPING, ("record_id",))
DELIVER_WEBHOOKS = Task("worker.tasks.deliver_webhooks", HOUSEKEEPING, ("endpoint_id",))
LOOK_AT_RELEASE = Task("worker.tasks.look_at_release", HOUSEKEEPING, ("release_id",))
SYNC_TARGET = Task("worker.tasks.sync_target", HOUSEKEEPING, ("target_id",))
LOOK_AT_IMPORT = Task("worker.tasks.look_at_import", HOUSEKEEPING, ("import_id",))

TASKS = (
    LOOK_AT_RUN,
    TICK,
    LOOK_AT_COMPARISON,
    ERASE,
    EXPIRE_MONTH,
    DELIVER_WEBHOOKS,
    LOOK_AT_RELEASE,
    SYNC_TARGET,
    LOOK_AT_IMPORT,
)
