

def _packed(value):
    """A plain value as JSON that keeps its type."""
    if isinstance(value, (list, tuple, set, frozenset)):
        return {type(value).__name__: [_packed(part) for part in value]}
    if isinstance(value, dict):
        return {"dict": [[_packed(key), _packed(part)] for key, part in value.items()]}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, bytes):
        return {"bytes": list(value)}
    return value


_KINDS = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "dict": dict, "bytes": bytes}
_KINDS["complex"] = lambda parts: complex(*parts)


def _unpacked(fields):
    [(kind, parts)] = fields.items()
    return _KINDS[kind](parts)


def _read(line):
    with _AnyDigits():
        return json.loads(line, object_hook=_unpacked)


_input, _output = open(_hidden(0), encoding="utf-8"), _hidden(1)
_silence()


def _send(*parts):
    with _AnyDigits():
        message = json.dumps(_packed(list(parts))).encode() + b"\n"
    while message:
        message = message[os.write(_output, message) :]
