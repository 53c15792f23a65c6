"""Checks of the processes: the API and its key, workers, the beat, and waiting messages."""

from typing import TYPE_CHECKING

from app.cli.doctor.finding import Finding
from app.messages import HOUSEKEEPING, RUNS
from app.settings import Settings

if TYPE_CHECKING:
    import httpx

SECONDS = 5
#: A healthy tick comes every `tick_seconds`; one that reads a large log may take a minute.
LATE_TICK_SECONDS = 120
LATE_MESSAGE_SECONDS = 60
REPLY_SECONDS = 2.0
LOST_KEY = "if it is lost, `thumbwheel keys first --replace` creates another one"


def has_servers(config: Settings) -> bool:
    """Returns whether servers are configured or embedded ones run, so that the other processes should run, too."""
    return config.database_url is not None


def api(config: Settings) -> Finding:
    import httpx

    try:
        ready = httpx.get(f"{config.url}/readyz", timeout=SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        if not has_servers(config):
            return Finding("API", "note", "not running: start it with `thumbwheel up`")
        return Finding(
            "API", "wrong", f"no answer at {config.url} ({error}): start it, or set THUMBWHEEL_URL to where it runs"
        )
    if not ready.is_success:
        return Finding("API", "wrong", f"{config.url} is not ready ({ready.status_code}): {_detail(ready)}")
    return Finding("API", "ok", f"ready at {config.url}")


def api_key(config: Settings) -> Finding:
    """Checks that the API accepts the key of the settings."""
    import httpx

    if not config.api_key:
        return Finding("API key", "note", f"THUMBWHEEL_API_KEY is not set: the command line needs one; {LOST_KEY}")
    try:
        answer = httpx.get(
            f"{config.url}/v1/projects",
            params={"limit": 1},
            headers={"Authorization": f"Bearer {config.api_key}"},
            timeout=SECONDS,
        )
    except (httpx.HTTPError, httpx.InvalidURL):
        return Finding("API key", "note", "not tried: the API does not answer")
    except UnicodeEncodeError:
        return Finding("API key", "wrong", "THUMBWHEEL_API_KEY has characters that no key has: copy it again")
    if answer.status_code == 401:
        return Finding("API key", "wrong", f"{_detail(answer)} The key is in THUMBWHEEL_API_KEY; {LOST_KEY}")
    if answer.status_code == 403:
        return Finding("API key", "ok", "known, and may not list projects")
    if not answer.is_success:
        return Finding("API key", "wrong", f"the API answers {answer.status_code}: {_detail(answer)}")
    return Finding("API key", "ok", "known")


def workers(config: Settings) -> Finding:
    """Checks, through the broker, that every queue has a worker."""
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    from app import outbox

    if config.redis_url is None:
        return Finding("Workers", "note", "not running: `thumbwheel up` starts one")
    try:
        replies = outbox.sender().control.inspect(timeout=REPLY_SECONDS).active_queues() or {}
    except (OperationalError, RedisError, OSError) as error:
        return Finding("Workers", "wrong", f"cannot be reached without Redis ({error})")
    by_queue = {
        queue: sorted(name for name, queues in replies.items() if queue in {entry["name"] for entry in queues})
        for queue in (RUNS, HOUSEKEEPING)
    }
    missing = [queue for queue, names in by_queue.items() if not names]
    if missing:
        queues = " and ".join(missing)
        return Finding(
            "Workers", "wrong", f"no worker takes {queues}: start `celery -A worker.main worker -Q {missing[0]}`"
        )
    return Finding("Workers", "ok", "; ".join(f"{queue}: {', '.join(names)}" for queue, names in by_queue.items()))


def last_tick(config: Settings) -> Finding:
    """Checks that the beat's last tick ended recently."""
    from app.database import now, transaction
    from app.loop import service as loop

    if not has_servers(config):
        return Finding("Last tick", "note", "not running")
    with transaction() as session:
        at = loop.last_tick(session)
    remedy = "start the beat (`celery -A worker.main worker --beat -Q housekeeping`), or check its log"
    if at is None:
        return Finding("Last tick", "wrong", f"there was none yet: {remedy}")
    age = (now() - at).total_seconds()
    if age > max(LATE_TICK_SECONDS, 3 * config.tick_seconds):
        return Finding("Last tick", "wrong", f"{age:.0f} s ago, one is due every {config.tick_seconds:g} s: {remedy}")
    return Finding("Last tick", "ok", f"{age:.0f} s ago")


def messages(config: Settings) -> Finding:
    """Checks that messages in the outbox and in the broker's queues do not wait for long."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from app import outbox
    from app.database import now, transaction

    if not has_servers(config) or config.redis_url is None:
        return Finding("Messages", "note", "not running")
    with transaction() as session:
        count, oldest = outbox.waiting(session)
    age = (now() - oldest).total_seconds() if oldest else 0.0
    try:
        with redis.Redis.from_url(
            str(config.redis_url), socket_timeout=SECONDS, socket_connect_timeout=SECONDS, retry=Retry(NoBackoff(), 1)
        ) as client:
            queued = {queue: int(client.llen(queue)) for queue in (RUNS, HOUSEKEEPING)}
    except redis.RedisError as error:
        return Finding("Messages", "wrong", f"{count} wait in the outbox, and Redis does not answer ({error})")
    lengths = ", ".join(f"{queue} {length}" for queue, length in queued.items())
    if age > LATE_MESSAGE_SECONDS:
        return Finding(
            "Messages",
            "wrong",
            f"{count} wait in the outbox, the oldest for {age:.0f} s: the API or a worker has to reach Redis",
        )
    return Finding("Messages", "ok", f"{count} in the outbox; in the queues: {lengths}")


def _detail(answer: "httpx.Response") -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]
