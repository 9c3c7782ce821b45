//! Traces of an engine whose sampler and scorer do not agree to the bit: the scorer of log pi gives them their
//! log-probs under the model that drew them, and how far the two differ is counted.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use latrace_engine::boundary::ScoreRow;
use latrace_engine::scoring::{PartScores, score_parts};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::scores::{check_finite, prompt, question_of};
use super::{StageWork, parts_progress};
use crate::pipeline::records::TraceRecord;
use crate::pipeline::views::{QuestionTokens, TraceTokens};
use crate::plan::{RescoringSettings, Role};
use latrace_io::table::Table;

/// Scores the traces of all parts, and writes them with these log-probs.
///
/// # Errors
/// A model that cannot be loaded, tables that cannot be read or written.
pub fn run(settings: &RescoringSettings, work: StageWork<'_>) -> Result<Value> {
    let drawn = DrawnTraces {
        settings: *settings,
        questions: work.input(Role::Questions)?,
        tokens: work.input(Role::Traces)?,
        traces: work.input(Role::Traces)?,
        out: work.output(),
        mismatch: Mutex::default(),
    };
    let parts = drawn.traces.parts()?;
    let (written, missing): (Vec<usize>, Vec<usize>) = (0..parts).partition(|&part| drawn.out.has(part));
    for part in written {
        drawn.count(&drawn.traces.read(part)?, &drawn.out.read(part)?);
    }
    let mut progress = parts_progress("parts scored", parts, missing.len());
    let model = work.model()?;
    score_parts(missing, &drawn, || work.context.engine.scorer(model), &mut progress)?;
    progress.finish();
    let mismatch = drawn.mismatch.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(serde_json::to_value(mismatch)?)
}

/// How far the log-probs of a sampler and of the scorer differ, on the traces that were scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SamplerMismatch {
    /// Traces that were scored.
    pub traces: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Mean absolute difference of a token's log-probs (nats).
    pub mean: f64,
    /// The largest one (nats).
    pub largest: f64,
    /// Mean absolute difference of a trace's summed log-probs (nats): what log rho would be wrong by.
    pub mean_of_traces: f64,
}

impl SamplerMismatch {
    fn add(&mut self, sampled: &[f32], scored: &[f32]) {
        let differences: Vec<f64> = sampled.iter().zip(scored).map(|(a, b)| f64::from(a - b)).collect();
        let sizes = differences.iter().map(|difference| difference.abs());
        let of_trace: f64 = differences.iter().sum();
        let all = self.tokens + differences.len() as u64;
        // Running means: nothing but these five numbers is kept over a table of any size.
        self.mean += (sizes.clone().sum::<f64>() - self.mean * differences.len() as f64) / all.max(1) as f64;
        self.largest = sizes.fold(self.largest, f64::max);
        self.tokens = all;
        self.traces += 1;
        self.mean_of_traces += (of_trace.abs() - self.mean_of_traces) / self.traces as f64;
    }
}

/// The traces of a table, as rows to score.
struct DrawnTraces {
    settings: RescoringSettings,
    questions: Table<QuestionTokens>,
    tokens: Table<TraceTokens>,
    traces: Table<TraceRecord>,
    out: Table<TraceRecord>,
    mismatch: Mutex<SamplerMismatch>,
}

impl DrawnTraces {
    fn is_scored(&self, closed: bool) -> bool {
        closed || self.settings.unfinished
    }

    /// Counts a part, as it was drawn and as it is written.
    fn count(&self, drawn: &[TraceRecord], scored: &[TraceRecord]) {
        let mut mismatch = self.mismatch.lock().unwrap_or_else(PoisonError::into_inner);
        for (drawn, scored) in drawn.iter().zip(scored).filter(|(drawn, _)| self.is_scored(drawn.closed)) {
            mismatch.add(&drawn.logprobs, &scored.logprobs);
        }
    }
}

impl PartScores for DrawnTraces {
    /// A trace's place in its part.
    type Of = usize;

