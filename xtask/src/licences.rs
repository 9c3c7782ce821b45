//! Each package that is built in must be usable under licences that we accept.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sources::metadata;

/// Licences that ask for no more than keeping their notice.
const ACCEPTED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub fn check() -> Result<()> {
    let metadata = metadata(&["--filter-platform", &host()?])?;
    let packages = metadata["packages"].as_array().context("no packages in the metadata")?;
    let mut offenders = BTreeSet::new();
    for package in packages {
        let expression = package["license"].as_str().unwrap_or("");
        if !is_accepted(expression) {
            offenders.insert(format!("{} {}: licence \"{expression}\"", package["name"], package["version"]));
        }
    }
    if offenders.is_empty() {
        return Ok(());
    }
    bail!("{}", offenders.into_iter().collect::<Vec<_>>().join("\n"));
}

/// The target that this machine builds for by default.
pub fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("`rustc -vV` names no host")?.to_owned())
}

/// Whether an SPDX expression can be met with accepted licences alone. `/` is an old spelling of `OR`.
fn is_accepted(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words: &[&str] = &spaced.split_whitespace().collect::<Vec<_>>();
    either(&mut words) == Some(true) && words.is_empty()
}

/// `a OR b`: `None` where the expression is malformed.
fn either(words: &mut &[&str]) -> Option<bool> {
    let mut accepted = both(words)?;
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        accepted |= both(words)?;
    }
    Some(accepted)
}

/// `a AND b`
fn both(words: &mut &[&str]) -> Option<bool> {
    let mut accepted = one(words)?;
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        accepted &= one(words)?;
    }
    Some(accepted)
}

/// A licence, with or without an exception, or an expression in parentheses.
fn one(words: &mut &[&str]) -> Option<bool> {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let accepted = either(words)?;
            *words = words.strip_prefix(&[")"])?;
            Some(accepted)
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            // An exception only adds permissions.
            Some(
                ACCEPTED.contains(licence)
                    || ACCEPTED.contains(&format!("{licence} WITH {exception}").as_str()),
            )
        }
        [licence, rest @ ..] => {
            *words = rest;
            Some(ACCEPTED.contains(licence))
        }
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_says() {
        for (expression, expected) in [
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0 AND MIT", false),
            ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
            ("MPL-2.0", false),
            ("MIT OR", false),
            ("", false),
        ] {
            assert_eq!(is_accepted(expression), expected, "{expression}");
        }
    }
}
