"""Runs a command that ends with its parent process, even if SIGKILL ends the parent.

It is a separate script, started as ``python -I -S die_with_parent.py PARENT SIGNAL USER LIMITS COMMAND…``, so that no
code runs between fork and exec of a process with threads. It becomes the command, with the same process id.

PARENT  process id of the parent; if it has ended already, the command is not started
SIGNAL  number of the signal that the command gets when the *thread* that started it ends (Linux; elsewhere none)
USER    name of the user to become, or ``-``
LIMITS  limits of the command and its children, as ``core=0,data=1000`` (names of `resource`, lower case), or ``-``
"""

import ctypes
import os
import pwd
import resource
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(signal: int) -> None:
    """Makes the kernel send `signal` to this process when the thread that started it ends; only on Linux.

    For a process that was forked without `main`; its own forked children do not inherit the setting.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal, 0, 0, 0)


def limit(name: str, most: int) -> None:
    """Sets a resource limit; a tighter existing limit stays."""
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
