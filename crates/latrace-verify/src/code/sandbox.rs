//! The sandbox: bubblewrap with every namespace unshared, a read-only system, small temporary folders, no
//! network, a filter of system calls, resource limits, and another user where we are root.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::cases::Check;
use super::conversation::{self, Endings, Side};
use super::inside::{self, PROCESSES, script, serve};
use super::json::Json;
use super::launcher;
use super::limits::Limits;
use super::parts::{Parts, Unavailable};
use super::supervisor::{self, Job, Run, SharedFile, kill_namespace};

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
/// How many of them there are: more than any machine has threads.
const USERS: u32 = 1_000;

impl Sandbox {
    /// Finds the parts and runs a program to see that they work. `launcher` is an executable that calls
    /// [`super::launcher::run`] when its first argument is [`super::launcher::ARGUMENT`].
    ///
    /// # Errors
    /// If a part is missing or the sandbox does not start.
    pub fn new(launcher: &Path) -> Result<Sandbox, Unavailable> {
        let (bubblewrap, python) = (Parts::bubblewrap()?, Parts::python()?);
        // The limit on processes is counted per user: as root it would hold nothing, and one user for all
        // slots would share it.
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
        let run = self.run(&script(), "print(6 * 7)", "", &limits, 0);
        // The exit code alone would not show that Python started.
        if run.stdout == b"42\n" {
            Ok(())
        } else {
            Err(Unavailable::NotWorking(String::from_utf8_lossy(&run.stderr).trim().to_owned()))
        }
    }

    /// A text that no program in the sandbox can know beforehand.
    pub(crate) fn nonce(&self) -> String {
        // Different for each run, since a program might leave its nonce for the next.
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        let [one, two] = self.nonce;
        let mixed = two.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        format!("{one:016x}{mixed:016x}{count:x}:")
    }

    /// Runs `source` under the limits with `input` to read; `inside` are the interpreter's arguments. `slot`
    /// tells runs at the same time apart.
    pub(crate) fn run(
        &self,
        inside: &[String],
        source: &str,
        input: &str,
        limits: &Limits,
        slot: u32,
    ) -> Run {
        let files = [SharedFile::program(source)];
        let command = self.python(inside, limits, slot);
        supervisor::run(Job { command, files: &files, input, kill: kill_namespace }, limits)
    }

