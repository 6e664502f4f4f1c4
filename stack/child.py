"""Becomes one program that dies with the process which started it.

Run by path, never imported: `python -I -S child.py PARENT DEATH_SIGNAL RUN_AS PROGRAM [ARGUMENT…]`.
A program of its own instead of a function between fork and exec, because Python code must not run
there in a process that has threads. Standard library only and few imports: it is started for every
child. RUN_AS is `self`, `namespace` (uid 1000 in a user namespace of its own) or `UID:GID`.
"""

import ctypes
import os
import signal
import sys

PARENT_IS_GONE = 70
NO_NAMESPACE = 71
CANNOT_EXECUTE = 126

_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_NAMESPACE_ID = 1000


def _enter_user_namespace() -> None:
    """An ordinary user's identity for root: Postgres refuses root by its number alone."""
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    # The kernel demands this before a group is mapped by somebody without privileges.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{_NAMESPACE_ID} {uid} 1")
    _write("/proc/self/gid_map", f"{_NAMESPACE_ID} {gid} 1")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _become(account: str) -> None:
    uid, gid = (int(part) for part in account.split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main(arguments: list[str]) -> int:
    """Does not return when the program could be executed."""
    parent, death_signal, run_as, *program = arguments
    # A shell that started us in the background hands down ignored signals.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.umask(0o077)
    try:
        if run_as == "namespace":
            _enter_user_namespace()
        elif run_as != "self":
            _become(run_as)
    except (OSError, AttributeError) as error:
        sys.stderr.write(f"cannot run as {run_as}: {error}\n")
        return NO_NAMESPACE
    # After the change of identity, which would clear it.
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
    if os.getppid() != int(parent):
        return PARENT_IS_GONE
    if not program:
        return 0
    try:
        os.execv(program[0], program)
    except OSError as error:
        sys.stderr.write(f"cannot execute {program[0]}: {error}\n")
        return CANNOT_EXECUTE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
