//! The ranks while they run: started, followed through their events, stopped.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use latrace_io::failure::Failure;
use serde::Deserialize;

use super::TorchrunConfig;
use super::checkpoints::remove;
use super::failure::{MISSING, failure_of};
use super::job::{What, open_for_lines, write_job};
use crate::child::{Child, ChildCommand, shell_line};

/// Between two looks at the events: small beside an update.
const PAUSE: Duration = Duration::from_millis(20);

/// The ranks' log in their folder.
pub(super) const LOG: &str = "worker.log";

/// A line of `events.jsonl`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum RankEvent {
    /// The model is loaded.
    Started {
        ranks: usize,
        device: String,
        torch: String,
        transformers: String,
        /// What they do otherwise than their settings suggest, if anything.
        #[serde(default)]
        remark: Option<String>,
    },
    /// An update is done.
    Update { number: u64, loss: f64, grad_norm: f64, seconds: f64, peak_memory_bytes: u64 },
    /// A checkpoint is complete.
    Checkpoint { step: u64 },
    /// The final weights are in `model`.
    Saved,
    /// A window's scores are written.
    Scored { rows: usize },
}

impl RankEvent {
    /// Logs who the ranks are, once they say so.
    pub fn describe(&self) {
        let RankEvent::Started { ranks, device, torch, transformers, remark } = self else { return };
        tracing::info!("{ranks} ranks on {device}, torch {torch}, transformers {transformers}");
        if let Some(remark) = remark {
            tracing::warn!("{remark}");
        }
    }
}

/// The ranks of a job.
pub(super) struct Ranks {
    child: Child,
    work: PathBuf,
    rows: Option<PathBuf>,
    events: Lines,
    timeout: Duration,
    /// When the last event came.
    heard: Instant,
}

impl Ranks {
    /// Writes the job into the folder `work`, and starts its ranks. Errors of rows name the file `rows`.
    pub fn start(
        work: &Path,
        model: &Path,
        config: &TorchrunConfig,
        what: What<'_>,
        rows: Option<PathBuf>,
    ) -> Result<Ranks> {
        clear_reports(work)?;
        let paths = write_job(work, model, config, what)?;
        open_for_lines(&work.join("events.jsonl"))?;
        let child =
            Child::start(&command(work, config, paths)).map_err(|error| cannot_start(config, &error))?;
        // It takes them a minute or more to import PyTorch and to load the model.
        tracing::info!("starting {}; its log is {}", shell_line(&config.launch), child.log().display());
        Ok(Ranks {
            child,
            work: work.to_owned(),
            rows,
            events: Lines::open(&work.join("events.jsonl"))?,
            timeout: Duration::from_secs(config.timeout),
            heard: Instant::now(),
        })
    }

    /// The next event; none once all ranks have ended in order.
    pub fn next(&mut self) -> Result<Option<RankEvent>> {
        loop {
            // Before looking for events: those of ranks that have ended are all there.
            let ended = self.child.exited()?;
            if let Some(line) = self.events.next()? {
                self.heard = Instant::now();
                return self.parse(&line).map(Some);
            }
            match ended {
                Some(how) if how == SUCCESS => return Ok(None),
                Some(how) => {
                    let (rows, log) = (self.rows.as_deref(), self.child.last_lines());
                    return Err(failure_of(&self.work, rows, &how, &log));
                }
                None => self.wait()?,
            }
        }
    }

    fn parse(&self, line: &str) -> Result<RankEvent> {
        let unknown = || format!("{}: unknown event {line}", self.work.join("events.jsonl").display());
        serde_json::from_str(line).with_context(unknown)
    }

    fn wait(&self) -> Result<()> {
        if self.heard.elapsed() < self.timeout {
            sleep(PAUSE);
            return Ok(());
        }
        let (seconds, log) = (self.timeout.as_secs(), self.child.last_lines());
        let message = format!("no word from the ranks for {seconds} s; the end of their log:\n{log}");
        Err(Failure::work(message).hint("raise torchrun.timeout if an update takes longer").into())
    }
}

/// How a child ends that has done its work.
const SUCCESS: &str = "exit code 0";

/// Removes what ranks of before have reported.
fn clear_reports(work: &Path) -> Result<()> {
    let cannot = || format!("cannot list {}", work.display());
    for entry in fs::read_dir(work).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("error-")) {
            remove(&path)?;
        }
    }
    Ok(())
}

fn command(work: &Path, config: &TorchrunConfig, paths: [PathBuf; 2]) -> ChildCommand {
    let paths = paths.map(|path| path.to_string_lossy().into_owned());
    let set = |name: &str, value: &str| (name.to_owned(), Some(value.to_owned()));
    ChildCommand {
        name: "torchrun".to_owned(),
        argv: config.launch.iter().cloned().chain(paths).collect(),
        // Model folders are local: a name that looks like one of the hub is never looked up there.
        env: vec![
            set("PYTHONUNBUFFERED", "1"),
            set("HF_HUB_OFFLINE", "1"),
            set("TOKENIZERS_PARALLELISM", "false"),
        ],
        log: work.join(LOG),
    }
}

fn cannot_start(config: &TorchrunConfig, error: &anyhow::Error) -> anyhow::Error {
    Failure::work(format!("cannot start {:?} (torchrun.launch): {error:#}", config.launch[0]))
        .hint(MISSING)
        .into()
}

/// A growing file, by lines.
struct Lines {
    file: File,
    /// What has been read of lines that are not given out yet.
    buffer: Vec<u8>,
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { file, buffer: Vec::new() })
    }

    /// The next complete line, if there is one yet.
    fn next(&mut self) -> Result<Option<String>> {
        if !self.buffer.contains(&b'\n') {
            self.file.read_to_end(&mut self.buffer).context("cannot read the ranks' events")?;
        }
        let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()))
    }
}
