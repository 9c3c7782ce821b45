//! The boundaries of ARCHITECTURE.md: which crate may use which, where files may be opened, where `unsafe` may
//! be, and what only one place may name.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use crate::sources::{Member, has_word, members, rust_files, without_comment};

/// The crates in order: each may use only those before it.
const ORDER: [&str; 11] = [
    "latrace-objective",
    "latrace-core",
    "latrace-kernels",
    "latrace-verify",
    "latrace-lm",
    "latrace-io",
    "latrace-questions",
    "latrace-engine",
    "latrace-run",
    "latrace-report",
    "latrace",
];

/// Pure crates: no files, network, environment or clock.
const PURE: [&str; 2] = ["latrace-core", "latrace-objective"];

/// What a pure crate does not name.
const IMPURE: [&str; 5] = ["std::fs", "std::net", "std::env", "std::process", "std::time"];

/// The one crate that may hold unsafe code, and that does without the workspace's lint table for it.
const WITH_UNSAFE: &str = "latrace-kernels";

/// The keyword, spelt so that this file does not hold it.
const KEYWORD: &str = concat!("un", "safe");

/// Crates that only one other may name: (the crate, who may).
const ONLY: [(&str, &str); 3] =
    [("latrace-lm", "latrace-engine"), ("clap", "latrace"), ("parquet", "latrace-io")];

/// The file where stage names stand, and what a stage name looks like in a text: `"03-traces`.
const STAGE_NAMES: &str = "latrace-run/src/plan/stage.rs";

/// Names that public types of several crates may share: each crate has its own errors.
const SHARED_NAMES: [&str; 2] = ["Error", "Result"];

/// Lines of a file before its tests above which a warning is printed.
const LONG: usize = 500;

pub fn check() -> Result<()> {
    let mut broken = Vec::new();
    let members = members()?;
    broken.extend(double_names(&members)?);
    for member in members {
        broken.extend(wrong_dependencies(&member));
        broken.extend(stage_names(&member)?);
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
        // A crate's tests may use it with other features.
        .filter(|dependency| dependency.name != member.name)
        .filter(|dependency| rank(&dependency.name).is_some_and(|other| other >= own));
    let upward = wrong.map(|dependency| format!("{} may not use {}", member.name, dependency.name));
    let reserved = member.dependencies.iter().filter_map(|dependency| {
        let (name, who) = ONLY.iter().find(|(name, _)| *name == dependency.name)?;
        (member.name != *who).then(|| format!("{} may not use {name}: only {who} does", member.name))
    });
    upward.chain(reserved).collect()
}

/// Stage names outside the one file that has them; tests may spell them out.
fn stage_names(member: &Member) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for source in rust_files(&member.folder.join("src"))? {
        if source.path.ends_with(STAGE_NAMES) || source.path.ends_with("tests.rs") {
            continue;
        }
        for (number, line) in code_lines(&source.text) {
            if has_stage_name(line) {
                found.push(format!("{}:{number}: a stage's name: {}", source.path.display(), line.trim()));
            }
        }
    }
    Ok(found)
}

/// Whether a line has a text that begins like a stage's folder: two digits, a dash, a letter.
fn has_stage_name(line: &str) -> bool {
    line.split('"').skip(1).step_by(2).flat_map(|text| text.split('/')).any(|part| {
        let bytes = part.as_bytes();
        bytes.len() > 3
            && bytes[..2].iter().all(u8::is_ascii_digit)
            && bytes[2] == b'-'
            && bytes[3].is_ascii_lowercase()
    })
}

/// Public types of two places that have one name.
fn double_names(members: &[Member]) -> Result<Vec<String>> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for member in members {
        for source in rust_files(&member.folder.join("src"))? {
            for (number, line) in code_lines(&source.text) {
                if let Some(name) = public_type(line).filter(|name| !SHARED_NAMES.contains(name)) {
                    let place = format!("{}:{number}", source.path.display());
                    places.entry(name.to_owned()).or_default().push(place);
                }
            }
        }
    }
    let double = places.into_iter().filter(|(_, places)| places.len() > 1);
    Ok(double
        .map(|(name, places)| format!("two public types are called {name}: {}", places.join(", ")))
        .collect())
}

/// The name of the public type that a line at the top level of a file declares.
fn public_type(line: &str) -> Option<&str> {
    let declared = line.strip_prefix("pub ")?;
    let name = ["struct ", "enum ", "trait ", "type "].iter().find_map(|kind| declared.strip_prefix(kind))?;
    name.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next()
}

/// The lines of a source before its tests, numbered from 1, without comments.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let before_tests = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    before_tests.enumerate().map(|(at, line)| (at + 1, without_comment(line)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_stage_name(line: &str, expected: bool) {
        assert_eq!(has_stage_name(line), expected, "{line}");
    }

    #[test]
    fn stage_names_are_found_in_texts_alone() {
        check_stage_name("run.join(\"03-traces\")", true);
        check_stage_name("join(\"baselines/rft/10-evaluation/final\")", true);
        check_stage_name("let day = 03-traces;", false);
        check_stage_name("\"2026-11-29\", \"10-\"", false);
    }

    #[test]
    fn public_types_are_found_at_the_top_level() {
        assert_eq!(public_type("pub struct Plan<'a> {"), Some("Plan"));
        assert_eq!(public_type("pub type Row = Map<String, Value>;"), Some("Row"));
        assert_eq!(public_type("    pub struct Inner;"), None);
        assert_eq!(public_type("pub fn plan() {"), None);
    }
}
