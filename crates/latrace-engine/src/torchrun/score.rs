//! Scoring with the ranks: rows go to them in files, window by window, while they keep running.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail, ensure};
use latrace_lm::{RowFileWriter, TrainRow, Weights};
use serde_json::json;

use super::TorchrunConfig;
use super::checkpoints::remove;
use super::job::{What, open_for_lines};
use super::model::check_weights;
use super::worker::{LOG, RankEvent, Ranks};
use crate::boundary::{ModelShape, Score, ScoreClient, ScoreRow};

/// Rows of a window: enough to keep ranks busy, few enough to hold their scores.
const WINDOW_TOKENS: usize = 1 << 20;
const WINDOW_ROWS: usize = 4096;

/// Windows that the ranks have at a time: they score one while the next is written.
const WINDOWS_AHEAD: usize = 2;

pub(super) struct TorchrunScore {
    shape: ModelShape,
    // Before the folder, which the ranks use until they are stopped.
    ranks: Ranks,
    windows: File,
    work: WorkFolder,
    /// Windows written.
    written: usize,
}

/// Rows that the ranks have.
struct Window {
    /// Tokens of each response.
    responses: Vec<usize>,
    rows: PathBuf,
    scores: PathBuf,
}

impl TorchrunScore {
    /// Starts ranks with the model in a folder. They share files in a folder below `shared`, which on several machines
    /// has to be on a shared file system.
    pub fn start(model: &Path, config: &TorchrunConfig, shared: &Path) -> Result<Self> {
        let shape = ModelShape::read(model)?;
        check_weights(model)?;
        let model = model.canonicalize().with_context(|| format!("cannot find {}", model.display()))?;
        let work = WorkFolder::create(shared)?;
        let path = work.0.join("windows.jsonl");
        let windows = open_for_lines(&path)?;
        let ranks = Ranks::start(&work.0, &model, config, What::Score { windows: path }, None)?;
        Ok(Self { shape, ranks, windows, work, written: 0 })
    }

    /// Gives the ranks the client's next rows, if there are any.
    fn send(&mut self, client: &mut dyn ScoreClient, first: usize) -> Result<Option<Window>> {
        let [rows, scores] =
            ["rows", "scores"].map(|name| self.work.0.join(format!("{name}-{}", self.written)));
        let responses = write_window(&rows, client, first)?;
        if responses.is_empty() {
            return remove(&rows).map(|()| None);
        }
        self.written += 1;
        let line = format!("{}\n", json!({"rows": rows, "scores": scores}));
        self.windows.write_all(line.as_bytes()).context("cannot write to the ranks' list of rows")?;
        Ok(Some(Window { responses, rows, scores }))
    }

    /// Log-probs of a window's rows, which the ranks get in order.
    fn receive(&mut self, window: &Window) -> Result<Vec<Vec<f32>>> {
        loop {
            match self.ranks.next()? {
                Some(RankEvent::Scored { rows }) => {
                    ensure!(rows == window.responses.len(), "the ranks scored {rows} rows of another window");
                    break;
                }
                Some(event) => event.describe(),
                None => bail!("the ranks ended before all rows were scored"),
            }
        }
        let scores = read_scores(window)?;
        [&window.rows, &window.scores].into_iter().try_for_each(|path| remove(path))?;
        Ok(scores)
    }
}

impl Score for TorchrunScore {
    fn shape(&self) -> &ModelShape {
        &self.shape
    }

    fn score_unchecked(&mut self, client: &mut dyn ScoreClient) -> Result<()> {
        let (mut ahead, mut sent, mut scored) = (VecDeque::new(), 0, 0);
        loop {
            while ahead.len() < WINDOWS_AHEAD {
                let Some(window) = self.send(client, sent)? else { break };
                sent += window.responses.len();
                ahead.push_back(window);
            }
            let Some(window) = ahead.pop_front() else { return Ok(()) };
            for (row, logp) in self.receive(&window)?.into_iter().enumerate() {
                client.scored(scored + row, logp)?;
            }
            scored += window.responses.len();
        }
    }
}

/// Writes rows of the client, from its row `first` on, to a file, as rows of weight 1; returns the lengths of
/// their responses.
fn write_window(path: &Path, client: &mut dyn ScoreClient, first: usize) -> Result<Vec<usize>> {
    let mut writer = RowFileWriter::create(path)?;
    let (mut responses, mut tokens) = (Vec::new(), 0);
    while responses.len() < WINDOW_ROWS && tokens < WINDOW_TOKENS {
        let Some(row) = client.next_row()? else { break };
        tokens += row.prompt.len() + row.response.len();
        writer.push(&train_row(&row, client.name(first + responses.len())))?;
        responses.push(row.response.len());
    }
    writer.finish()?;
    Ok(responses)
}

fn train_row(row: &ScoreRow, id: String) -> TrainRow {
    TrainRow {
        id,
        tokens: [row.prompt.as_slice(), &row.response].concat(),
        prompt_len: row.prompt.len(),
        weights: Weights::Row(1.0),
        policy: None,
    }
}

fn read_scores(window: &Window) -> Result<Vec<Vec<f32>>> {
    let path = &window.scores;
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut all = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let expected = window.responses.iter().sum::<usize>() * 4;
    ensure!(bytes.len() == expected, "{}: expected {expected} bytes, got {}", path.display(), bytes.len());
    Ok(window.responses.iter().map(|&response| all.by_ref().take(response).collect()).collect())
}

/// A folder of a scorer's own. Of its files only the ranks' log stays.
struct WorkFolder(PathBuf);

impl WorkFolder {
    fn create(shared: &Path) -> Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        // Relaxed: nothing but the number itself passes between threads.
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = shared.join(format!("torchrun-score-{count}"));
        let cannot = || format!("cannot make the folder {}", path.display());
        fs::create_dir_all(&path).with_context(cannot)?;
        // In full, since the ranks may run in another folder.
        let folder = Self(path.canonicalize().with_context(cannot)?);
        // A process that was killed could not.
        folder.clear()?;
        Ok(folder)
    }

    fn clear(&self) -> Result<()> {
        let cannot = || format!("cannot clear {}", self.0.display());
        for entry in fs::read_dir(&self.0).with_context(cannot)? {
            let path = entry.with_context(cannot)?.path();
            if path.file_name().is_none_or(|name| name != LOG) {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // What cannot be removed now is removed when the folder is used again.
        let _ = self.clear();
    }
}
