import json, os, resource, socket, sys


def _error(call):
    try:
        call()
    except OSError as error:
        return error.errno
    return 0


def _nested():
    """The error of making a user namespace by a call that the filter lets through; 0 if that works, text if it cannot be tried."""
    try:
        import ctypes

        call = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
        libc = ctypes.CDLL(None, use_errno=True)
    except Exception as error:
        return repr(error)
    new_user, child_signal = 0x10000000, 17
    child = libc.syscall(call, new_user | child_signal, 0, 0, 0, 0)
    if child == 0:
        os._exit(0)
    return ctypes.get_errno() if child < 0 else 0


_status = dict(line.split(":", 1) for line in open("/proc/self/status"))
_limits = ("AS", "CPU", "FSIZE", "NOFILE", "STACK", "CORE", "NPROC")
_report = {
    "namespaces": {name: os.readlink("/proc/self/ns/" + name) for name in os.listdir("/proc/self/ns")},
    "interfaces": [line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line],
    "filter": _status.get("Seccomp", "").strip(),
    "no_new_privileges": _status.get("NoNewPrivs", "").strip(),
    "refused_call": _error(lambda: socket.socket(40, socket.SOCK_STREAM)),
    "nested": str(_nested()),
    "limits": {name: resource.getrlimit(getattr(resource, "RLIMIT_" + name))[1] for name in _limits},
    "write": _error(lambda: open("/usr/write", "w")),
}
print(json.dumps(_report), flush=True)
sys.stdin.read()
