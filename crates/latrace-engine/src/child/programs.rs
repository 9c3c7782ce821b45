//! Whether what a command needs is installed, before it is started.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What of a command is not installed, in words, as far as that shows before it is started.
pub fn lacking(argv: &[String]) -> Option<String> {
    let program = || lacks_program(argv).map(|program| format!("there is no program {program:?}"));
    let package = || lacks_package(argv).map(|package| format!("its Python has no package {package:?}"));
    program().or_else(package)
}

/// The program of a command that is not there: a file by its path, or a name that is in no folder of `PATH`. Behind
/// `env NAME=VALUE`, it is the program that this starts.
fn lacks_program(argv: &[String]) -> Option<&str> {
    program_words(argv).find(|program| !is_there(program))
}

/// The package that a command `python -m PACKAGE.MODULE` needs and its Python does not have. What a command of another
/// form lacks, only its start can tell.
fn lacks_package(argv: &[String]) -> Option<&str> {
    let is_python =
        |program: &&str| program.rsplit('/').next().is_some_and(|name| name.starts_with("python"));
    let program = program_words(argv).last().filter(is_python)?;
    let at = argv.iter().position(|word| word == program)?;
    let (Some("-m"), Some(module)) = (argv.get(at + 1).map(String::as_str), argv.get(at + 2)) else {
        return None;
    };
    let package = module.split('.').next().unwrap_or(module);
    (!has_package(program, package)?).then_some(package)
}

/// The first word, and behind `env` the program that it starts.
fn program_words(argv: &[String]) -> impl Iterator<Item = &str> {
    let is_env = argv.first().is_some_and(|first| first == "env" || first.ends_with("/env"));
    let behind = argv.iter().skip(1).find(|word| !word.contains('=')).filter(|word| !word.starts_with('-'));
    argv.first().into_iter().chain(behind.filter(|_| is_env)).map(String::as_str)
}

fn is_there(program: &str) -> bool {
    if program.contains('/') {
        return is_executable(Path::new(program));
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&folders).any(|folder| is_executable(&folder.join(program)))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// None where the program cannot say.
fn has_package(python: &str, package: &str) -> Option<bool> {
    const FIND: &str = "import importlib.util, sys; print(importlib.util.find_spec(sys.argv[1]) is not None)";
    let mut command = Command::new(python);
    let output = command.args(["-c", FIND, package]).stdin(Stdio::null()).output().ok()?;
    match output.stdout.trim_ascii() {
        b"True" => Some(true),
        b"False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, program: Option<&str>, module: Option<&str>) {
        let argv: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        assert_eq!((lacks_program(&argv), lacks_package(&argv)), (program, module), "{words}");
    }

    #[test]
    fn what_is_not_installed_is_named() {
        check("sh -c true", None, None);
        check("/bin/sh serve", None, None);
        check("no-such-vllm serve", Some("no-such-vllm"), None);
        check("/no/such/vllm serve", Some("/no/such/vllm"), None);
        check("/tmp x", Some("/tmp"), None);
        check("env A=1 B=2 sh -c true", None, None);
        check("env A=1 no-such-python -m vllm.x", Some("no-such-python"), None);
        // Its other options may take a word of their own.
        check("env -u A no-such-python", None, None);
        // No Python, which is not asked.
        check("sh -m vllm.x", None, None);
    }

    #[test]
    fn a_python_says_what_it_has() {
        if !is_there("python3") {
            println!("NOT TESTED: there is no python3");
            return;
        }
        check("python3 -m json.tool", None, None);
        check("env A=1 python3 -m no_such_package.serve", None, Some("no_such_package"));
    }
}
