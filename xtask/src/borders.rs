//! The borders of ARCHITECTURE.md: which crate may use which, where files may be opened, and where `unsafe`
//! may be.

use anyhow::{Context, Result, bail};

use crate::sources::{Member, has_word, members, rust_files, without_comment};

/// The crates in order: each may use only those before it.
const ORDER: [&str; 6] =
    ["latrace-objective", "latrace-core", "latrace-verify", "latrace-kernels", "latrace-lm", "latrace"];

/// Pure crates: no files, network, environment or clock.
const PURE: [&str; 2] = ["latrace-core", "latrace-objective"];

/// What a pure crate does not name.
const IMPURE: [&str; 5] = ["std::fs", "std::net", "std::env", "std::process", "std::time"];

/// The one crate that may hold unsafe code, and that does without the workspace's lint table for it.
const WITH_UNSAFE: &str = "latrace-kernels";

/// The keyword, spelt so that this file does not hold it.
const KEYWORD: &str = concat!("un", "safe");

/// Lines of a file before its tests above which a warning is printed.
const LONG: usize = 500;

pub fn check() -> Result<()> {
    let mut broken = Vec::new();
    for member in members()? {
        broken.extend(wrong_dependencies(&member));
        if member.name != WITH_UNSAFE {
            broken.extend(unsafe_code(&member)?);
        }
        if PURE.contains(&member.name.as_str()) {
            broken.extend(impure_code(&member)?);
        }
        warn_of_long_files(&member)?;
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("{}", broken.join("\n"));
}

fn wrong_dependencies(member: &Member) -> Vec<String> {
    let rank = |name: &str| ORDER.iter().position(|known| *known == name);
    let Some(own) = rank(&member.name) else {
        return if member.name == "xtask" {
            Vec::new()
        } else {
            vec![format!("{} is not in the order of crates", member.name)]
        };
    };
    let wrong = member
        .dependencies
        .iter()
        .filter(|dependency| rank(&dependency.name).is_some_and(|other| other >= own));
    wrong.map(|dependency| format!("{} may not use {}", member.name, dependency.name)).collect()
}

fn unsafe_code(member: &Member) -> Result<Vec<String>> {
    let manifest = std::fs::read_to_string(member.folder.join("Cargo.toml")).context("Cargo.toml")?;
    let mut found = places(member, |line| has_word(line, KEYWORD) && !line.contains("unsafe_code"))?;
    if !manifest.contains("[lints]\nworkspace = true") {
        found.push(format!("{}: Cargo.toml does not take the workspace's lints", member.name));
    }
    Ok(found)
}

fn impure_code(member: &Member) -> Result<Vec<String>> {
    places(member, |line| IMPURE.iter().any(|name| line.contains(name)))
}

/// The lines of a crate's sources, comments left out, that `offends`.
fn places(member: &Member, offends: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for source in rust_files(&member.folder.join("src"))? {
        for (number, line) in source.text.lines().enumerate() {
            if offends(without_comment(line)) {
                found.push(format!("{}:{}: {}", source.path.display(), number + 1, line.trim()));
            }
        }
    }
    Ok(found)
}

fn warn_of_long_files(member: &Member) -> Result<()> {
    for source in rust_files(&member.folder.join("src"))? {
        let lines = source.text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
        if lines > LONG {
            println!("warning: {} has {lines} lines before its tests (aim: {LONG})", source.path.display());
        }
    }
    Ok(())
}
