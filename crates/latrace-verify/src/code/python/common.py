import fcntl, json, os, resource, sys, types

os.closerange(3, 1 << 16)
resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))


class _AnyDigits:
    """Within it integers of any size are read and written; the program itself keeps its limit."""

    def __enter__(self):
        self.most = getattr(sys, "get_int_max_str_digits", lambda: 0)()
        self.set(0)

    def __exit__(self, *error):
        self.set(self.most)

    def set(self, most):
        getattr(sys, "set_int_max_str_digits", lambda most: None)(most)


def _hidden(descriptor):
    """A copy of a descriptor at a random place, where the program does not find it by accident."""
    least = 100 + int.from_bytes(os.urandom(2), "little") % 100
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, least)


def _silence():
    """What the program prints goes nowhere, and there is nothing for it to read."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)


def _module(name):
    """A module with the names that solutions use without importing them."""
    # Registered, since dataclasses and others look their module up; not as `__main__`, whose guard is for programs
    # that are started.
    module = sys.modules[name] = types.ModuleType(name)
    names = vars(module)
    names["__builtins__"] = __builtins__
    exec(
        "from typing import *\nfrom functools import *\nfrom collections import *\nfrom itertools import *\nfrom heapq import *\n"
        "from bisect import *\nfrom math import *\nfrom operator import *\nimport collections, functools, itertools, heapq, bisect\n"
        "import math, operator, random, re, string, sys, typing\n",
        names,
    )
    for builtin in dir(__builtins__):
        if not builtin.startswith("_"):
            names.pop(builtin, None)
    return names


def _plain(value):
    """The built-in value that a value is. Of a class of the program's own no method is called, so that none decides what it is equal to."""
    if value is None or value is True or value is False:
        return value
    for kind in (int, float, complex):
        if isinstance(value, kind):
            return kind.__pos__(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return bytes(bytes.__iter__(value))
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return kind([_plain(part) for part in kind.__iter__(value)])
    if isinstance(value, dict):
        return {_plain(key): _plain(part) for key, part in dict.items(value)}
    raise TypeError("no built-in value: " + type(value).__name__)
