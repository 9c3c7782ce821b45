//! A training run in its folder: metrics, TensorBoard events, the settings in full, progress.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_lm::{Event, Metrics, TrainConfig};
use serde_json::Value;

use crate::boundary::{Fit, FitJob};
use latrace_io::difference::difference;
use latrace_io::failure::Failure;
use latrace_io::files::write_text;
use latrace_io::progress::{Progress, is_in_stage, note_saved};
use latrace_io::tensorboard::EventWriter;
use latrace_io::words::grouped;

/// The complete recipe, in the output folder.
pub const RECIPE: &str = "recipe.toml";

/// One line per update, in the output folder.
pub const METRICS: &str = "metrics.jsonl";

/// All settings as TOML, every value spelt out.
///
/// # Errors
/// None that a configuration can cause.
pub fn to_toml(config: &TrainConfig) -> Result<String> {
    toml::to_string(config).context("cannot write the settings as TOML")
}

/// Trains, and keeps what is reported in the output folder.
///
/// # Errors
/// As [`Fit::fit`]; files that cannot be written; a folder with an unfinished training of other settings, which are
/// named.
pub fn run_job(trainer: &mut dyn Fit, job: FitJob<'_>) -> Result<()> {
    let mut recorder = Recorder { out: job.out.to_owned(), recipe: to_toml(job.config)?, open: None };
    let trained = trainer.fit(job, &mut |event| recorder.observe(event));
    trained.map_err(|error| if is_another(&error) { recorder.another_training() } else { error })
}

/// Whether the error says that a folder holds a training of other rows or settings.
fn is_another(error: &anyhow::Error) -> bool {
    let is_other = |field: &str| field == "fingerprint";
    matches!(error.downcast_ref(), Some(latrace_lm::Error::Field { field, .. }) if is_other(field))
}

/// Writes what the trainer reports into the output folder and to stderr.
struct Recorder {
    out: PathBuf,
    recipe: String,
    open: Option<OpenRecord>,
}

struct OpenRecord {
    metrics: File,
    events: EventWriter,
    progress: Progress,
}

impl Recorder {
    /// Names the settings in which the training differs from that in its folder.
    fn another_training(&self) -> anyhow::Error {
        let read = |toml: &str| toml::from_str::<Value>(toml).unwrap_or(Value::Null);
        let earlier = fs::read_to_string(self.out.join(RECIPE)).unwrap_or_default();
        let differing = match difference(&read(&earlier), &read(&self.recipe)) {
            same if same.is_empty() => format!("of other rows{}", self.other_arithmetic()),
            settings => format!("with other rows or settings: {settings}"),
        };
        let message = format!("{} holds a training {differing}", self.out.display());
        Failure::work(message)
            .hint("give the rows and settings that began it, or another output folder")
            .into()
    }

    /// Of the training in the folder, if it says: in which arithmetic it began is no setting.
    fn other_arithmetic(&self) -> String {
        let metrics = fs::read_to_string(self.out.join(METRICS)).unwrap_or_default();
        let last = metrics.lines().last().and_then(|line| serde_json::from_str::<Value>(line).ok());
        let compute = last.and_then(|line| Some(line["compute"].as_str()?.to_owned()));
        compute.map_or(String::new(), |compute| {
            format!(", or in other arithmetic than this: it began in {compute}")
        })
    }

