//! Child processes, until the supervised ones are there.

use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

pub(crate) struct ChildCommand {
    pub name: String,
    pub argv: Vec<String>,
    pub env: Vec<(String, Option<String>)>,
    pub log: PathBuf,
}

pub(crate) struct Child {
    process: std::process::Child,
    log: PathBuf,
}

impl Child {
    pub fn start(command: &ChildCommand) -> Result<Child> {
        let log = File::create(&command.log)?;
        let mut process = Command::new(&command.argv[0]);
        process.args(&command.argv[1..]).process_group(0).stdin(Stdio::null());
        process.stdout(log.try_clone()?).stderr(log);
        for (name, value) in &command.env {
            match value {
                Some(value) => process.env(name, value),
                None => process.env_remove(name),
            };
        }
        let process = process.spawn().with_context(|| format!("cannot start {}", command.name))?;
        Ok(Child { process, log: command.log.clone() })
    }

    pub fn exited(&mut self) -> Result<Option<String>> {
        Ok(self.process.try_wait()?.map(in_words))
    }

    pub fn last_lines(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    pub fn stop(&mut self) {
        self.signal("TERM");
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(5) && matches!(self.process.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        self.signal("KILL");
        let _ = self.process.wait();
    }

    fn signal(&self, name: &str) {
        let group = format!("-{}", self.process.id());
        let _ = Command::new("kill").args([&format!("-{name}"), "--", &group]).stderr(Stdio::null()).status();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        _ => status.to_string(),
    }
}
