//! A verifier of the user's own: a program that reads rows and writes verdicts, both as JSON Lines.
//!
//! It gets a batch of rows on its standard input: the fields of each, with `id`, which no other row of the batch
//! has, and `prediction`. It writes a line for each: `id`, `verdict` (`correct`, `wrong` or `undetermined`),
//! optionally `reason` and `extracted`. It runs in the sandbox, where it finds the files that its arguments name and
//! nothing else of the user's, unless it is to run as any other program does.
//!
//! Nothing but a verdict makes an answer correct: rows without one, with several or with one that cannot be read
//! are undetermined, and so are all rows of a batch whose program fails, is late or prints too much.

mod reply;

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::code::launcher::{ARGUMENT, BARE};
use crate::code::supervisor::{self, Ending, Job, Run, SharedFile};
use crate::code::{Json, Limits, Sandbox};
use crate::judgement::Judgement;
use reply::judgements;

/// How the verifier is run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSettings {
    /// The program and its arguments; empty: there is no such verifier.
    pub command: Vec<String>,
    /// Whether it runs in the sandbox.
    pub sandbox: bool,
    /// Time limit of a batch (s).
    pub time_limit_s: f64,
    /// Rows that it gets at once.
    pub batch: usize,
}

impl CommandSettings {
    /// No verifier.
    pub fn none() -> CommandSettings {
        CommandSettings { command: Vec::new(), sandbox: true, time_limit_s: 60.0, batch: 256 }
    }

    /// The files that the command names. What they hold decides what it does.
    pub fn files(&self) -> Vec<&Path> {
        let named = self.command.iter().enumerate().filter(|(place, argument)| {
            // A program without a folder is looked for where programs are, whatever is in the working folder.
            *place > 0 || argument.contains('/')
        });
        named.map(|(_, argument)| Path::new(argument)).filter(|path| path.is_file()).collect()
    }

    /// Checks that the settings are possible.
    ///
    /// # Errors
    /// Names the setting, what was expected and what was found.
    pub fn check(&self) -> Result<(), String> {
        let CommandSettings { time_limit_s, batch, .. } = self;
        // Above it a duration would overflow.
        if !(*time_limit_s > 0.0 && *time_limit_s <= 86_400.0) {
            return Err(format!("time_limit_s: expected seconds above 0, a day at most, got {time_limit_s}"));
        }
        if *batch == 0 {
            return Err("batch: expected at least 1, got 0".to_owned());
        }
        Ok(())
    }
}

/// A verifier that cannot be run at all.
#[derive(Debug, Error)]
pub enum CommandProblem {
    /// A file that it names cannot be read.
    #[error("cannot read {path}, which the verifier's command names: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Its program does not start.
    #[error("the verifier {command} does not start: {said}")]
    NotStarted {
        /// The command.
        command: String,
        /// What was said instead.
        said: String,
    },
}

/// A verifier of the user's own.
#[derive(Debug)]
pub struct CommandVerifier {
    settings: CommandSettings,
    files: Vec<NamedFile>,
}

/// A file that a command names.
#[derive(Debug)]
struct NamedFile {
    /// As the command names it.
    name: String,
    path: PathBuf,
    content: Vec<u8>,
}

impl NamedFile {
    fn read(name: &Path) -> Result<NamedFile, CommandProblem> {
        let unreadable = |error| CommandProblem::Unreadable { path: name.to_owned(), error };
        let path = fs::canonicalize(name).map_err(unreadable)?;
        let content = fs::read(&path).map_err(unreadable)?;
        Ok(NamedFile { name: name.to_string_lossy().into_owned(), path, content })
    }

    /// Whether the sandbox has it from the system.
    fn is_of_system(&self) -> bool {
        ["/usr", "/bin", "/lib", "/lib64"].iter().any(|folder| self.path.starts_with(folder))
    }
}

/// The verdicts on a batch, and what went wrong as a whole, if something did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchVerdicts {
    /// One for each row, in their order.
    pub judgements: Vec<Judgement>,
    /// For people.
    pub problem: Option<String>,
}

