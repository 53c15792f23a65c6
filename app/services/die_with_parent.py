"""Run a command that ends when the process that asked for it ends, even by SIGKILL.

A script of its own, started as ``python -I -S die_with_parent.py PARENT SIGNAL USER LIMITS COMMAND…``: nothing runs
between fork and exec of a process with threads. It becomes the command: same process id.

PARENT  process id of who asked; when it is gone already, the command isn't started
SIGNAL  number of the signal that the command gets when the *thread* that started it ends (Linux; elsewhere none)
USER    name of the user to become, or ``-``
LIMITS  what it and its children may use, as ``core=0,data=1000`` (`resource`'s names in small letters), or ``-``
"""

import ctypes
import os
import pwd
import resource
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(signal: int) -> None:
    """Have the kernel send `signal` to this process when the thread that started it ends (Linux; elsewhere nothing).

    For a process that its parent forked without `main`; a forked child does not inherit it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)


def limit(name: str, most: int) -> None:
    """What is limited more tightly already stays so."""
    kind = getattr(resource, f"RLIMIT_{name.upper()}")
    hard = resource.getrlimit(kind)[1]
    allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (allowed, allowed))


def main(parent: str, signal: str, user: str, limits: str, *command: str) -> None:
    for name, _, most in (part.partition("=") for part in limits.split(",") if part != "-"):
        limit(name, int(most))
    if user != "-":
        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    # After the change of user: the kernel forgets the signal when credentials change.
    end_with_parent(int(signal))
    if os.getppid() != int(parent):
        sys.exit(1)
    try:
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"cannot start {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