    fn observe(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Started { total_steps, dropped, truncated, resumed_from, normaliser } => {
                tracing::debug!("{total_steps} updates, mean response length {normaliser:.1}");
                if dropped + truncated > 0 {
                    tracing::info!("rows over the cut-off length: {dropped} dropped, {truncated} truncated");
                }
                self.start(total_steps, resumed_from)
            }
            // Open since `Started`, which comes before any step.
            Event::Step(metrics) => self.open.as_mut().map_or(Ok(()), |open| open.record(&metrics)),
            Event::Checkpoint { step } => {
                tracing::debug!("checkpoint after update {step}");
                note_saved(step);
                Ok(())
            }
            Event::NothingToDo => {
                tracing::info!("nothing to do: the run in {} is finished", self.out.display());
                Ok(())
            }
            Event::Finished => {
                self.finish();
                Ok(())
            }
        }
    }

    fn start(&mut self, total_steps: u64, resumed_from: Option<u64>) -> Result<()> {
        let done = resumed_from.unwrap_or(0);
        if resumed_from.is_some() {
            tracing::info!("resumed after update {done}");
        }
        // Before the first update: a killed run must say what its metrics were measured with.
        write_text(&self.out.join(RECIPE), &self.recipe)?;
        self.open = Some(OpenRecord {
            metrics: open_metrics(&self.out.join(METRICS), done)?,
            // TensorBoard thus forgets what an interrupted run logged after the checkpoint.
            events: EventWriter::create(&self.out, done + 1)?,
            progress: Progress::new("updates", done, Some(total_steps)),
        });
        resumed_from.into_iter().for_each(note_saved);
        Ok(())
    }

    fn finish(&mut self) {
        if let Some(open) = self.open.take() {
            open.progress.finish();
        }
        if !is_in_stage() {
            tracing::info!("the model is in {}", self.out.display());
        }
    }
}

impl OpenRecord {
    fn record(&mut self, metrics: &Metrics) -> Result<()> {
        self.write_line(metrics)?;
        self.events.scalars(metrics.step, &scalars(metrics))?;
        // Per update, so that TensorBoard shows a run while it trains.
        self.events.flush()?;
        self.show(metrics);
        Ok(())
    }

    fn show(&mut self, metrics: &Metrics) {
        let rate = grouped(metrics.tokens_per_second as u64);
        self.progress.message(format!("loss {:.3}, {rate} tokens/s", metrics.loss));
        self.progress.advance(1);
    }

    /// In a single write, so that a kill leaves at most one broken line, which resuming drops.
    fn write_line(&mut self, metrics: &Metrics) -> Result<()> {
        self.metrics.write_all(&json_line(metrics)?).context("cannot write metrics.jsonl")
    }
}

fn json_line(metrics: &Metrics) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(metrics).context("cannot write the metrics as JSON")?;
    line.push(b'\n');
    Ok(line)
}

fn scalars(metrics: &Metrics) -> [(&'static str, f32); 7] {
    // TensorBoard stores single precision; metrics.jsonl has the numbers in full.
    [
        ("train/loss", metrics.loss as f32),
        ("train/lr", metrics.lr as f32),
        ("train/grad_norm", metrics.grad_norm as f32),
        ("train/weight_ess", metrics.weight_ess as f32),
        ("train/epoch", metrics.epoch as f32),
        ("train/tokens_per_second", metrics.tokens_per_second as f32),
        ("train/peak_memory_bytes", metrics.peak_memory_bytes as f32),
    ]
}

/// Opens the metrics for appending, without the lines that an interrupted run wrote after update `done`.
fn open_metrics(path: &Path, done: u64) -> Result<File> {
    let cannot = || format!("cannot write {}", path.display());
    // Updates after the checkpoint are repeated on resuming, and each has one line.
    if path.is_file() {
        let kept = lines_up_to(path, done).with_context(|| format!("cannot read {}", path.display()))?;
        write_text(path, &kept)?;
    }
    OpenOptions::new().create(true).append(true).open(path).with_context(cannot)
}

fn lines_up_to(path: &Path, done: u64) -> Result<String> {
    let mut kept = String::new();
    for line in BufReader::new(File::open(path)?).lines() {
        let line = line?;
        if step_of(&line).is_some_and(|step| step <= done) {
            kept.push_str(&line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

/// A line that an interruption has cut short is not valid JSON, and so has no step.
fn step_of(line: &str) -> Option<u64> {
    serde_json::from_str::<Value>(line).ok()?["step"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn resuming_drops_later_and_broken_metric_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(METRICS);
        fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st").unwrap();
        let mut file = open_metrics(&path, 2).unwrap();
        file.write_all(b"{\"step\":3,\"again\":true}\n").unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"again\":true}\n"
        );
    }
}
