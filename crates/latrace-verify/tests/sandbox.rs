//! The sandbox at work: what a program may do in it, how its limits end it, and that nothing is left of it.
//!
//! Without a harness, for two reasons: the sandbox starts an executable of ours as its launcher, which is this
//! one; and the tests look at all processes that this process has, so they run one after another. Where there
//! is no sandbox, the tests of programs print a notice and hold nothing.

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    linux::main()
}

#[cfg(target_os = "linux")]
mod linux {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::ffi::OsString;
    use std::io::{BufRead, BufReader};
    use std::path::PathBuf;
    use std::process::{Command, ExitCode, Stdio};
    use std::time::{Duration, Instant};
    use std::{env, fs};

    use latrace_verify::Judgement;
    use latrace_verify::code::{Fencing, Json, LayerState, Limits, Sandbox, Tests, judge, launcher, layers};
    use latrace_verify::command::{
        BatchVerdicts, CommandProblem, CommandSettings, CommandVerifier, RowFields,
    };
    use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};

    /// The first argument that asks this executable to run a program that sleeps, until it is killed.
    const HOLD: &str = "__hold";

    /// A test of programs, by name.
    type Test = (&'static str, fn(&Sandbox));

    const PROGRAMS: [Test; 20] = [
        ("nothing_is_left_of_a_program_however_it_ends", nothing_is_left_of_a_program_however_it_ends),
        ("programs_reach_nothing_outside", programs_reach_nothing_outside),
        ("output_is_cut_off_above_its_limit_and_not_at_it", output_is_cut_off_above_its_limit_and_not_at_it),
        ("limits_are_those_that_were_asked_for", limits_are_those_that_were_asked_for),
        ("calls_that_reach_beyond_the_process_are_refused", calls_that_reach_beyond_the_process_are_refused),
        ("functions_are_called_with_their_arguments", functions_are_called_with_their_arguments),
        ("a_list_around_the_one_value_may_be_left_out", a_list_around_the_one_value_may_be_left_out),
        ("integers_of_any_size_go_in_and_come_out", integers_of_any_size_go_in_and_come_out),
        ("programs_import_for_themselves_and_functions_need_not", programs_import_for_themselves),
        ("a_program_finds_itself_and_its_input_by_name", a_program_finds_itself_and_its_input_by_name),
        ("functions_are_of_a_module_that_is_not_started", functions_are_of_a_module_that_is_not_started),
        ("what_a_function_returns_is_rebuilt", what_a_function_returns_is_rebuilt),
        ("a_check_calls_the_function_with_its_arguments", a_check_calls_the_function_with_its_arguments),
        ("no_program_passes_a_check_by_a_trick", no_program_passes_a_check_by_a_trick),
        ("no_program_passes_a_call_or_a_text_by_a_trick", no_program_passes_a_call_or_a_text_by_a_trick),
        ("a_command_judges_rows_in_the_sandbox", a_command_judges_rows_in_the_sandbox),
        ("a_command_finds_what_it_names_and_nothing_else", a_command_finds_what_it_names_and_nothing_else),
        ("nothing_is_left_of_a_command_without_a_sandbox", nothing_is_left_of_a_command_without_a_sandbox),
        ("the_first_test_that_fails_gives_the_reason", the_first_test_that_fails_gives_the_reason),
        ("the_launcher_ends_with_what_started_it", the_launcher_ends_with_what_started_it),
    ];

    pub(super) fn main() -> ExitCode {
        let arguments: Vec<OsString> = env::args_os().skip(1).collect();
        match arguments.first() {
            Some(first) if first == launcher::ARGUMENT => return launcher::run(&arguments[1..]),
            Some(first) if first == HOLD => hold(),
            _ => {}
        }
        let named =
            |name: &str| match arguments.iter().find(|argument| !argument.to_string_lossy().starts_with('-'))
            {
                Some(filter) => name.contains(&*filter.to_string_lossy()),
                None => true,
            };
        // Whatever loses its parent below this process becomes its child, and stays until it is waited for.
        set_child_subreaper(Some(getpid())).unwrap();
        match Sandbox::new(&this()) {
            Ok(sandbox) => PROGRAMS.iter().for_each(|(name, test)| run(name, named(name), || test(&sandbox))),
            Err(error) => println!("no sandbox here, so no program is run: {error}"),
        }
        // Namespaces that are tried by themselves leave processes behind, so these come last.
        for (name, test) in [
            ("layers_are_those_that_programs_see", layers_are_those_that_programs_see as fn()),
            ("without_a_launcher_nothing_works", without_a_launcher_nothing_works),
        ] {
            run(name, named(name), test);
        }
        ExitCode::SUCCESS
    }

    fn run(name: &str, wanted: bool, test: impl FnOnce()) {
        if wanted {
            test();
            println!("test {name} ... ok");
        }
    }

    /// This executable, which is a launcher when it is asked to be.
    fn this() -> PathBuf {
        env::current_exe().unwrap()
    }

    /// Time enough for a machine that does other work too.
    const LIMITS: Limits = Limits { time_s: 60.0, memory_mb: 256, output_mb: 1, processes: 16 };
    const SHORT: Limits = Limits { time_s: 0.5, ..LIMITS };

    /// The reason that is given for `program` under tests written as JSON.
    fn reason(sandbox: &Sandbox, tests: &str, program: &str, limits: Limits) -> &'static str {
        let tests = Tests::read(&Json::read(tests).unwrap()).unwrap();
        judge(&tests, program, Fencing::Optional, &limits, sandbox, 0).reason.code()
    }

    /// Checks a program that should double a number.
    #[track_caller]
    fn check(sandbox: &Sandbox, program: &str, limits: Limits, expected: &str) {
        let tests = r#"{"inputs": ["3\n"], "outputs": ["6\n"]}"#;
        assert_eq!(reason(sandbox, tests, program, limits), expected, "{program}");
        assert_eq!(children(), Vec::<String>::new(), "after {program}");
    }

    /// Checks that a program prints a text.
    #[track_caller]
    fn check_printed(sandbox: &Sandbox, program: &str, limits: Limits, expected: &str) {
        let tests = serde_json::json!({"inputs": [""], "outputs": [expected]}).to_string();
        assert_eq!(reason(sandbox, &tests, program, limits), "equal", "{program}");
    }

    /// Children of this process, dead or alive, by name.
    fn children() -> Vec<String> {
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        let name = |process: &str| fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        lists.flat_map(|list| list.split_whitespace().map(name).collect::<Vec<_>>()).collect()
    }

    fn nothing_is_left_of_a_program_however_it_ends(sandbox: &Sandbox) {
        let spawn = "import os, time\nfor _ in range(5):\n  if os.fork() == 0: time.sleep(60)\n";
        for _ in 0..10 {
            check(sandbox, "print(2 * int(input()))", LIMITS, "equal");
        }
        check(sandbox, "print(6)\nimport sys; sys.exit(0)", LIMITS, "equal");
        check(sandbox, "print(5)", LIMITS, "different");
        check(sandbox, &format!("{spawn}print(2 * int(input()))"), LIMITS, "equal");
        check(sandbox, "import sys; sys.exit(1)", LIMITS, "crashed");
        check(sandbox, "import os; os.kill(os.getpid(), 9)", LIMITS, "crashed");
        check(sandbox, "import time; time.sleep(60)", SHORT, "time_limit");
        check(sandbox, "while True: pass", SHORT, "time_limit");
        check(sandbox, &format!("{spawn}time.sleep(60)"), SHORT, "time_limit");
        check(sandbox, "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", SHORT, "time_limit");
        let hoard = "import os, time\nfor _ in range(6):\n  if os.fork() == 0:\n\
                     \x20   b = bytearray(60 << 20); time.sleep(60)\ntime.sleep(60)";
        check(sandbox, hoard, LIMITS, "memory_limit");
        let crowd = "import os, time\nfor _ in range(40):\n  if os.fork() == 0: time.sleep(9)";
        check(sandbox, crowd, LIMITS, "crashed");
        check(sandbox, "while True: print('x' * 1000)", LIMITS, "output_limit");
        let double_fork = "import os, time\nif os.fork() == 0:\n  os.setsid()\n\
                           \x20 if os.fork() == 0: time.sleep(60)\n  os._exit(0)\nos.wait()\n";
        check(sandbox, &format!("{double_fork}print(2 * int(input()))"), LIMITS, "equal");
    }

    fn programs_reach_nothing_outside(sandbox: &Sandbox) {
        check(sandbox, "import socket; socket.create_connection(('127.0.0.1', 1), 1)", LIMITS, "crashed");
        check(sandbox, "open('/etc/passwd')", LIMITS, "crashed");
        check(sandbox, "open('/usr/x', 'w')", LIMITS, "crashed");
        check(sandbox, "open('/x', 'w')", LIMITS, "crashed");
        check(sandbox, "open('/dev/x', 'w')", LIMITS, "crashed");
        let known = "{'PATH', 'HOME', 'LANG', 'PWD', 'LC_CTYPE'}";
        check_printed(
            sandbox,
            &format!("import os; print(set(os.environ) - {known} or 'none')"),
            LIMITS,
            "none",
        );
        let places = "import os; print(os.getcwd(), os.getuid(), os.getgid(), os.uname().nodename)";
        check_printed(sandbox, places, LIMITS, "/work 65534 65534 sandbox");
        // A folder is empty at each run, whatever the run before left there.
        for _ in 0..2 {
            check_printed(sandbox, "import os; print(os.listdir('.')); open('mark', 'w')", LIMITS, "[]");
        }
        // The listing opens one descriptor itself.
        check_printed(sandbox, "import os; print(len(os.listdir('/proc/self/fd')))", LIMITS, "4");
        check_printed(
            sandbox,
            "import os; print(sum(name.isdigit() for name in os.listdir('/proc')) < 4)",
            LIMITS,
            "True",
        );
        // A program need not read its input, nor the input fit into a pipe.
        let tests = serde_json::json!({"inputs": ["x".repeat(1 << 20)], "outputs": ["1"]}).to_string();
        assert_eq!(reason(sandbox, &tests, "print(1)", LIMITS), "equal");
        assert_eq!(reason(sandbox, &tests, "print(len(input()) >> 20)", LIMITS), "equal");
    }

    fn output_is_cut_off_above_its_limit_and_not_at_it(sandbox: &Sandbox) {
        let printing = |bytes: usize| format!("import sys; sys.stdout.write('x' * {bytes})");
        let tests =
            |bytes: usize| serde_json::json!({"inputs": [""], "outputs": ["x".repeat(bytes)]}).to_string();
        for mebibytes in [1, 2] {
            let limits = Limits { output_mb: mebibytes, ..LIMITS };
            let most = usize::try_from(mebibytes).unwrap() << 20;
            assert_eq!(reason(sandbox, &tests(most), &printing(most), limits), "equal");
            assert_eq!(reason(sandbox, &tests(most + 1), &printing(most + 1), limits), "output_limit");
        }
    }

    fn limits_are_those_that_were_asked_for(sandbox: &Sandbox) {
        let limits = Limits { time_s: 30.0, memory_mb: 300, output_mb: 1, processes: 11 };
        let program = "import resource\n\
                       for name in ('AS', 'CPU', 'FSIZE', 'NOFILE', 'STACK', 'CORE', 'NPROC'):\n\
                       \x20 print(name, *resource.getrlimit(getattr(resource, 'RLIMIT_' + name)))";
        let mebibyte = 1_u64 << 20;
        // 256 MiB of address space beyond the memory that may be used; two seconds beyond the wall time.
        let expected = [
            ("AS", (300 + 256) * mebibyte),
            ("CPU", 32),
            ("FSIZE", 64 * mebibyte),
            ("NOFILE", 256),
            ("STACK", 64 * mebibyte),
            ("CORE", 0),
            ("NPROC", 11),
        ];
        let lines: Vec<String> =
            expected.iter().map(|(name, most)| format!("{name} {most} {most}")).collect();
        check_printed(sandbox, program, limits, &lines.join("\n"));
        // Folders in memory are smaller where memory is, within 16 and 256 MiB.
        let rooms = "import os\n\
                     for place in ('/work', '/tmp', '/dev/shm'):\n\
                     \x20 room = os.statvfs(place); print(room.f_blocks * room.f_frsize >> 20)";
        check_printed(sandbox, rooms, Limits { memory_mb: 200, ..LIMITS }, "200\n50\n50");
        check_printed(sandbox, rooms, Limits { memory_mb: 1024, ..LIMITS }, "256\n64\n64");
        // What a program holds counts, not what it reserves; one process within the limit is left alone.
        let used = |mebibytes: u64| {
            format!("import time; b = bytearray(b'x') * ({mebibytes} << 20); time.sleep(0.3); print(6)")
        };
        check(sandbox, &used(150), LIMITS, "equal");
        check(sandbox, &used(270), LIMITS, "memory_limit");
        // Above the limit for a few milliseconds, which no look at it need see.
        for _ in 0..5 {
            check(sandbox, "b = bytearray(b'x') * (256 << 20); print(6)", LIMITS, "memory_limit");
        }
    }

    fn calls_that_reach_beyond_the_process_are_refused(sandbox: &Sandbox) {
        let refused = |call: String| {
            let program = format!(
                "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n\
                 print(libc.{call}, ctypes.get_errno())"
            );
            check_printed(sandbox, &program, LIMITS, "-1 1");
        };
        let calls = [
            libc::SYS_ptrace,
            libc::SYS_mount,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_keyctl,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_process_vm_readv,
            libc::SYS_memfd_create,
            libc::SYS_shmget,
            libc::SYS_msgget,
            libc::SYS_personality,
        ];
        for call in calls {
            refused(format!("syscall({call}, 0, 0, 0, 0, 0)"));
        }
        // The same call by the x32 ABI, which kernels for x86-64 may offer.
        if cfg!(target_arch = "x86_64") {
            refused(format!("syscall({}, 0)", libc::SYS_getpid | 0x4000_0000));
        }
        // Sockets between a machine and its host, and to the kernel: no network namespace confines them.
        refused(format!("socket({}, 1, 0)", libc::AF_VSOCK));
        refused(format!("socket({}, 2, 0)", libc::AF_NETLINK));
        // Text typed into another's terminal.
        refused(format!("ioctl(0, {}, 0)", libc::TIOCSTI));
        refused(format!("ioctl(0, {}, 0)", libc::TIOCLINUX));
        let sockets = "from socket import *\n\
                       for family in (AF_UNIX, AF_INET, AF_INET6): socket(family)\nprint(1)";
        check_printed(sandbox, sockets, LIMITS, "1");
    }

    fn functions_are_called_with_their_arguments(sandbox: &Sandbox) {
        let tests = r#"{"fn_name": "f", "inputs": [[[1, 5, 2], 3]], "outputs": [[1, 5]]}"#;
        let check = |body: &str, expected: &str| {
            let program =
                format!("print('noise')\nclass Solution:\n    def f(self, x: List[int], n):\n        {body}");
            assert_eq!(reason(sandbox, tests, &program, LIMITS), expected, "{body}");
        };
        check("return (min(x), max(x))", "equal");
        check("print('noise'); return [n - 2, n + 2]", "equal");
        check("return [5, 1]", "different");
        check("return None", "different");
        check("raise SystemExit(0)", "different");
        check("raise ValueError", "crashed");
        check("return object()", "crashed");
        // What a program prints is never taken for what it returns.
        check("import os; os.write(1, b'[1, 5]'); os._exit(0)", "different");
        let unnamed =
            r#"[{"input": "2\n3", "output": "{\"5\": [1.5, null, true]}", "testtype": "functional"}]"#;
        let solution = "class Solution:\n    def _g(self): pass\n\
                        \x20   def f(self, a, b): return {a + b: (1.5, None, True)}";
        assert_eq!(reason(sandbox, unnamed, solution, LIMITS), "equal");
        let infinite = "class Solution:\n    def f(self, a, b): return {5: [float('inf'), None, True]}";
        assert_eq!(reason(sandbox, unnamed, infinite, LIMITS), "different");
        let two = format!("{solution}\n    def g(self): pass");
        assert_eq!(reason(sandbox, unnamed, &two, LIMITS), "crashed", "two public methods, and no name");
    }

    fn a_list_around_the_one_value_may_be_left_out(sandbox: &Sandbox) {
        let tests = r#"{"fn_name": "f", "inputs": [[1], [2]], "outputs": [[2], [4]]}"#;
        assert_eq!(reason(sandbox, tests, "def f(x): return 2 * x", LIMITS), "equal");
        assert_eq!(reason(sandbox, tests, "def f(x): return [2 * x]", LIMITS), "equal");
        assert_eq!(reason(sandbox, tests, "def f(x): return [2 * x, 0]", LIMITS), "different");
        let mixed = r#"{"fn_name": "f", "inputs": [[1], [2]], "outputs": [[2], [4, 4]]}"#;
        assert_eq!(reason(sandbox, mixed, "def f(x): return 2 if x == 1 else [4, 4]", LIMITS), "different");
    }

    fn integers_of_any_size_go_in_and_come_out(sandbox: &Sandbox) {
        let check = |program: &str, output: &str, expected: &str| {
            let tests = format!(
                r#"{{"fn_name": "f", "inputs": [[123456789012345678901234567890]], "outputs": [{output}]}}"#
            );
            assert_eq!(reason(sandbox, &tests, program, LIMITS), expected, "{program}");
        };
        check("def f(x): return x + 1", "123456789012345678901234567891", "equal");
        check("def f(x): return x + 1", "123456789012345678901234567890", "different");
        check("def f(x): return float(x)", "123456789012345678901234567890", "different");
        check("def f(x): return type(x).__name__", "\"int\"", "equal");
        check("def f(x): return 10 ** 5000", &format!("1{}", "0".repeat(5000)), "equal");
    }

    fn programs_import_for_themselves(sandbox: &Sandbox) {
        for name in ["os", "resource", "sys", "math"] {
            check(sandbox, &format!("{name}; print(6)"), LIMITS, "crashed");
        }
        // LeetCode imports the usual modules for a function; its builtins stay Python's own.
        let tests = r#"{"fn_name": "f", "inputs": [[9]], "outputs": [[3.0, 2, 81]]}"#;
        let program = "def f(x): return [sqrt(x), bisect.bisect([1, 2], 5), pow(x, 2)]";
        assert_eq!(reason(sandbox, tests, program, LIMITS), "equal");
        let builtin = "def f(x): return [sqrt(x), 2, pow(x, 2, 1000)]";
        assert_eq!(reason(sandbox, tests, builtin, LIMITS), "equal", "math.pow takes two arguments alone");
    }

    fn a_program_finds_itself_and_its_input_by_name(sandbox: &Sandbox) {
        check(sandbox, "print(2 * int(open('/dev/stdin').read()))", LIMITS, "equal");
        check(
            sandbox,
            "with open('/dev/stdout', 'w') as out: print(2 * int(input()), file=out)",
            LIMITS,
            "equal",
        );
        let own =
            "import sys\nprint(6 if 'own' in open(sys.argv[0]).read() and __file__ == sys.argv[0] else 5)";
        check(sandbox, own, LIMITS, "equal");
        check(sandbox, "import sys; print(6 if len(sys.argv) == 1 else 5)", LIMITS, "equal");
        check(sandbox, "if __name__ == '__main__': print(6)", LIMITS, "equal");
    }

    fn functions_are_of_a_module_that_is_not_started(sandbox: &Sandbox) {
        let tests = r#"{"fn_name": "f", "inputs": [[2]], "outputs": [4]}"#;
        for guarded in
            ["print(f(int(input())))", "import unittest; unittest.main()", "import sys; sys.exit(0)"]
        {
            let program = format!("def f(x): return 2 * x\nif __name__ == '__main__':\n    {guarded}");
            assert_eq!(reason(sandbox, tests, &program, LIMITS), "equal", "{guarded}");
        }
        let program = "from __future__ import annotations\nfrom dataclasses import dataclass\nimport sys\n\
                       @dataclass\nclass Point:\n    x: int\n\
                       def f(x): return Point(x).x + x if sys.modules[__name__].f is f else 0";
        assert_eq!(reason(sandbox, tests, program, LIMITS), "equal");
    }

    fn what_a_function_returns_is_rebuilt(sandbox: &Sandbox) {
        let check = |program: &str, output: &str, expected: &str| {
            let tests = format!(r#"{{"fn_name": "f", "inputs": [[3]], "outputs": [{output}]}}"#);
            assert_eq!(reason(sandbox, &tests, program, LIMITS), expected, "{program}");
        };
        // A subclass is the value that it holds, whatever its methods say.
        let number = "class N(int):\n    def __repr__(self): return '6'\n    __str__ = __index__ = __int__ = __repr__\n";
        check(&format!("{number}def f(x): return N(5)"), "6", "different");
        check(&format!("{number}def f(x): return N(5)"), "5", "equal");
        check("import enum\nclass E(enum.IntEnum):\n    A = 6\ndef f(x): return E.A", "6", "equal");
        let text =
            "class S(str):\n    def __str__(self): return 'b'\n    def __iter__(self): return iter('b')\n";
        check(&format!("{text}def f(x): return S('a')"), "\"b\"", "different");
        check(&format!("{text}def f(x): return S('a')"), "\"a\"", "equal");
        let list =
            "class L(list):\n    def __iter__(self): return iter([6])\n    def __len__(self): return 1\n";
        check(&format!("{list}def f(x): return L()"), "[6]", "different");
        check(&format!("{list}def f(x): return L([1, 2])"), "[1, 2]", "equal");
        let dict = "class D(dict):\n    def items(self): return [('a', 6)]\n    keys = __iter__ = lambda self: iter('a')\n";
        check(&format!("{dict}def f(x): return D()"), "{\"a\": 6}", "different");
        check("from collections import *\ndef f(x): return Counter('aab')", "{\"a\": 2, \"b\": 1}", "equal");
        let float =
            "class F(float):\n    def __repr__(self): return '6.5'\n    __str__ = __float__ = __repr__\n";
        check(&format!("{float}def f(x): return F(1.5)"), "6.5", "different");
        // What only looks like a number, or is no data, is none.
        check(
            "class N:\n    __class__ = int\n    def __index__(self): return 6\ndef f(x): return N()",
            "6",
            "crashed",
        );
        check("from unittest.mock import ANY\ndef f(x): return [ANY]", "[6]", "crashed");
        check("def f(x): return (i for i in [6])", "[6]", "crashed");
        check("def f(x):\n    a = []\n    a.append(a)\n    return a", "[6]", "crashed");
    }

    /// The reason that is given for a program under a check of `f`.
    fn checked(sandbox: &Sandbox, test: &str, program: &str) -> &'static str {
        let prompt =
            "import math\n\ndef twice(x):\n    return 2 * x\n\ndef f(x):\n    \"\"\"Twice x.\"\"\"\n";
        let tests = serde_json::json!({"prompt": prompt, "test": test, "entry_point": "f"}).to_string();
        let limits = Limits { time_s: 60.0, ..LIMITS };
        let response = format!("```python\n{program}\n```");
        let tests = Tests::read(&Json::read(&tests).unwrap()).unwrap();
        let reason = judge(&tests, &response, Fencing::Required, &limits, sandbox, 0).reason.code();
        assert_eq!(children(), Vec::<String>::new(), "after {program}");
        reason
    }

    const CHECK: &str = "METADATA = {}\n\ndef check(candidate):\n    assert candidate(3) == 6\n    assert candidate(4) == 8\n";

    fn a_check_calls_the_function_with_its_arguments(sandbox: &Sandbox) {
        let check = |program: &str, expected: &str| {
            assert_eq!(checked(sandbox, CHECK, program), expected, "{program}")
        };
        check("    return x + x", "equal");
        check("def f(x):\n    return twice(x)", "equal");
        check("class Solution:\n    def f(self, x):\n        return 2 * x", "equal");
        check("    return 6", "different");
        check("    return None", "different");
        check("    return x / 0", "crashed");
        check("    return y +", "crashed");
        check("    import os; os._exit(0)", "crashed");
        check("def f(x): return 2 * x\nif __name__ == '__main__': print(f(int(input())))", "equal");
        let test = |body: &str, program: &str| checked(sandbox, &format!("def check(c):\n{body}"), program);
        let values =
            "    assert c((1, [2.5, None]), k={1: {2}}) == ((1, [2.5, None]), {1: {2}}, b'a', 1j, True)\n";
        assert_eq!(test(values, "def f(x, k): return x, k, b'a', 1j, True"), "equal");
        assert_eq!(
            test(values, "def f(x, k): return [x, k, b'a', 1j, True]"),
            "different",
            "a list is no tuple"
        );
        assert_eq!(test("    assert c(0) == 10 ** 5000\n", "def f(x): return 10 ** 5000"), "equal");
        assert_eq!(
            test(
                "    assert math.isnan(c(0)) and c(1) > 1e308\n",
                "def f(x): return math.inf if x else math.nan"
            ),
            "equal"
        );
        assert_eq!(test("    assert c(3) == twice(3)\n    assert f(4) == 8\n", "    return 2 * x"), "equal");
        let raises = "    try: c(3)\n    except ValueError: return\n    assert False\n";
        assert_eq!(test(raises, "    raise ValueError(x)"), "equal");
        assert_eq!(test(raises, "    raise KeyError(x)"), "crashed");
        for bad in ["    assert c(object())\n", "    assert c(lambda: 0)\n"] {
            assert_eq!(test(bad, "    return 1"), "bad_gold", "what is no data cannot be handed over");
        }
        assert_eq!(checked(sandbox, "def chek(c): pass", "    return 1"), "bad_gold");
        assert_eq!(checked(sandbox, "def check(c):", "    return 1"), "bad_gold");
        let run = |program: &str, limits: Limits| {
            let tests = serde_json::json!({"prompt": "", "test": CHECK, "entry_point": "f"}).to_string();
            assert_eq!(children(), Vec::<String>::new());
            reason(sandbox, &tests, program, limits)
        };
        assert_eq!(run("def f(x):\n    while True: pass", SHORT), "time_limit");
        assert_eq!(run("while True: pass", SHORT), "time_limit");
        assert_eq!(run("def f(x):\n    return bytearray(b'x') * (270 << 20)", LIMITS), "memory_limit");
        assert_eq!(run("def f(x): return 'x' * (2 << 20)", LIMITS), "output_limit");
        assert_eq!(run("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", SHORT), "time_limit");
        let crowd = "import os, time\nfor _ in range(5):\n  if os.fork() == 0: time.sleep(60)\ndef f(x): return 2 * x";
        assert_eq!(run(crowd, LIMITS), "equal");
        assert_eq!(children(), Vec::<String>::new());
    }

    /// Classes whose objects claim to be equal to anything.
    const EQUAL: [(&str, &str); 8] = [
        ("", "A()"),
        ("int", "A(1)"),
        ("str", "A('a')"),
        ("list", "A([1])"),
        ("tuple", "A((1,))"),
        ("dict", "A(a=1)"),
        ("float", "A(1.5)"),
        ("set", "A({1})"),
    ];

    fn liar((base, value): (&str, &str), returned: &str) -> String {
        let methods = "__eq__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = __bool__ = lambda *_: True\n\
                       \x20   __ne__ = lambda *_: False\n    __hash__ = lambda *_: hash(6)\n\
                       \x20   __sub__ = __rsub__ = __abs__ = __round__ = lambda *_: 0\n\
                       \x20   __len__ = __index__ = __int__ = lambda *_: 6\n    __float__ = lambda *_: 6.0\n\
                       \x20   __iter__ = lambda *_: iter([6])\n    __getattr__ = lambda *_: A";
        format!("class A({base}):\n    {methods}\ndef f(x):\n    return {}\n", returned.replace("$", value))
    }

    fn no_program_passes_a_check_by_a_trick(sandbox: &Sandbox) {
        let deep = "def check(c):\n    assert c(3) == [6] or c(3) == {'k': 6} or c(3) == (6, 6) or abs(c(3) - 6) < 1e-6\n\
                    \x20   assert sorted(c(3)) == [6] or len(c(3)) == 6 or 6 in c(3) or int(c(3)) == 6\n";
        for class in EQUAL {
            let program = liar(class, "$");
            assert_ne!(checked(sandbox, CHECK, &program), "equal", "{program}");
            for returned in ["$", "[$]", "{'k': $}", "($, $)", "{$: 6}"] {
                let program = liar(class, returned);
                assert_ne!(checked(sandbox, deep, &program), "equal", "{program}");
            }
        }
        let tricks = [
            // Ends early, before or in the call, at the end, or in a thread.
            "import os; os._exit(0)",
            "import sys; sys.exit(0)",
            "def f(x): raise SystemExit(0)",
            "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): raise SystemExit",
            "import os\ndef f(x): os.kill(os.getpid(), 9)",
            "import os\ndef f(x): os.kill(os.getppid(), 9)",
            "import os\ndef f(x): os.kill(-1, 9)",
            // Errors that end what the check may loop over.
            "def f(x): raise StopIteration",
            "def f(x): raise GeneratorExit",
            // Changes what the check would call, were it in the same interpreter.
            "import builtins\nbuiltins.AssertionError = builtins.BaseException\ndef f(x): return 0",
            "import builtins\nbuiltins.abs = builtins.all = lambda *_: True\ndef f(x): return 0",
            "import sys\nfor m in list(sys.modules.values()):\n    vars(m).update(check=lambda c: None)\ndef f(x): return 0",
            "def check(candidate): pass\ndef twice(x): return 0\ndef f(x): return 0",
            "import sys, json\njson.loads = json.dumps = lambda *_, **__: 6\ndef f(x): return 0",
            "import sys\nsys.settrace(lambda frame, *_: frame.f_locals.update(reply=6))\ndef f(x): return 0",
            "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n        frame.f_globals.update(_plain=lambda _: 6)\n\
             \x20       frame = frame.f_back\n    return 0",
            // Looks for the check, or for what it expects.
            "import gc\ndef f(x):\n    found = [o for o in gc.get_objects() if isinstance(o, str) and re.search('assert [c]andidate', o)]\n\
             \x20   return 6 if found else 0",
            "import gc, os\ndef f(x):\n    texts = []\n    for root, _, names in os.walk('/'):\n\
             \x20       if root.startswith(('/usr', '/sys', '/lib')): continue\n        for name in names:\n\
             \x20           try: texts.append(open(os.path.join(root, name), 'rb').read(1 << 16))\n\
             \x20           except OSError: pass\n    return 2 * x if any(re.search(rb'candidate[(]3[)] == 6', t) for t in texts) else 0",
            "def f(x):\n    with open('/proc/self/mem', 'rb') as memory:\n        for line in open('/proc/self/maps'):\n\
             \x20           try:\n                a, b = (int(n, 16) for n in line.split()[0].split('-'))\n\
             \x20               memory.seek(a)\n                if re.search(rb'candidate[(]3[)] == 6', memory.read(b - a)): return 2 * x\n\
             \x20           except (OSError, ValueError, OverflowError): pass\n    return 0",
            // Writes replies of its own where the harness writes them.
            "import os\nfor place in range(3, 256):\n    try: os.write(place, b'[\"value\", true]\\n' * 9)\n    except OSError: pass\n\
             def f(x): return 0",
            "import os\nfor place in range(3, 256):\n    try: os.write(place, b'\"passed\"\\n{}\\n0\\n' * 9)\n    except OSError: pass\n\
             def f(x): return 0",
        ];
        for program in tricks {
            assert_ne!(checked(sandbox, CHECK, program), "equal", "{program}");
        }
        // An error of the program that would end an iteration does not end one of the check.
        let loop_over = "def check(c):\n    for value in map(c, [3, 4]):\n        assert value == 6\n";
        assert_eq!(
            checked(sandbox, loop_over, "    if x == 4: raise StopIteration\n    return 6"),
            "crashed"
        );
        let lists = "def check(c):\n    assert all(map(lambda x: c(x) == 2 * x, [3, 4]))\n";
        assert_eq!(checked(sandbox, lists, "    if x == 4: raise StopIteration\n    return 6"), "crashed");
    }

    fn no_program_passes_a_call_or_a_text_by_a_trick(sandbox: &Sandbox) {
        let called = |output: &str, program: &str| {
            let tests = format!(r#"{{"fn_name": "f", "inputs": [[3]], "outputs": [{output}]}}"#);
            assert_ne!(reason(sandbox, &tests, program, LIMITS), "equal", "{output} {program}");
        };
        for class in EQUAL {
            for (returned, output) in
                [("$", "6"), ("[$]", "[6]"), ("{'k': $}", "{\"k\": 6}"), ("[$, 6]", "[6]")]
            {
                called(output, &liar(class, returned));
            }
            let tests = r#"{"inputs": ["3\n"], "outputs": ["6\n"]}"#;
            let printing = format!("{}print(f(3) == 6)\nprint(f(3), end='')", liar(class, "$"));
            assert_ne!(reason(sandbox, tests, &printing, LIMITS), "equal", "{printing}");
        }
        // It may find the nonce, and write a result itself; but not what it is compared with.
        let forging = "import os, sys\ndef f(x):\n    nonce = sys._getframe(1).f_globals['_request']['nonce']\n\
                       \x20   for place in range(3, 256):\n        try: os.write(place, (nonce + RESULT).encode())\n\
                       \x20       except OSError: pass\n    os._exit(0)";
        for result in ["'true'", "'[]'", "'{\"__eq__\": true}'", "'null'", "''"] {
            called("6", &forging.replace("RESULT", result));
        }
        called("6", "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): raise SystemExit(0)");
        called(
            "6",
            "import gc\ndef f(x):\n    return [o for o in gc.get_objects() if isinstance(o, dict) and 'outputs' in o]",
        );
        let tests = r#"{"inputs": ["3\n"], "outputs": ["6\n"]}"#;
        let patched = "import sys\nclass W:\n    def write(self, s): pass\n    def getvalue(self): return '6'\n\
                       \x20   flush = close = lambda self: None\nsys.stdout = W()\nprint(5)";
        assert_eq!(reason(sandbox, tests, patched, LIMITS), "different");
    }

    /// A verifier whose program is a script in Python.
    fn script(folder: &std::path::Path, source: &str, time_limit_s: f64) -> CommandVerifier {
        let path = folder.join("judge.py");
        fs::write(&path, source).unwrap();
        let command = ["python3", path.to_str().unwrap()].map(str::to_owned).to_vec();
        CommandVerifier::open(CommandSettings { command, time_limit_s, ..CommandSettings::none() }).unwrap()
    }

    /// Reasons and notes of verdicts.
    fn reasons(verdicts: Result<BatchVerdicts, CommandProblem>) -> Vec<(&'static str, Option<String>)> {
        let of = |judgement: Judgement| (judgement.reason.code(), judgement.note);
        verdicts.unwrap().judgements.into_iter().map(of).collect()
    }

    fn rows(golds: &[&str]) -> Vec<Json> {
        let row = |gold: &&str| serde_json::json!({"id": "a", "gold": gold, "question": "3 + 3"});
        golds.iter().map(|gold| Json::from(&row(gold))).collect()
    }

    fn batch(rows: &[Json]) -> Vec<RowFields<'_>> {
        rows.iter().map(|fields| RowFields { fields, prediction: "6" }).collect()
    }

    const EQUALITY: &str = "import json, sys\n\
        for line in sys.stdin:\n    row = json.loads(line)\n\
        \x20   verdict = 'correct' if row['prediction'] == row['gold'] else 'wrong'\n\
        \x20   print(json.dumps({'id': row['id'], 'verdict': verdict, 'reason': row['question']}))\n";

    fn a_command_judges_rows_in_the_sandbox(sandbox: &Sandbox) {
        let folder = tempfile::tempdir().unwrap();
        let rows = rows(&["6", "5", "6"]);
        let verifier = script(folder.path(), EQUALITY, 60.0);
        // The file is read once: what is run is what its checksum was taken of.
        fs::write(folder.path().join("judge.py"), "raise ValueError").unwrap();
        let note = Some("3 + 3".to_owned());
        let expected = ["equal", "different", "equal"].map(|reason| (reason, note.clone()));
        assert_eq!(reasons(verifier.judge_in(sandbox, &batch(&rows), 0)), expected);
        let failing = format!("{EQUALITY}sys.stdout.flush()\nraise ValueError('no')");
        let verifier = script(folder.path(), &failing, 60.0);
        for (reason, note) in reasons(verifier.judge_in(sandbox, &batch(&rows), 0)) {
            let note = note.unwrap();
            assert_eq!(reason, "verifier_failed");
            assert!(note.contains("exit code 1") && note.ends_with("ValueError: no"), "{note}");
        }
        let verifier = script(folder.path(), &format!("{EQUALITY}import time; time.sleep(60)"), 1.0);
        let late = reasons(verifier.judge_in(sandbox, &batch(&rows), 0));
        assert!(late.iter().all(|(reason, _)| *reason == "verifier_time_limit"), "{late:?}");
        let command = vec!["no-such-program".to_owned()];
        let missing = CommandVerifier::open(CommandSettings { command, ..CommandSettings::none() }).unwrap();
        for problem in
            [missing.judge_in(sandbox, &batch(&rows), 0), missing.judge_bare(&this(), &batch(&rows))]
        {
            let problem = problem.unwrap_err().to_string();
            assert!(problem.contains("no-such-program") && problem.contains("does not start"), "{problem}");
        }
        assert_eq!(children(), Vec::<String>::new());
    }

    fn a_command_finds_what_it_names_and_nothing_else(sandbox: &Sandbox) {
        let folder = tempfile::tempdir().unwrap();
        let source = "import json, os, socket, sys\nrow = json.loads(sys.stdin.readline())\n\
            here = os.path.dirname(sys.argv[0])\nfound = sorted(os.listdir(here)) + [open(sys.argv[1]).read()]\n\
            found += sorted(set(os.environ) & {'VERIFY_SECRET', 'HOME'}) + [os.environ['HOME']]\n\
            try: socket.create_connection(('127.0.0.1', 1), 1)\nexcept OSError as error: found.append(type(error).__name__)\n\
            print(json.dumps({'id': row['id'], 'verdict': 'correct', 'reason': ' '.join(found)}))";
        let [judge, key, other] = ["judge.py", "key.txt", "other.txt"].map(|name| folder.path().join(name));
        fs::write(&judge, source).unwrap();
        fs::write(&key, "the key").unwrap();
        fs::write(&other, "private").unwrap();
        let command = ["python3", judge.to_str().unwrap(), key.to_str().unwrap()].map(str::to_owned).to_vec();
        let verifier = CommandVerifier::open(CommandSettings { command, ..CommandSettings::none() }).unwrap();
        let said = reasons(verifier.judge_in(sandbox, &batch(&rows(&["6"])), 0)).remove(0).1.unwrap();
        assert!(said.starts_with("judge.py key.txt the key HOME /work "), "{said}");
        // A program of its own, and not by an interpreter.
        let own = folder.path().join("own");
        fs::write(&own, format!("#!/usr/bin/python3\n{EQUALITY}")).unwrap();
        let command = vec![own.to_str().unwrap().to_owned()];
        let verifier = CommandVerifier::open(CommandSettings { command, ..CommandSettings::none() }).unwrap();
        assert_eq!(reasons(verifier.judge_in(sandbox, &batch(&rows(&["6"])), 0))[0].0, "equal");
    }

    fn nothing_is_left_of_a_command_without_a_sandbox(_: &Sandbox) {
        let folder = tempfile::tempdir().unwrap();
        let rows = rows(&["6", "5"]);
        let with = |before: &str, after: &str, time_limit_s: f64| {
            let verifier = script(folder.path(), &format!("{before}\n{EQUALITY}{after}"), time_limit_s);
            let reasons = reasons(verifier.judge_bare(&this(), &batch(&rows)));
            assert_eq!(children(), Vec::<String>::new(), "{before} {after}");
            reasons.into_iter().map(|(reason, _)| reason).collect::<Vec<_>>()
        };
        assert_eq!(with("", "", 60.0), ["equal", "different"]);
        let leaving = "import os, time\nfor _ in range(3):\n    if os.fork() == 0:\n        os.setsid()\n\
                       \x20       os.closerange(0, 3)\n        if os.fork() == 0: time.sleep(600)\n        time.sleep(600)";
        assert_eq!(with(leaving, "", 60.0), ["equal", "different"]);
        assert_eq!(with(leaving, "import time; time.sleep(600)", 1.0), ["verifier_time_limit"; 2]);
        let deaf = "import signal\nfor s in (2, 15): signal.signal(s, signal.SIG_IGN)";
        assert_eq!(with(&format!("{deaf}\n{leaving}"), "while True: pass", 1.0), ["verifier_time_limit"; 2]);
        assert_eq!(with("import sys; sys.exit(3)", "", 60.0), ["verifier_failed"; 2]);
    }

    fn the_first_test_that_fails_gives_the_reason(sandbox: &Sandbox) {
        let tests = r#"{"inputs": ["1", "2", "3"], "outputs": ["1", "2", "3"]}"#;
        assert_eq!(reason(sandbox, tests, "print(input())", LIMITS), "equal");
        assert_eq!(reason(sandbox, tests, "x = input(); print(1 if x == '3' else x)", LIMITS), "different");
        let program = "x = int(input()); print(x if x == 1 else 1 // (x - 2))";
        assert_eq!(reason(sandbox, tests, program, LIMITS), "crashed");
        assert_eq!(reason(sandbox, tests, "  ", LIMITS), "no_answer");
    }

    /// Runs a program that sleeps, until this process is killed.
    fn hold() {
        let tests = Tests::read(&Json::read(r#"{"inputs": [""], "outputs": [""]}"#).unwrap()).unwrap();
        let sandbox = Sandbox::new(&this()).unwrap();
        // The launcher of the trial run has ended; the next is that of the program that sleeps.
        println!("ready");
        judge(&tests, "import time; time.sleep(50)", Fencing::Optional, &LIMITS, &sandbox, 0);
    }

    fn the_launcher_ends_with_what_started_it(_: &Sandbox) {
        let mut child = Command::new(this()).arg(HOLD).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        let argument = format!("{}\0{}\0", launcher::ARGUMENT, child.id());
        let launchers = || {
            let processes = fs::read_dir("/proc").unwrap().flatten();
            let lines = processes.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
            lines.filter(|line| line.contains(&argument)).count()
        };
        let until = |wanted: usize| {
            let start = Instant::now();
            while launchers() != wanted && start.elapsed() < Duration::from_secs(30) {
                std::thread::sleep(Duration::from_millis(20));
            }
            assert_eq!(launchers(), wanted);
        };
        until(1);
        kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::KILL).unwrap();
        child.wait().unwrap();
        until(0);
    }

    fn layers_are_those_that_programs_see() {
        let found = layers(&this());
        for layer in &found {
            println!("{layer}");
            assert!(!layer.detail.is_empty(), "{layer}");
        }
        assert_eq!(found[0].name, "sandbox");
        let state = |name: &str| found.iter().find(|layer| layer.name == name).map(|layer| layer.state);
        let works = found[0].state == LayerState::Active;
        let expected = if works { LayerState::Active } else { LayerState::Untried };
        for name in
            ["user namespace", "mount namespace", "process namespace", "network namespace", "ipc namespace"]
        {
            // A namespace is tried by itself where the whole does not work.
            assert!(!works || state(name) == Some(expected), "{name}");
        }
        let within = [
            "system call filter",
            "no new privileges",
            "resource limits",
            "read-only system",
            "memory watch",
        ];
        for name in within {
            assert_eq!(state(name), Some(expected), "{name}");
        }
        let is_root = rustix::process::geteuid().is_root();
        let user = if is_root { LayerState::Active } else { LayerState::NotNeeded };
        assert!(!works || state("another user") == Some(user));
    }

    fn without_a_launcher_nothing_works() {
        let found = layers(&PathBuf::from("/nowhere/launcher"));
        assert_eq!(found[0].state, LayerState::Missing, "{}", found[0]);
        let filter = found.iter().find(|layer| layer.name == "system call filter");
        assert_eq!(filter.map(|layer| layer.state), Some(LayerState::Untried));
    }
}
