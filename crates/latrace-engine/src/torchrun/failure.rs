//! Errors of the ranks, as errors of ours.

use std::fs;
use std::path::Path;

use anyhow::Error;
use latrace_io::failure::Failure;
use serde::Deserialize;

use super::checkpoints::newest_complete;

/// A rank's `error-<rank>.json`.
#[derive(Debug, Deserialize)]
pub(super) struct RankError {
    kind: Kind,
    rank: usize,
    time: f64,
    update: Option<u64>,
    rows: Vec<String>,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    NonFinite,
    Memory,
    Disk,
    /// PyTorch or transformers, or their versions.
    Missing,
    /// A damaged file of rows.
    Rows,
    Model,
    /// The launcher started the ranks again.
    Restart,
    /// Another rank has gone, whose error is the cause.
    Peer,
    Other,
}

/// The error of ranks that have ended: `ended` says how, `log` is the end of theirs.
pub(super) fn failure_of(work: &Path, rows: Option<&Path>, ended: &str, log: &str) -> Error {
    let kept = newest_complete(work).ok().flatten().map(|(step, _)| step);
    match first_error(work) {
        Some(error) => error.into_error(rows, kept),
        // No rank had time for a word: a signal, or the launcher itself.
        None => {
            let failure = Failure::work(format!("the ranks ended ({ended}); the end of their log:\n{log}"));
            with_hint(failure, [cause_in(ended, log).map(str::to_owned), kept.map(resumes)])
        }
    }
}

/// A failure with what is known to help.
fn with_hint(failure: Failure, hints: [Option<String>; 2]) -> Error {
    let hint = hints.into_iter().flatten().collect::<Vec<_>>().join("; ");
    if hint.is_empty() { failure.into() } else { failure.hint(hint).into() }
}

fn resumes(step: u64) -> String {
    format!("the same command resumes from the checkpoint after update {step}")
}

fn cause_in(ended: &str, log: &str) -> Option<&'static str> {
    let has = |signs: &[&str]| signs.iter().any(|sign| ended.contains(sign) || log.contains(sign));
    if has(&["No module named", "No such file", "not found"]) {
        return Some(MISSING);
    }
    // The launcher's own words for a rank are "Signal 9 (SIGKILL)".
    has(&["signal 9", "Signal 9", "SIGKILL"])
        .then_some("a rank that the system killed has often run out of host memory")
}

/// The cause: the earliest error that is not the consequence of another.
fn first_error(work: &Path) -> Option<RankError> {
    let names = fs::read_dir(work).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_error = |path: &std::path::PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("error-") && name.ends_with(".json")
    };
    let errors = names.filter(is_error).filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok());
    errors.filter(|error: &RankError| error.kind != Kind::Peer).min_by(|a, b| a.time.total_cmp(&b.time))
}

impl RankError {
    fn into_error(self, rows: Option<&Path>, kept: Option<u64>) -> Error {
        match (self.kind, self.update, rows) {
            (Kind::NonFinite, Some(step), _) => {
                latrace_lm::Error::NonFinite { step, what: self.message, ids: self.rows }.into()
            }
            (Kind::Rows, _, Some(path)) => {
                latrace_lm::Error::BadRowFile { path: path.to_owned(), detail: self.message }.into()
            }
            _ => {
                let message = format!("{}rank {}: {}", self.place(), self.rank, self.message);
                with_hint(Failure::work(message), [self.hint().map(str::to_owned), kept.map(resumes)])
            }
        }
    }

    /// Where it happened, if within an update.
    fn place(&self) -> String {
        let Some(update) = self.update else { return String::new() };
        match self.rows.as_slice() {
            [] => format!("update {update}, "),
            rows => format!("update {update}, rows {}, ", rows.join(", ")),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Memory => Some(MEMORY),
            Kind::Disk => Some("free some disk space"),
            Kind::Missing => Some(MISSING),
            Kind::Model => Some("the built-in engine (train = \"cpu\") may know the model"),
            Kind::Restart => Some("leave --max-restarts out of torchrun.launch"),
            Kind::NonFinite | Kind::Rows | Kind::Peer | Kind::Other => None,
        }
    }
}

