//! What this crate never does, and what each of its files says.

use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(sources(&path)) } else { found.push(path) }
    }
    found
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn the_mathematics_knows_no_file_clock_thread_or_console() {
    for path in sources(&source_folder()) {
        let text = std::fs::read_to_string(&path).unwrap();
        for border in [
            "std::fs",
            "std::io",
            "std::net",
            "std::time",
            "std::thread",
            "std::env",
            "println!",
            "unsafe",
            "unwrap()",
            "expect(",
        ] {
            assert!(!text.contains(border), "{} uses {border}", path.display());
        }
    }
}

#[test]
fn every_variant_is_a_short_file_that_states_its_assumption_and_limit_case() {
    let mut seen = 0;
    for folder in ["ratio", "answer", "weighting", "objectives"] {
        for path in sources(&source_folder().join(folder)) {
            let name = path.file_stem().unwrap().to_str().unwrap();
            if ["mod", "group"].contains(&name) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let header: String = text.lines().take_while(|line| line.starts_with("//!")).collect();
            for part in ["Assumption", "Limit case"] {
                assert!(header.contains(part), "{} has no {part}", path.display());
            }
            assert!(text.lines().count() <= 120, "{} is longer than one screen", path.display());
            seen += 1;
        }
    }
    // Beside the objectives by sequence, the one by token.
    assert_eq!(seen, 4 + 4 + 5 + 14 + 1);
}
