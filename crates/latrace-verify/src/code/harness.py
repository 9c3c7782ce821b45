import json, os, resource, sys

os.closerange(3, 1 << 16)
resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))
# The answer leaves through a copy of standard output at a random place; what the program prints goes nowhere.
_out = os.dup(1)
_place = 100 + int.from_bytes(os.urandom(2), "little") % 800
try:
    os.dup2(_out, _place)
    os.close(_out)
    _out = _place
except OSError:
    pass
# Integers of any size are read and written; the program itself keeps Python's limit.
_digits = getattr(sys, "set_int_max_str_digits", lambda most: None)
_digits(0)
_request = json.loads(sys.stdin.read())
_digits(4300)
_null = os.open(os.devnull, os.O_RDWR)
os.dup2(_null, 0)
os.dup2(_null, 1)

# Names that solutions use without importing them.
_names = {"__name__": "__main__", "__builtins__": __builtins__}
exec(
    "from typing import *\nfrom functools import *\nfrom collections import *\nfrom itertools import *\nfrom heapq import *\n"
    "from bisect import *\nfrom math import *\nfrom operator import *\nimport collections, functools, itertools, heapq, bisect\n"
    "import math, operator, random, re, string, sys, typing\n",
    _names,
)
for _builtin in dir(__builtins__):
    if not _builtin.startswith("_"):
        _names.pop(_builtin, None)


def _plain(value):
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and value not in (float("inf"), float("-inf")) else {"not finite": str(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {key if isinstance(key, str) else json.dumps(_plain(key)): _plain(part) for key, part in value.items()}
    raise TypeError("no JSON value: " + type(value).__name__)


with open("/program.py", encoding="utf-8") as _file:
    exec(compile(_file.read(), "/program.py", "exec"), _names)
_function, _name = None, _request["function"]
_class = _names.get("Solution")
if _name is None and _class is not None:
    _public = [name for name, member in vars(_class).items() if callable(member) and not name.startswith("_")]
    _name = _public[0] if len(_public) == 1 else None
if _class is not None and _name is not None and hasattr(_class, _name):
    _function = getattr(_class(), _name)
else:
    _function = _names[_name]
_value = _function(*_request["arguments"])
_digits(0)
os.write(_out, (_request["nonce"] + json.dumps(_plain(_value)) + "\n").encode())