    fn read(&self, part: usize) -> Result<Vec<(usize, String, ScoreRow)>> {
        let questions = self.questions.read(part)?;
        let row = |(place, trace): (usize, TraceTokens)| {
            let prompt = prompt(question_of(&questions, &trace.id)?, self.settings.hinted)?.to_vec();
            let name = format!("{}/{}", trace.id, trace.sample);
            Ok((place, name, ScoreRow { prompt, response: trace.token_ids }))
        };
        let traces = self.tokens.read(part)?.into_iter().enumerate();
        traces.filter(|(_, trace)| self.is_scored(trace.closed)).map(row).collect()
    }

    fn write(&self, part: usize, scores: Vec<(usize, Vec<f32>)>) -> Result<()> {
        let drawn = self.traces.read(part)?;
        let mut scored = drawn.clone();
        for (place, logp) in scores {
            let trace = &mut scored[place];
            check_finite(&trace.id, trace.sample, &logp)?;
            trace.logprobs = logp;
        }
        self.out.write(part, &scored)?;
        self.count(&drawn, &scored);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use latrace_core::Split;

    use super::*;
    use crate::stages::testing::question;

    fn trace(sample: u64, logprobs: &[f32], closed: bool) -> TraceRecord {
        let token_ids = (0..logprobs.len() as u32).collect();
        TraceRecord { id: "q".to_owned(), sample, token_ids, logprobs: logprobs.to_vec(), closed }
    }

    fn drawn(folder: &Path, settings: RescoringSettings) -> DrawnTraces {
        let [questions, traces, out] = ["questions", "traces", "out"].map(|name| folder.join(name));
        for folder in [&questions, &traces, &out] {
            std::fs::create_dir_all(folder).unwrap();
        }
        Table::create(&questions, "key").write(0, &[question("q", Split::Train)]).unwrap();
        let records = [trace(0, &[-1.0, -2.0], true), trace(1, &[-3.0], false)];
        Table::create(&traces, "key").write(0, &records).unwrap();
        DrawnTraces {
            settings,
            questions: Table::open(&questions),
            tokens: Table::open(&traces),
            traces: Table::open(&traces),
            out: Table::create(&out, "key"),
            mismatch: Mutex::default(),
        }
    }

    #[test]
    fn scored_traces_get_the_scorers_log_probs_and_others_keep_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let traces = drawn(folder.path(), RescoringSettings { hinted: true, unfinished: false });
        let rows = traces.read(0).unwrap();
        let [(0, name, row)] = &rows[..] else { panic!("{rows:?}") };
        assert_eq!((name.as_str(), &row.prompt, &row.response), ("q/0", &vec![1, 2, 3, 4], &vec![0, 1]));
        traces.write(0, vec![(0, vec![-1.5, -2.25])]).unwrap();
        assert_eq!(traces.out.read(0).unwrap(), [trace(0, &[-1.5, -2.25], true), trace(1, &[-3.0], false)]);
        let expected =
            SamplerMismatch { traces: 1, tokens: 2, mean: 0.375, largest: 0.5, mean_of_traces: 0.75 };
        assert_eq!(*traces.mismatch.lock().unwrap(), expected);
    }

    #[test]
    fn unfinished_traces_are_scored_where_they_are_learnt_and_without_the_hint() {
        let folder = tempfile::tempdir().unwrap();
        let traces = drawn(folder.path(), RescoringSettings { hinted: false, unfinished: true });
        let prompts: Vec<_> = traces.read(0).unwrap().into_iter().map(|(.., row)| row.prompt).collect();
        assert_eq!(prompts, [[1, 2, 3], [1, 2, 3]]);
        let error = traces.write(0, vec![(1, vec![f32::NAN])]).unwrap_err().to_string();
        assert_eq!(error, "id q, sample 1: a log-prob is NaN");
    }

    #[test]
    fn the_mismatch_is_of_tokens_and_of_traces() {
        let mut mismatch = SamplerMismatch::default();
        mismatch.add(&[-1.0, -1.0], &[-1.5, -0.5]);
        mismatch.add(&[-1.0], &[-3.0]);
        let expected = SamplerMismatch { traces: 2, tokens: 3, mean: 1.0, largest: 2.0, mean_of_traces: 1.0 };
        assert_eq!(mismatch, expected);
    }
}
