"""The overview of the command line, and the modules that it loads at its start."""

import subprocess
import sys

from tests.cli.conftest import in_this_process

HEAVY = ("torch", "sqlalchemy", "fastapi", "celery", "alembic", "psycopg", "redis", "pyarrow")


def test_the_overview_names_every_command_with_a_whole_sentence():
    done = in_this_process(["--help"], {"COLUMNS": "200"})

    assert done.code == 0
    commands = (
        "up demo train doctor migrate import export readiness ship rollback releases triggers projects keys runs "
        "checkpoints snapshot receipt actors erasures policies quarantine audit leftovers suites gates serving "
        "compare sweep comparisons time-to-learn approval webhooks gateway "
        "vote-links operator-log imports retention holds"
    )
    summaries = {line.split()[0]: line for line in done.out.split("Commands:")[1].splitlines() if line.strip()}
    assert set(summaries) == set(commands.split())
    assert all(line.endswith(".") and not line.endswith("...") for line in summaries.values())


def test_nothing_heavy_is_loaded_before_it_is_needed():
    program = f"import sys, app.cli.main; print([name for name in {HEAVY} if name in sys.modules])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