impl CommandVerifier {
    /// A verifier; the files that its command names are read once, here.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn open(settings: CommandSettings) -> Result<CommandVerifier, CommandProblem> {
        let files = settings.files().into_iter().map(NamedFile::read).collect::<Result<_, _>>()?;
        Ok(CommandVerifier { settings, files })
    }

    /// The files that the command names, with what they held when they were read.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|file| (file.name.as_str(), file.content.as_slice()))
    }

    /// The command with the paths that files have in the sandbox.
    fn inside(&self) -> Vec<String> {
        let path = |argument: &String| {
            let file = self.files.iter().find(|file| file.name == *argument);
            file.map_or_else(|| argument.clone(), |file| file.path.to_string_lossy().into_owned())
        };
        self.settings.command.iter().map(path).collect()
    }

    /// Its settings.
    pub fn settings(&self) -> &CommandSettings {
        &self.settings
    }

    /// Judges a batch in the sandbox. `slot` tells runs at the same time apart.
    ///
    /// # Errors
    /// If its program does not start.
    pub fn judge_in(
        &self,
        sandbox: &Sandbox,
        rows: &[RowFields<'_>],
        slot: u32,
    ) -> Result<BatchVerdicts, CommandProblem> {
        let own = self.files.iter().filter(|file| !file.is_of_system());
        let files: Vec<SharedFile<'_>> =
            own.map(|file| SharedFile { path: &file.path, content: &file.content }).collect();
        self.judge(rows, |input, limits| sandbox.run_command(&self.inside(), &files, input, limits, slot))
    }

    /// Judges a batch without a sandbox. `launcher` is as for [`Sandbox::new`].
    ///
    /// # Errors
    /// If its program does not start.
    pub fn judge_bare(
        &self,
        launcher: &Path,
        rows: &[RowFields<'_>],
    ) -> Result<BatchVerdicts, CommandProblem> {
        self.judge(rows, |input, limits| {
            let mut command = Command::new(launcher);
            command.args([ARGUMENT, BARE, &std::process::id().to_string()]).args(&self.settings.command);
            supervisor::run(Job { command, files: &[], input, kill: supervisor::kill_command }, limits)
        })
    }

    fn judge(
        &self,
        rows: &[RowFields<'_>],
        run: impl FnOnce(&str, &Limits) -> Run,
    ) -> Result<BatchVerdicts, CommandProblem> {
        let ids = unique_ids(rows);
        let lines: String = rows.iter().zip(&ids).map(|(row, id)| row.line(id)).collect();
        let run = run(&lines, &self.limits());
        if run.ending == Ending::NotStarted {
            let command = self.settings.command.join(" ");
            return Err(CommandProblem::NotStarted { command, said: last_lines(&run.last_errors) });
        }
        Ok(judgements(&ids, &run, self.settings.time_limit_s))
    }

    fn limits(&self) -> Limits {
        // Libraries of mathematics take more memory than solutions of tasks, and batches print more.
        Limits { time_s: self.settings.time_limit_s, memory_mb: 4096, output_mb: 256, ..Limits::default() }
    }
}

/// A row to be judged.
#[derive(Clone, Copy, Debug)]
pub struct RowFields<'a> {
    /// Its fields: an object.
    pub fields: &'a Json,
    /// The answer.
    pub prediction: &'a str,
}

impl RowFields<'_> {
    /// The row as a line of JSON under an id.
    fn line(&self, id: &str) -> String {
        let text = |text: &str| Json::Text(text.to_owned());
        let others = self.fields.fields().iter().filter(|(name, _)| name != "id" && name != "prediction");
        let mut fields = vec![("id".to_owned(), text(id))];
        fields.extend(others.cloned());
        fields.push(("prediction".to_owned(), text(self.prediction)));
        format!("{}\n", Json::Object(fields))
    }
}

