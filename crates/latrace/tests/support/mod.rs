//! A folder to work in, with files of rows, and the command run in it.

use std::fs;
use std::path::PathBuf;

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

pub struct Bench {
    folder: TempDir,
}

impl Bench {
    pub fn empty() -> Bench {
        Bench { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write_rows(&self, name: &str, rows: &[Value]) {
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        fs::write(self.path(name), lines).unwrap();
    }

    pub fn rows(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// The exit code of a command, and what it prints to both streams.
    pub fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut latrace = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
        // Of the hub, there is what a test puts into the cache.
        latrace.env("HF_HOME", self.folder.path()).env("HF_HUB_OFFLINE", "1");
        let output = latrace.current_dir(self.folder.path()).args(arguments).output().unwrap();
        let [stdout, stderr] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        (output.status.code().unwrap(), format!("{stdout}{stderr}"))
    }

    /// What a command that succeeds prints, to both streams.
    #[track_caller]
    pub fn done(&self, arguments: &[&str]) -> String {
        let (code, said) = self.run(arguments);
        assert_eq!(code, 0, "{arguments:?}\n{said}");
        said
    }
}
