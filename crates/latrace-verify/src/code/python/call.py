

def _json(value):
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and value not in (float("inf"), float("-inf")) else {"not finite": str(value)}
    if isinstance(value, (list, tuple)):
        return [_json(part) for part in value]
    if isinstance(value, dict):
        return {key if isinstance(key, str) else json.dumps(_json(key)): _json(part) for key, part in value.items()}
    raise TypeError("no JSON value: " + type(value).__name__)


_out = _hidden(1)
with _AnyDigits():
    _request = json.loads(sys.stdin.read())
_silence()
_value = _loaded(_request["function"])(*_request["arguments"])
with _AnyDigits():
    os.write(_out, (_request["nonce"] + json.dumps(_json(_plain(_value))) + "\n").encode())
