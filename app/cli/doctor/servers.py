"""Checks of the servers: Postgres and its tables, Redis or Valkey."""

from app.cli.doctor.finding import Finding
from app.settings import Settings

SECONDS = 5


def database(config: Settings) -> Finding:
    """Checks that Postgres answers and has the tables of this code; without a URL, that an embedded one could start."""
    import psycopg

    from app.cli import migrate
    from app.services.programs import postgres_programs

    if config.database_url is None:
        programs = postgres_programs(config.postgres_bin)
        return Finding("Postgres", "ok", f"embedded by `thumbwheel up`, which is not running; from {programs}")
    url = config.database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    try:
        with psycopg.connect(url, connect_timeout=SECONDS) as connection:
            version = connection.info.server_version // 10_000
    except psycopg.Error as error:
        first = str(error).strip().splitlines()[0]
        return Finding("Postgres", "wrong", f"does not answer ({first}): check THUMBWHEEL_DATABASE_URL and the server")
    at, newest = migrate.revision_of(config.database_url), migrate.newest()
    if at != newest:
        return Finding("Postgres", "wrong", f"{version}, tables at {at}, not at {newest}: run `thumbwheel migrate`")
    return Finding("Postgres", "ok", f"{version}, tables up to date")


def broker(config: Settings) -> Finding:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    from app.services.programs import valkey_program

    if config.redis_url is None:
        program = valkey_program(config.valkey_server)
        return Finding("Redis", "ok", f"embedded by `thumbwheel up`, which is not running; from {program}")
    try:
        with redis.Redis.from_url(
            str(config.redis_url), socket_timeout=SECONDS, socket_connect_timeout=SECONDS, retry=Retry(NoBackoff(), 1)
        ) as client:
            version = client.info("server")["redis_version"]
    except redis.RedisError as error:
        return Finding("Redis", "wrong", f"does not answer ({error}): check THUMBWHEEL_REDIS_URL and the server")
    return Finding("Redis", "ok", f"answers as version {version}")
