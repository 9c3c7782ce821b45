

_function = _loaded(_read(_input.readline())[0])
for _line in _input:
    _arguments, _keywords = _read(_line)
    try:
        _reply = "value", _plain(_function(*_arguments, **_keywords))
    except Exception as _error:
        _reply = "error", type(_error).__name__
    _send(*_reply)
