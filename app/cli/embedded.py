"""The embedded servers of a running `thumbwheel up`, for commands that work on the database itself."""

import os

from app import settings
from app.services import running


def use_running_servers() -> None:
    """Points this process at the embedded servers that serve the data folder, where no others are configured."""
    chosen = settings.current()
    urls = {}
    if chosen.database_url is None:
        urls["THUMBWHEEL_DATABASE_URL"] = running.postgres_url(chosen.data_dir / "postgres")
    if chosen.redis_url is None:
        urls["THUMBWHEEL_REDIS_URL"] = running.valkey_url(chosen.data_dir / "valkey")
    os.environ.update({name: url for name, url in urls.items() if url is not None})
    settings.current.cache_clear()
