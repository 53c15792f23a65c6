"""Runs a command with an empty Postgres and an empty Valkey of its own: ``python tools/embedded.py COMMAND…``."""

import os
import subprocess
import sys

from app import services
from app.errors import ThumbwheelError


def main(command: list[str]) -> int:
    try:
        with (
            services.temporary() as folder,
            services.embedded_postgres(folder / "postgres", durable=False) as database,
            services.embedded_valkey(folder / "valkey", durable=False) as broker,
        ):
            return subprocess.run(
                command,
                check=False,
                env=os.environ
                | {
                    "THUMBWHEEL_DATABASE_URL": database.url,
                    "THUMBWHEEL_REDIS_URL": broker.url,
                    "THUMBWHEEL_DATA_DIR": str(folder / "data"),
                },
            ).returncode
    except ThumbwheelError as error:
        sys.stderr.write(error.message + "\n")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
