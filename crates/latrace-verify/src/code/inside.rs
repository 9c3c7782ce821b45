//! What the interpreter in the sandbox is told to do.

/// Stands in the interpreter's arguments for the limit on processes.
pub(crate) const PROCESSES: &str = "PROCESSES";

/// Why a check did not pass, as the exit code of the process that runs it.
pub(crate) mod check_code {
    /// An assertion failed.
    pub(crate) const DIFFERENT: i32 = 3;
    /// There is no check to run, or it passes what is no plain data.
    pub(crate) const BAD_CHECK: i32 = 4;
    /// The program ended, or replied nothing that can be read.
    pub(crate) const NO_REPLY: i32 = 5;
    /// Anything else was raised.
    pub(crate) const CRASHED: i32 = 6;
}

/// The interpreter's arguments that run the program as it is.
pub(crate) fn script() -> Vec<String> {
    // Descriptors that our caller left open are closed before the program begins; the limit on processes is
    // set inside, where only the sandbox's own are counted. `__import__` binds no name: a program that
    // forgets its imports must fail here as it would elsewhere.
    python(concat!(
        "__import__('os').closerange(3, 1 << 16); ",
        "__import__('resource').setrlimit(__import__('resource').RLIMIT_NPROC, (PROCESSES, PROCESSES)); ",
        "__file__ = '/program.py'; __import__('sys').argv[:] = [__file__]; ",
        "exec(compile(open(__file__, 'rb').read(), __file__, 'exec'))"
    ))
}

/// The interpreter's arguments that call one function of the program once.
pub(crate) fn call() -> Vec<String> {
    python(concat!(
        include_str!("python/common.py"),
        include_str!("python/program.py"),
        include_str!("python/call.py")
    ))
}

/// The interpreter's arguments that call a function of the program as often as a check asks for.
pub(crate) fn serve() -> Vec<String> {
    python(concat!(
        include_str!("python/common.py"),
        include_str!("python/messages.py"),
        include_str!("python/program.py"),
        include_str!("python/serve.py")
    ))
}

/// The interpreter's arguments that run a check, whose calls go to the program in another sandbox.
pub(crate) fn check() -> Vec<String> {
    use check_code::{BAD_CHECK, CRASHED, DIFFERENT, NO_REPLY};
    let start = concat!(
        include_str!("python/common.py"),
        include_str!("python/messages.py"),
        include_str!("python/check.py")
    );
    python(&start.replace("EXIT_CODES", &format!("{DIFFERENT}, {BAD_CHECK}, {NO_REPLY}, {CRASHED}")))
}

fn python(start: &str) -> Vec<String> {
    ["-I", "-B", "-X", "utf8", "-c", start].map(str::to_owned).to_vec()
}