const MEMORY: &str = "set torchrun.activation_checkpointing = true, lower torchrun.tokens_per_micro_batch or the \
                      trainer's cutoff_length, set torchrun.cpu_offload = true, or use more GPUs";

pub(super) const MISSING: &str = "install PyTorch 2.6 and transformers 4.56, or later, where torchrun.launch finds \
                                  them: uv pip install torch transformers";

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(errors: &[&str], expected: &str) {
        let work = tempfile::tempdir().unwrap();
        for (rank, error) in errors.iter().enumerate() {
            fs::write(work.path().join(format!("error-{rank}.json")), error).unwrap();
        }
        let rows = work.path().join("rows");
        let error = failure_of(work.path(), Some(&rows), "exit code 1", "last words");
        let hint = match error.downcast_ref::<latrace_lm::Error>() {
            Some(error) => error.hint().unwrap_or_default(),
            None => format!("{:?}", error.downcast_ref::<Failure>().unwrap()),
        };
        let text = format!("{error} ({hint})");
        assert!(text.contains(expected), "expected {expected:?} in {text:?}");
    }

    fn error(kind: &str, time: f64) -> String {
        format!(
            r#"{{"kind": "{kind}", "rank": 3, "time": {time}, "update": 7, "rows": ["a", "b"], "message": "why"}}"#
        )
    }

    #[test]
    fn every_kind_says_what_happened_and_what_helps() {
        let non_finite = "step 7: why is not finite; stopped before the update; rows `a`, `b`";
        check(&[&error("non-finite", 1.0)], non_finite);
        check(&[&error("non-finite", 1.0)], "lower the learning rate");
        check(&[&error("memory", 1.0)], "update 7, rows a, b, rank 3: why");
        check(&[&error("memory", 1.0)], "activation_checkpointing");
        check(&[&error("disk", 1.0)], "free some disk space");
        check(&[&error("missing", 1.0)], "uv pip install torch");
        check(&[&error("rows", 1.0)], "is not a valid file of training rows: why");
        check(&[&error("model", 1.0)], "may know the model");
        check(&[&error("restart", 1.0)], "--max-restarts");
        check(&[&error("other", 1.0)], "rank 3: why");
    }

    /// The hint of ranks without a word, after a checkpoint or before.
    #[track_caller]
    fn check_hint(ended: &str, log: &str, has_checkpoint: bool, expected: &str) {
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("checkpoint-4");
        fs::create_dir(&folder).unwrap();
        if has_checkpoint {
            fs::write(folder.join(".metadata"), "").unwrap();
        }
        let error = failure_of(work.path(), None, ended, log);
        assert_eq!(error.to_string(), format!("the ranks ended ({ended}); the end of their log:\n{log}"));
        let failure = format!("{:?}", error.downcast_ref::<Failure>().unwrap());
        let hint =
            if expected.is_empty() { "hint: None".to_owned() } else { format!("hint: Some({expected:?})") };
        assert!(failure.contains(&hint), "expected {hint} in {failure}");
    }

    #[test]
    fn hints_are_of_what_happened() {
        let memory = "a rank that the system killed has often run out of host memory";
        let resumes = "the same command resumes from the checkpoint after update 4";
        check_hint("exit code 1", "$ /usr/bin/false worker.py job.json", false, "");
        check_hint("exit code 1", "last words", true, resumes);
        check_hint("killed by signal 9", "last words", false, memory);
        check_hint(
            "exit code 1",
            "exitcode: -9, Signal 9 (SIGKILL) received",
            true,
            &format!("{memory}; {resumes}"),
        );
        check_hint("killed by signal 11", "last words", false, "");
        check_hint("exit code 1", "No module named torch", false, MISSING);
    }

    #[test]
    fn the_cause_counts_and_not_what_followed() {
        check(&[&error("peer", 1.0), &error("memory", 3.0), &error("other", 2.0)], "rank 3: why");
        check(&[&error("peer", 1.0), &error("memory", 2.0)], "activation_checkpointing");
        check(&[&error("peer", 1.0)], "ended (exit code 1); the end of their log:\nlast words");
        check(&["{ cut"], "last words");
    }
}
