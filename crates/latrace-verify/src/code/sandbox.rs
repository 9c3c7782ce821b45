//! The sandbox: bubblewrap with every namespace unshared, a read-only system, small temporary folders, no
//! network, a filter of system calls, resource limits, and another user where we are root.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;

use super::supervisor;

/// What a program may use in one test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Wall time from the start of execution, in seconds.
    pub time_s: f64,
    /// Memory of all its processes together, in MiB.
    pub memory_mb: u64,
    /// What it may print, in MiB.
    pub output_mb: u64,
    /// Processes and threads at once.
    pub processes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { time_s: 6.0, memory_mb: 1024, output_mb: 16, processes: 32 }
    }
}

/// Why there is no sandbox.
#[derive(Debug, Error)]
pub enum Unavailable {
    /// A program that the sandbox consists of is not there.
    #[error("{program} is not installed; the Debian package is `{package}`")]
    Missing {
        /// The program.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The sandbox does not start, so the kernel or its settings lack something.
    #[error("the sandbox does not start: {0}")]
    NotWorking(String),
}

/// A working sandbox.
#[derive(Debug)]
pub struct Sandbox {
    launcher: PathBuf,
    bubblewrap: PathBuf,
    python: PathBuf,
    /// The first of the user ids to run under, where we are root and may choose.
    user: Option<u32>,
    nonce: [u64; 2],
    counter: AtomicU64,
}

/// User ids from here on, one by slot, so that one program's processes are not counted for another.
const FIRST_USER: u32 = 62_000;

impl Sandbox {
    /// Finds the parts and runs a program to see that they work. `launcher` is an executable that calls
    /// [`super::launcher::run`] when its first argument is [`super::launcher::ARGUMENT`].
    ///
    /// # Errors
    /// If a part is missing or the sandbox does not start.
    pub fn new(launcher: &Path) -> Result<Sandbox, Unavailable> {
        let (bubblewrap, python) = (Parts::bubblewrap()?, Parts::python()?);
        let user = rustix::process::geteuid().is_root().then_some(FIRST_USER);
        let sandbox = Sandbox {
            launcher: launcher.to_owned(),
            bubblewrap,
            python,
            user,
            nonce: random()?,
            counter: AtomicU64::new(0),
        };
        sandbox.probe()?;
        Ok(sandbox)
    }

    fn probe(&self) -> Result<(), Unavailable> {
        let limits = Limits { time_s: 20.0, ..Limits::default() };
        let run = supervisor::run(self, &script(), "print(6 * 7)", "", &limits, 0);
        if run.stdout == b"42\n" {
            Ok(())
        } else {
            Err(Unavailable::NotWorking(String::from_utf8_lossy(&run.stderr).trim().to_owned()))
        }
    }

    /// A text that nothing in the sandbox can know before it is told.
    pub(crate) fn nonce(&self) -> String {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        format!(
            "{:016x}{:016x}{count:x}:",
            self.nonce[0],
            self.nonce[1].wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        )
    }

    /// The launcher and its arguments: what it is to start, under which limits.
    pub(crate) fn command(&self, inside: &[String], limits: &Limits, slot: u32) -> (&Path, Vec<OsString>) {
        let user = self.user.map_or(0, |first| first + slot % 1000);
        let seconds = Duration::from_secs_f64(limits.time_s.max(0.0)).as_secs() + 2;
        let numbers = [u64::from(std::process::id()), u64::from(user), limits.memory_mb, seconds];
        let mut arguments: Vec<OsString> = vec![super::launcher::ARGUMENT.into()];
        arguments.extend(numbers.iter().map(|number| number.to_string().into()));
        arguments.push(self.bubblewrap.clone().into());
        arguments.extend(self.wrapping(limits));
        arguments.push("--".into());
        arguments.push(self.python.clone().into());
        arguments.extend(
            inside.iter().map(|argument| argument.replace("PROCESSES", &limits.processes.to_string()).into()),
        );
        (&self.launcher, arguments)
    }

    /// Bubblewrap's options, but for the descriptors that the launcher adds.
    fn wrapping(&self, limits: &Limits) -> Vec<OsString> {
        // What is written to these folders is memory too, and the supervisor does not see it.
        let room = (limits.memory_mb.clamp(16, 256) << 20).to_string();
        let little = (limits.memory_mb.clamp(16, 256) << 18).to_string();
        let mut options: Vec<String> = [
            "--unshare-user",
            "--unshare-all",
            "--die-with-parent",
            "--new-session",
            "--disable-userns",
            "--clearenv",
        ]
        .map(str::to_owned)
        .to_vec();
        let mut add = |parts: &[&str]| options.extend(parts.iter().map(|part| (*part).to_owned()));
        add(&["--uid", "65534", "--gid", "65534", "--hostname", "sandbox"]);
        add(&[
            "--setenv",
            "PATH",
            "/usr/bin:/bin",
            "--setenv",
            "HOME",
            "/work",
            "--setenv",
            "LANG",
            "C.UTF-8",
        ]);
        add(&[
            "--ro-bind",
            "/usr",
            "/usr",
            "--ro-bind-try",
            "/etc/ld.so.cache",
            "/etc/ld.so.cache",
            "--ro-bind-try",
            "/etc/alternatives",
            "/etc/alternatives",
        ]);
        for folder in ["/bin", "/lib", "/lib64"] {
            match std::fs::read_link(folder) {
                Ok(target) => add(&["--symlink", &target.to_string_lossy(), folder]),
                Err(_) => add(&["--ro-bind-try", folder, folder]),
            }
        }
        add(&[
            "--proc", "/proc", "--dev", "/dev", "--size", &little, "--tmpfs", "/dev/shm", "--size", &little,
            "--tmpfs", "/tmp",
        ]);
        add(&["--size", &room, "--tmpfs", "/work", "--chdir", "/work", "--remount-ro", "/dev"]);
        options.into_iter().map(OsString::from).collect()
    }
}

/// The programs that the sandbox consists of.
pub(crate) struct Parts;

impl Parts {
    pub(crate) fn bubblewrap() -> Result<PathBuf, Unavailable> {
        find("bwrap").ok_or(Unavailable::Missing { program: "bwrap", package: "bubblewrap" })
    }

    pub(crate) fn python() -> Result<PathBuf, Unavailable> {
        find("python3").ok_or(Unavailable::Missing { program: "python3", package: "python3" })
    }
}

/// Only system folders are in the sandbox, so only what they hold can run there.
fn find(program: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|path| path.is_file())
}

fn random() -> Result<[u64; 2], Unavailable> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .map_err(|error| Unavailable::NotWorking(format!("/dev/urandom: {error}")))?;
    let (one, two) = bytes.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte));
    Ok([number(one), number(two)])
}

/// The interpreter's arguments that run the program as it is.
pub(crate) fn script() -> Vec<String> {
    // Descriptors that our caller left open are closed before the program begins; the limit on processes is
    // set inside, where only the sandbox's own are counted.
    let start = "__import__('os').closerange(3, 1 << 16); __import__('resource').setrlimit(__import__('resource').RLIMIT_NPROC, (PROCESSES, PROCESSES)); \
                 exec(compile(open('/program.py', 'rb').read(), '/program.py', 'exec'))";
    python(start)
}

/// The interpreter's arguments that call one function of the program.
pub(crate) fn harness() -> Vec<String> {
    python(include_str!("harness.py"))
}

fn python(start: &str) -> Vec<String> {
    ["-I", "-B", "-X", "utf8", "-c", start].map(str::to_owned).to_vec()
}
