"""Embedded servers for `thumbwheel up`, the demo and the tests: Postgres and Valkey without root and Docker."""

from app.services.die_with_parent import end_with_parent
from app.services.folders import claimed, secret, sweep, temporary
from app.services.postgres import embedded_postgres
from app.services.processes import EmbeddedServer, Process, free_port, tethered, wait_until
from app.services.valkey import embedded_valkey

__all__ = [
    "EmbeddedServer",
    "Process",
    "claimed",
    "embedded_postgres",
    "embedded_valkey",
    "end_with_parent",
    "free_port",
    "secret",
    "sweep",
    "temporary",
    "tethered",
    "wait_until",
]
