"""The embedded servers of a running `thumbwheel up`, for commands that use the database directly."""

import os

from app import settings
from app.services import running


def use_running_servers() -> None:
    """Points this process at the embedded servers of the data folder, unless others are configured."""
    config = settings.current()
    urls = {}
    if config.database_url is None:
        urls["THUMBWHEEL_DATABASE_URL"] = running.postgres_url(config.data_dir / "postgres")
    if config.redis_url is None:
        urls["THUMBWHEEL_REDIS_URL"] = running.valkey_url(config.data_dir / "valkey")
    os.environ.update({name: url for name, url in urls.items() if url is not None})
    settings.current.cache_clear()
