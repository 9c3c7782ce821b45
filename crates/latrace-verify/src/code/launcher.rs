//! The process between us and bubblewrap: it sets limits on itself, makes the filter and the program's file,
//! starts bubblewrap, waits until all of its processes have ended and says whether one of them held too much memory.
//!
//! It is a process of its own for two reasons. Descriptors that bubblewrap is to inherit would leak into
//! whatever else a threaded process starts meanwhile. And bubblewrap exits as soon as the program has ended,
//! often before the first process of its namespace: that process must be reaped by whoever adopts it, and the
//! init of a container may not do so.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitCode, ExitStatus};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use rustix::fs::{MemfdFlags, fchown, memfd_create};
use rustix::io::Errno;
use rustix::process::{
    Gid, Pid, Resource, Rlimit, Signal, Uid, WaitOptions, getpid, getppid, set_child_subreaper,
    set_parent_process_death_signal, setrlimit, setsid, wait,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    sock_filter,
};

use super::supervisor;

/// The first argument that makes an executable the launcher.
pub const ARGUMENT: &str = "__sandbox";

/// The second argument where there is to be no sandbox.
pub(crate) const BARE: &str = "bare";

/// Runs bubblewrap, or a command without it, and gives its exit code. `arguments` follow [`ARGUMENT`]: our process
/// id, user id (0: unchanged), memory in MiB, seconds of processor time, bubblewrap, its options, `--` and the
/// command; or `BARE`, our process id and the command. Standard input begins with files: their number, and of
/// each its path and its content, each number and length in eight bytes.
pub fn run(arguments: &[OsString]) -> ExitCode {
    let code = match arguments {
        [bare, parent, command @ ..] if bare == BARE => start_bare(parent, command),
        _ => start(arguments),
    };
    match code {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("{FAILED}{failure}");
            ExitCode::from(FAILED_CODE)
        }
    }
}

/// What standard error begins with where the sandbox, not the program, failed.
pub(crate) const FAILED: &str = "sandbox: ";
/// The exit code that goes with it.
pub(crate) const FAILED_CODE: u8 = 121;
/// The exit code where a process of the sandbox held more memory than the limit, however it ended. A program that
/// pretends this has failed either way.
pub(crate) const MEMORY_CODE: u8 = 122;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

fn start(arguments: &[OsString]) -> Result<u8> {
    let [parent, user, memory, seconds, bubblewrap, options @ ..] = arguments else {
        return Err("too few arguments".into());
    };
    let border = options.iter().position(|option| option == "--").ok_or("no command")?;
    // First of all: if our parent died before the signal was set, nobody would end us.
    bind_to_parent(number(parent)?)?;
    // Files in memory, since a temporary folder would have to be shared with the sandbox.
    let files = read_files()?;
    let files = files.iter().map(|(path, content)| Ok((path, shared_file("file", content)?)));
    let files = files.collect::<Result<Vec<_>>>()?;
    let filter = shared_file("filter", &filter_bytes()?)?;
    let memory = number(memory)?;
    limit(memory, number(seconds)?)?;
    let mut command = Command::new(bubblewrap);
    command.args(&options[..border]);
    for (path, file) in &files {
        command.args(["--perms", "0555", "--ro-bind-data"]).arg(file.as_raw_fd().to_string()).arg(path);
    }
    // After the last bind: the root must be writable while folders are made in it.
    command.args(["--remount-ro", "/"]).arg("--seccomp").arg(filter.as_raw_fd().to_string());
    command.args(&options[border..]).env_clear();
    let user = u32::try_from(number(user)?)?;
    give_pipes(user);
    run_as(&mut command, user);
    let status = command.spawn()?.wait()?;
    reap();
    if peak_bytes()? > memory << 20 { Ok(MEMORY_CODE) } else { Ok(u8::try_from(code_of(status))?) }
}

/// The most memory that one of the processes below us ever held, once they have ended.
fn peak_bytes() -> Result<u64> {
    // Linux counts it in KiB.
    Ok(u64::try_from(getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss())? << 10)
}

/// Runs a command without a sandbox, and ends all that it has started when it ends, or when the process does that
/// started us.
fn start_bare(parent: &OsString, command: &[OsString]) -> Result<u8> {
    // A session of its own: a Ctrl-C in the terminal would end us, and not a command that ignores it.
    let _ = setsid();
    set_child_subreaper(Some(getpid()))?;
    read_files()?;
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let started = Command::new(program).args(arguments).spawn();
    let child = started.map_err(|error| format!("{}: {error}", program.display()))?;
    let code = wait_for(Pid::from_child(&child), number(parent)?);
    kill_all();
    code
}

/// The exit code of a child; an error once our parent has ended.
fn wait_for(child: Pid, parent: u64) -> Result<u8> {
    const POLL: Duration = Duration::from_millis(5);
    loop {
        match wait(WaitOptions::NOHANG)? {
            Some((process, status)) if process == child => {
                return Ok(u8::try_from(code_of(ExitStatus::from_raw(status.as_raw())))?);
            }
            Some(_) => continue,
            None if is_parent(parent) => thread::sleep(POLL),
            None => return Err("what started this has ended".into()),
        }
    }
}

