

def _loaded(name):
    """The program's function of a name; without one, the only public method of `Solution`."""
    names = _module("program")
    with open("/program.py", encoding="utf-8") as file:
        exec(compile(file.read(), "/program.py", "exec"), names)
    solution = names.get("Solution")
    if name is None and solution is not None:
        public = [name for name, member in vars(solution).items() if callable(member) and not name.startswith("_")]
        name = public[0] if len(public) == 1 else None
    if solution is not None and name is not None and hasattr(solution, name):
        return getattr(solution(), name)
    return names[name]