    /// Runs a command, which finds `files`, with `input` to read.
    pub(crate) fn run_command(
        &self,
        command: &[String],
        files: &[SharedFile<'_>],
        input: &str,
        limits: &Limits,
        slot: u32,
    ) -> Run {
        let command = self.command(command, limits, slot);
        supervisor::run(Job { command, files, input, kill: kill_namespace }, limits)
    }

    /// Runs a check over a function of the program `source`, each in a sandbox of its own.
    pub(crate) fn check(&self, source: &str, check: &Check, limits: &Limits, slot: u32) -> Endings {
        let first = [vec![check.function.as_str()], vec![check.helpers(), &check.function]].map(line);
        let program = Side { command: self.python(&serve(), limits, slot), source, first: &first[0] };
        let command = self.python(&inside::check(), limits, slot);
        conversation::run(program, Side { command, source: &check.test, first: &first[1] }, limits)
    }

    /// The launcher of an interpreter with its arguments.
    pub(crate) fn python(&self, inside: &[String], limits: &Limits, slot: u32) -> Command {
        let processes = limits.processes.to_string();
        let arguments = inside.iter().map(|argument| argument.replace(PROCESSES, &processes).into());
        let inside: Vec<OsString> = [self.python.clone().into()].into_iter().chain(arguments).collect();
        self.command(&inside, limits, slot)
    }

    /// The launcher with its arguments: what it is to start, under which limits.
    fn command(&self, inside: &[impl AsRef<OsStr>], limits: &Limits, slot: u32) -> Command {
        let mut command = Command::new(&self.launcher);
        command.arg(launcher::ARGUMENT).args(self.numbers(limits, slot).map(|number| number.to_string()));
        command.arg(&self.bubblewrap).args(wrapping(limits)).arg("--").args(inside);
        // The environment may hold secrets, such as tokens of the hub.
        command.env_clear();
        command
    }

    /// Our process, the user, memory and processor time, in the launcher's order.
    fn numbers(&self, limits: &Limits, slot: u32) -> [u64; 4] {
        let user = self.user.map_or(0, |first| first + slot % USERS);
        [u64::from(std::process::id()), u64::from(user), limits.memory_mb, processor_seconds(limits)]
    }
}

/// Texts as a line of JSON.
fn line(texts: Vec<&str>) -> String {
    let texts = texts.into_iter().map(|text| Json::Text(text.to_owned())).collect();
    format!("{}\n", Json::List(texts))
}

/// A program that spins is ended by its wall time; the limit on processor time is for what the supervisor
/// would not live to end, so it comes later.
fn processor_seconds(limits: &Limits) -> u64 {
    const LATER: u64 = 2;
    Duration::from_secs_f64(limits.time_s.max(0.0)).as_secs() + LATER
}

/// Bubblewrap's options before those that depend on the machine. Nothing of our environment goes in, and the
/// user inside is nobody.
const CONFINED: &str = "--unshare-user --unshare-all --die-with-parent --new-session \
                        --disable-userns --clearenv --uid 65534 --gid 65534 --hostname sandbox \
                        --setenv PATH /usr/bin:/bin --setenv HOME /work --setenv LANG C.UTF-8 \
                        --ro-bind /usr /usr --ro-bind-try /etc/ld.so.cache /etc/ld.so.cache \
                        --ro-bind-try /etc/alternatives /etc/alternatives";

/// Bubblewrap's options, but for the descriptors that the launcher adds.
fn wrapping(limits: &Limits) -> Vec<OsString> {
    // What is written to these folders is memory too, and the supervisor does not see it.
    let room = limits.memory_mb.clamp(16, 256) << 20;
    let little = room / 4;
    let mut options: Vec<OsString> = words(CONFINED);
    for folder in ["/bin", "/lib", "/lib64"] {
        options.extend(system_folder(folder));
    }
    options.extend(words(&format!(
        "--proc /proc --dev /dev --size {little} --tmpfs /dev/shm --size {little} --tmpfs /tmp \
         --size {room} --tmpfs /work --chdir /work --remount-ro /dev"
    )));
    options
}

fn words(text: &str) -> Vec<OsString> {
    text.split_whitespace().map(OsString::from).collect()
}

/// A folder that is a link into `/usr` on merged systems, and one of its own on others.
fn system_folder(folder: &str) -> [OsString; 3] {
    let (option, source) = match std::fs::read_link(folder) {
        Ok(target) => ("--symlink", target.into_os_string()),
        Err(_) => ("--ro-bind-try", folder.into()),
    };
    [option.into(), source, folder.into()]
}

fn random() -> Result<[u64; 2], Unavailable> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Unavailable::NotWorking(format!("/dev/urandom: {error}")))?;
    let number = u128::from_be_bytes(bytes);
    Ok([(number >> 64) as u64, number as u64])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sandbox of nothing, whose command is looked at.
    fn sandbox(user: Option<u32>) -> Sandbox {
        let path = |name: &str| PathBuf::from(name);
        let (launcher, bubblewrap, python) = (path("/launcher"), path("/bwrap"), path("/python3"));
        Sandbox { launcher, bubblewrap, python, user, nonce: [1, 2], counter: AtomicU64::new(0) }
    }

    fn arguments(user: Option<u32>, limits: &Limits, slot: u32) -> Vec<String> {
        let command = sandbox(user).python(&["-c".to_owned(), "most(PROCESSES)".to_owned()], limits, slot);
        assert_eq!(command.get_program(), "/launcher");
        command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_launcher_is_told_whose_it_is_and_its_limits() {
        let own = std::process::id().to_string();
        let limits = Limits { time_s: 1.5, memory_mb: 77, output_mb: 1, processes: 9 };
        let all = arguments(None, &limits, 5);
        assert_eq!(all[..6], ["__sandbox", &own, "0", "77", "3", "/bwrap"]);
        assert_eq!(all[all.len() - 4..], ["--", "/python3", "-c", "most(9)"]);
        let below_zero = Limits { time_s: -3.0, ..limits };
        assert_eq!(arguments(None, &below_zero, 0)[4], "2");
    }

    #[test]
    fn runs_at_the_same_time_are_different_users_where_we_are_root() {
        let user = |slot: u32| arguments(Some(FIRST_USER), &Limits::default(), slot)[2].clone();
        assert_eq!([user(0), user(1), user(999), user(1000)], ["62000", "62001", "62999", "62000"]);
    }

    #[test]
    fn nothing_is_shared_and_folders_in_memory_are_bounded() {
        let all = |memory_mb: u64| arguments(None, &Limits { memory_mb, ..Limits::default() }, 0).join(" ");
        for option in ["--unshare-all", "--unshare-user", "--disable-userns", "--clearenv", "--new-session"] {
            assert!(all(64).contains(option), "{option}");
        }
        let sizes = |room: u64| {
            format!(
                "--size {0} --tmpfs /dev/shm --size {0} --tmpfs /tmp --size {1} --tmpfs /work --chdir /work",
                room << 18,
                room << 20
            )
        };
        for (memory, room) in [(1, 16), (16, 16), (17, 17), (255, 255), (256, 256), (1024, 256)] {
            assert!(all(memory).contains(&sizes(room)), "{memory}: {}", all(memory));
        }
    }

    #[test]
    fn no_nonce_comes_twice() {
        let sandbox = sandbox(None);
        let nonces: std::collections::BTreeSet<String> = (0..100).map(|_| sandbox.nonce()).collect();
        assert_eq!(nonces.len(), 100);
        assert!(nonces.iter().all(|nonce| nonce.len() > 32 && nonce.ends_with(':')));
        assert_ne!(random().unwrap(), random().unwrap());
    }

    #[test]
    fn the_default_limits_are_those_of_the_documentation() {
        assert_eq!(Limits::default(), Limits { time_s: 6.0, memory_mb: 1024, output_mb: 16, processes: 32 });
    }
}