/// Kills our children until none is left; those of a child become ours when it ends.
fn kill_all() {
    loop {
        supervisor::kill_command(std::process::id());
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

fn number(text: &OsString) -> Result<u64> {
    Ok(text.to_str().ok_or("no number")?.parse()?)
}

/// Bubblewrap maps whatever user starts it, so root gives up its rights before.
fn run_as(command: &mut Command, user: u32) {
    if user != 0 {
        command.uid(user).gid(user);
    }
}

/// Lets the user open the pipes by name, as `/dev/stdin`.
fn give_pipes(user: u32) {
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
    let pipes = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    for pipe in pipes.into_iter().filter(|_| !user.is_root()) {
        // Where root may not change owners, they can still be used, only not by name.
        let _ = fchown(pipe, Some(user), Some(group));
    }
}

/// The exit code; for a signal as shells report it.
fn code_of(status: ExitStatus) -> i32 {
    const SIGNALLED: i32 = 128;
    status.code().unwrap_or_else(|| SIGNALLED + status.signal().unwrap_or(0))
}

/// Ends when the process that started us does, and adopts the processes that bubblewrap leaves behind.
fn bind_to_parent(parent: u64) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have ended between our start and the call above; then the signal never comes.
    if !is_parent(parent) {
        return Err("what started this has ended".into());
    }
    Ok(set_child_subreaper(Some(getpid()))?)
}

fn is_parent(process: u64) -> bool {
    getppid().is_some_and(|parent| u64::from(parent.as_raw_nonzero().get().unsigned_abs()) == process)
}

/// Waits until no child is left. When the first process of a namespace has ended, so have all others of it.
fn reap() {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// Reads exactly the files, unbuffered, so that what follows is left for the program itself.
fn read_files() -> Result<Vec<(OsString, Vec<u8>)>> {
    let mut input = File::from(rustix::stdio::stdin().try_clone_to_owned()?);
    let count = read_length(&mut input)?;
    (0..count).map(|_| Ok((OsString::from_vec(read_part(&mut input)?), read_part(&mut input)?))).collect()
}

fn read_part(input: &mut File) -> Result<Vec<u8>> {
    let mut part = vec![0; usize::try_from(read_length(input)?)?];
    input.read_exact(&mut part)?;
    Ok(part)
}

fn read_length(input: &mut File) -> Result<u64> {
    let mut length = [0; 8];
    input.read_exact(&mut length)?;
    Ok(u64::from_le_bytes(length))
}

/// A file in memory that bubblewrap inherits.
fn shared_file(name: &str, content: &[u8]) -> Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MemfdFlags::empty())?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

fn limit(memory_mb: u64, seconds: u64) -> Result<()> {
    // Interpreter and libraries map more than they use; the supervisor watches what is used.
    const ADDRESS_SLACK: u64 = 256 << 20;
    const FILE_BYTES: u64 = 64 << 20;
    const STACK_BYTES: u64 = 64 << 20;
    const OPEN_FILES: u64 = 256;
    lower(Resource::As, (memory_mb << 20) + ADDRESS_SLACK)?;
    lower(Resource::Cpu, seconds)?;
    lower(Resource::Fsize, FILE_BYTES)?;
    lower(Resource::Nofile, OPEN_FILES)?;
    lower(Resource::Stack, STACK_BYTES)?;
    // A crash must not write a core file.
    lower(Resource::Core, 0)
}

/// A limit may be lowered by anyone, and raised by root alone.
fn lower(resource: Resource, most: u64) -> Result<()> {
    let known = rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX);
    // The hard limit too, or the program could raise its own again.
    let most = Some(most.min(known));
    Ok(setrlimit(resource, Rlimit { current: most, maximum: most })?)
}

/// System calls that no solution of a task needs, and that reach beyond its own process.
const REFUSED: [libc::c_long; 49] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_personality,
    libc::SYS_vhangup,
    libc::SYS_fanotify_init,
    // Memory that the supervisor cannot see.
    libc::SYS_memfd_create,
    libc::SYS_shmget,
    libc::SYS_msgget,
];

/// The filter as the kernel takes it: refused calls fail with "operation not permitted".
fn filter_bytes() -> Result<Vec<u8>> {
    // An error rather than a kill: libraries probe for calls and manage without.
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules()?, SeccompAction::Allow, refuse, architecture)?;
    let program: BpfProgram = filter.try_into()?;
    // Before the rules, which allow what they do not name.
    let all = without_x32().into_iter().chain(program);
    Ok(all.flat_map(instruction_bytes).collect())
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What is refused: whole calls, and two calls by their arguments.
fn rules() -> Result<Rules> {
    let mut rules: Rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6].map(family_is_not);
    let other_family = families.into_iter().collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(other_family)?]);
    // Both write into the input of a terminal, which outlives the sandbox.
    let typing = [libc::TIOCSTI, libc::TIOCLINUX].map(request_is);
    rules.insert(libc::SYS_ioctl, typing.into_iter().collect::<Result<Vec<_>, _>>()?);
    Ok(rules)
}

fn request_is(request: libc::Ioctl) -> Result<SeccompRule> {
    let same = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, request)?;
    Ok(SeccompRule::new(vec![same])?)
}

/// Families whose sockets no network namespace confines, such as those between a virtual machine and its
/// host.
fn family_is_not(family: libc::c_int) -> Result<SeccompCondition> {
    Ok(SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family as u64)?)
}

/// Refuses the x32 ABI: x86-64 kernels may offer every call a second time, under numbers from 0x4000_0000 on,
/// which the rules do not name.
fn without_x32() -> [sock_filter; 3] {
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let (load_word, jump_if_at_least, give_back) = (0x20, 0x35, 0x06);
    let refuse = 0x0005_0000 | libc::EPERM as u32;
    [
        instruction(load_word, 0, 0, 0),
        instruction(jump_if_at_least, 0, 1, 0x4000_0000),
        instruction(give_back, 0, 0, refuse),
    ]
}

fn instruction_bytes(instruction: sock_filter) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..2].copy_from_slice(&instruction.code.to_ne_bytes());
    bytes[2] = instruction.jt;
    bytes[3] = instruction.jf;
    bytes[4..].copy_from_slice(&instruction.k.to_ne_bytes());
    bytes
}