/// The rows' ids; of equal ones, the second is followed by `#2`, the third by `#3` and so on.
fn unique_ids(rows: &[RowFields<'_>]) -> Vec<String> {
    let mut known = HashSet::new();
    let unique = |row: &RowFields<'_>| {
        let id = match row.fields.field("id") {
            Json::Text(text) => text.clone(),
            other => other.to_string(),
        };
        let numbered = (2..).map(|number: u64| format!("{id}#{number}"));
        // The numbers are endless, so one of them is not known.
        let mut all = [id.clone()].into_iter().chain(numbered);
        all.find(|id| known.insert(id.clone())).unwrap_or(id)
    };
    rows.iter().map(unique).collect()
}

/// The last lines of what a program wrote to standard error.
fn last_lines(errors: &[u8]) -> String {
    const LINES: usize = 12;
    let text = String::from_utf8_lossy(errors);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(command: &[&str]) -> CommandSettings {
        let command = command.iter().map(|argument| (*argument).to_owned()).collect();
        CommandSettings { command, ..CommandSettings::none() }
    }

    #[test]
    fn files_are_those_that_arguments_name() {
        let folder = tempfile::tempdir().unwrap();
        let judge = folder.path().join("judge.py");
        fs::write(&judge, "1").unwrap();
        let judge = judge.to_str().unwrap();
        let files = |command: &[&str]| -> Vec<String> {
            let settings = settings(command);
            settings.files().iter().map(|path| path.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(files(&["python3", judge, "--strict", "/nowhere"]), [judge]);
        assert_eq!(files(&[judge]), [judge]);
        // The tests' working folder has one of this name, and programs are not looked for there.
        assert!(Path::new("Cargo.toml").is_file());
        assert_eq!(files(&["Cargo.toml"]), Vec::<String>::new());
        assert_eq!(files(&["cat", "Cargo.toml"]), ["Cargo.toml"]);
        let verifier = CommandVerifier::open(settings(&["cat", "Cargo.toml", "/usr/bin/env"])).unwrap();
        let here = fs::canonicalize("Cargo.toml").unwrap();
        assert_eq!(verifier.inside()[..2], ["cat".to_owned(), here.to_string_lossy().into_owned()]);
        let of_system: Vec<bool> = verifier.files.iter().map(NamedFile::is_of_system).collect();
        assert_eq!(of_system, [false, true]);
        assert_eq!(verifier.files().next(), Some(("Cargo.toml", fs::read(here).unwrap().as_slice())));
    }

    #[test]
    fn settings_are_checked() {
        assert_eq!(settings(&["a"]).check(), Ok(()));
        for time_limit_s in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(CommandSettings { time_limit_s, ..settings(&["a"]) }.check().is_err(), "{time_limit_s}");
        }
        let none = CommandSettings { batch: 0, ..settings(&["a"]) };
        assert_eq!(none.check().unwrap_err(), "batch: expected at least 1, got 0");
    }

    #[test]
    fn rows_keep_their_fields_and_get_ids_of_their_own() {
        let read = |text: &str| Json::read(text).unwrap();
        let all = [
            read(r#"{"id": "a", "gold": 123456789012345678901234567890, "prediction": "old"}"#),
            read(r#"{"id": "a#2", "gold": null}"#),
            read(r#"{"id": "a", "x": [1]}"#),
            read(r#"{"id": 7}"#),
            read(r#"{"id": "7"}"#),
        ];
        let rows: Vec<RowFields<'_>> =
            all.iter().map(|fields| RowFields { fields, prediction: "p\n" }).collect();
        let ids = unique_ids(&rows);
        assert_eq!(ids, ["a", "a#2", "a#3", "7", "7#2"]);
        assert_eq!(
            rows[0].line(&ids[0]),
            "{\"id\":\"a\",\"gold\":123456789012345678901234567890,\"prediction\":\"p\\n\"}\n"
        );
        assert_eq!(rows[2].line(&ids[2]), "{\"id\":\"a#3\",\"x\":[1],\"prediction\":\"p\\n\"}\n");
    }

    #[test]
    fn only_the_last_lines_are_quoted() {
        let errors: String = (0..50).map(|line| format!("line {line}\n\n")).collect();
        let last = last_lines(errors.as_bytes());
        assert_eq!((last.lines().next(), last.lines().last()), (Some("line 38"), Some("line 49")));
    }
}
