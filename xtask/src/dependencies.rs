//! Each dependency that a crate names must occur in its sources.

use anyhow::{Result, bail};

use crate::sources::{DependencyKind, Member, SourceFile, has_word, members, rust_files};

pub fn check() -> Result<()> {
    let mut unused = Vec::new();
    for member in members()? {
        unused.extend(unused_of(&member)?);
    }
    if unused.is_empty() {
        return Ok(());
    }
    bail!("{}", unused.join("\n"));
}

fn unused_of(member: &Member) -> Result<Vec<String>> {
    let library = rust_files(&member.folder.join("src"))?;
    let mut development = Vec::new();
    for folder in ["tests", "benches", "examples"] {
        development.extend(rust_files(&member.folder.join(folder))?);
    }
    let build = std::fs::read_to_string(member.folder.join("build.rs")).unwrap_or_default();
    let occurs =
        |sources: &[SourceFile], name: &str| sources.iter().any(|source| has_word(&source.text, name));
    let is_used = |name: &str, kind| match kind {
        DependencyKind::Normal => occurs(&library, name),
        DependencyKind::Development => occurs(&library, name) || occurs(&development, name),
        DependencyKind::Build => has_word(&build, name),
    };
    let unused = member
        .dependencies
        .iter()
        .filter(|dependency| !is_used(&dependency.name.replace('-', "_"), dependency.kind));
    Ok(unused
        .map(|dependency| format!("{}: {} ({:?}) is not used", member.name, dependency.name, dependency.kind))
        .collect())
}
