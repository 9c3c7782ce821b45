//! What the interpreter in the sandbox is told to do.

/// Stands in the interpreter's arguments for the limit on processes.
pub(crate) const PROCESSES: &str = "PROCESSES";

/// The interpreter's arguments that run the program as it is.
pub(crate) fn script() -> Vec<String> {
    // Descriptors that our caller left open are closed before the program begins; the limit on processes is
    // set inside, where only the sandbox's own are counted. `__import__` binds no name: a program that
    // forgets its imports must fail here as it would elsewhere.
    python(concat!(
        "__import__('os').closerange(3, 1 << 16); ",
        "__import__('resource').setrlimit(__import__('resource').RLIMIT_NPROC, (PROCESSES, PROCESSES)); ",
        "exec(compile(open('/program.py', 'rb').read(), '/program.py', 'exec'))"
    ))
}

/// The interpreter's arguments that call one function of the program.
pub(crate) fn harness() -> Vec<String> {
    python(include_str!("harness.py"))
}

fn python(start: &str) -> Vec<String> {
    ["-I", "-B", "-X", "utf8", "-c", start].map(str::to_owned).to_vec()
}
