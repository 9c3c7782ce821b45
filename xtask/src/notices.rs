//! The licences of what is built into the program, for those who are given the program alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::licences::host;
use crate::sources::metadata;

/// How names of files begin that hold a licence or a notice, in capitals.
const BEGINNINGS: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"];

/// Writes to `out` the packages that `latrace` is built of on this machine, and the texts of their licences,
/// each text once.
pub fn write(out: &str) -> Result<()> {
    let metadata = metadata(&["--locked", "--filter-platform", &host()?])?;
    let built_in = built_in(&metadata)?;
    let packages = metadata["packages"].as_array().context("no packages in the metadata")?;
    let foreign = packages.iter().filter(|package| !package["source"].is_null());
    let (mut list, mut texts) = (String::new(), BTreeMap::<String, Vec<String>>::new());
    for package in foreign.filter(|package| package["id"].as_str().is_some_and(|id| built_in.contains(id))) {
        let name = format!("{} {}", text(package, "name")?, text(package, "version")?);
        writeln!(list, "{name}: {}", text(package, "license")?)?;
        let folder =
            Path::new(text(package, "manifest_path")?).parent().context("a manifest without a folder")?;
        for file in licence_files(folder)? {
            let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
            texts.entry(String::from_utf8_lossy(&bytes).trim().to_owned()).or_default().push(name.clone());
        }
    }
    let mut page = format!("What latrace is built of, under these licences:\n\n{list}");
    for (licence, mut names) in texts {
        names.dedup();
        write!(page, "\n{}\n{}:\n\n{licence}\n", "-".repeat(80), names.join(", "))?;
    }
    fs::write(out, page).with_context(|| format!("cannot write {out}"))
}

/// The ids of `latrace` and of what it depends on, dependencies for builds and tests left out.
fn built_in(metadata: &Value) -> Result<BTreeSet<&str>> {
    let nodes = metadata["resolve"]["nodes"].as_array().context("no resolved packages in the metadata")?;
    let nodes: BTreeMap<&str, &Value> =
        nodes.iter().filter_map(|node| Some((node["id"].as_str()?, node))).collect();
    let root = nodes.keys().copied().find(|id| id.contains("/crates/latrace#"));
    let mut reached = BTreeSet::new();
    let mut ahead = vec![root.context("latrace is not among the packages")?];
    while let Some(id) = ahead.pop() {
        if !reached.insert(id) {
            continue;
        }
        let dependencies = nodes[id]["deps"].as_array().into_iter().flatten();
        ahead.extend(
            dependencies.filter(|dependency| is_linked(dependency)).filter_map(|it| it["pkg"].as_str()),
        );
    }
    Ok(reached)
}

/// Whether a dependency is of the program itself, and not of its build or its tests alone.
fn is_linked(dependency: &Value) -> bool {
    dependency["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"].is_null()))
}

fn text<'a>(package: &'a Value, field: &str) -> Result<&'a str> {
    package[field].as_str().with_context(|| format!("{} has no {field}", package["name"]))
}

/// Files with licences in a package and the folders in it, where C libraries keep theirs, sorted.
fn licence_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut found, mut folders) = (Vec::new(), Vec::new());
    for path in entries(folder)? {
        if path.is_dir() { folders.push(path) } else { found.push(path) }
    }
    for folder in folders {
        found.extend(entries(&folder)?.into_iter().filter(|path| path.is_file()));
    }
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) && !name.ends_with(".RS")
    });
    found.sort();
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_only_tests_and_builds_need_is_not_built_in() {
        let node = |id: &str, deps: Value| json!({"id": id, "deps": deps});
        let dependency = |id: &str, kinds: &[Value]| json!({"pkg": id, "dep_kinds": kinds});
        let (normal, dev, build) = (json!({"kind": null}), json!({"kind": "dev"}), json!({"kind": "build"}));
        let root = "path+file:///home/crates/latrace#0.1.0";
        let first = [
            dependency("both", &[dev.clone(), normal.clone()]),
            dependency("tests", &[dev]),
            dependency("builds", &[build]),
        ];
        let nodes = json!([
            node(root, json!(first)),
            node("both", json!([dependency("below", &[normal])])),
            node("tests", json!([])),
            node("builds", json!([])),
            node("below", json!([])),
        ]);
        let metadata = json!({"resolve": {"nodes": nodes}});
        assert_eq!(built_in(&metadata).unwrap(), BTreeSet::from(["below", "both", root]));
    }
}
