//! Evaluation of a model on a benchmark: responses are sampled or given, judged and counted.
//!
//! `summary` and `answer` are pure; `responses`, `judging` and `results` read and write files.

mod answer;
mod given;
mod judging;
mod lengths;
mod prompts;
mod references;
mod response;
mod responses;
mod results;
mod sampled;
mod summary;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use latrace_core::Markers;

pub use answer::{Answer, Opening, answer_of};
pub use judging::{JudgedResponse, Scored};
pub use lengths::Lengths;
pub use prompts::Wrapping;
pub use references::ReferenceReadings;
pub use responses::ResponseSource;
pub use results::{Correctness, QuestionResult, read_results};
pub use sampled::EvaluatedModel;
pub use summary::{EvaluationSummary, table};

use latrace_io::failure::Failure;
use latrace_io::files::checksum;
use latrace_objective::statistics::{Accuracy, Tally};
use latrace_questions::benchmarks::{Benchmark, Chosen, for_each};
use latrace_questions::verifiers::Verifiers;
use latrace_verify::command::CommandSettings;

/// File of an evaluation's folder: each question with its responses and verdicts.
pub const RESULTS: &str = "results.json";
/// File of the summary of the results.
pub const SUMMARY: &str = "summary.json";
/// Journal of the sampled responses, kept after the evaluation.
pub const RESPONSES: &str = "responses.jsonl";

/// What to evaluate, and where to write the results.
#[derive(Debug)]
pub struct BenchmarkRun {
    /// The benchmark, with its settings after overrides.
    pub benchmark: Benchmark,
    /// Files with its questions.
    pub files: Vec<PathBuf>,
    /// Which of them to use.
    pub chosen: Chosen,
    /// Markers around a thought.
    pub markers: Markers,
    /// The verifier of the user's own, for benchmarks that are judged by one.
    pub verifier: CommandSettings,
    /// Random seed.
    pub seed: u64,
    /// The output folder.
    pub out: PathBuf,
}

impl BenchmarkRun {
    /// Checksums of the files with its questions.
    fn data_checksums(&self) -> Result<Vec<String>> {
        self.files.iter().map(|file| checksum(file)).collect()
    }

    /// An error of an output folder that holds something else, which is left unchanged.
    fn out_is_taken(&self, by: &str) -> Failure {
        let message = format!("{} holds {by}", self.out.display());
        Failure::work(message).hint("choose another --out, or remove the folder")
    }
}

/// Accuracies of groups of questions, such as subsets. A question without a group counts only in the overall
/// accuracy.
pub(crate) fn accuracy_by<'a>(
    tally_q: impl Iterator<Item = (Option<&'a String>, Tally)>,
    seed: u64,
) -> BTreeMap<String, Accuracy> {
    let mut groups: BTreeMap<&String, Vec<Tally>> = BTreeMap::new();
    for (group, tally) in tally_q {
        if let Some(group) = group {
            groups.entry(group).or_default().push(tally);
        }
    }
    groups.into_iter().map(|(group, tally_q)| (group.clone(), Accuracy::of(&tally_q, seed))).collect()
}

/// A question as posed to the model.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its id.
    pub id: String,
    /// Its text, without the prompt template.
    pub text: String,
}

/// Runs an evaluation: samples or reads responses, judges them, and writes `results.json` and `summary.json`.
///
/// # Errors
/// Questions that cannot be read, models that cannot be loaded, a folder that holds a different evaluation;
/// I/O errors.
pub fn run(plan: &BenchmarkRun, source: &ResponseSource) -> Result<EvaluationSummary> {
    let out = &plan.out;
    // Before anything is sampled, too.
    let verifiers = Verifiers::new(&plan.verifier)?;
    verifiers.check(plan.benchmark.kind.name())?;
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    // Before the model is loaded, which can take minutes, so that a wrong file or subset shows at once.
    let asked = questions(plan)?;
    tracing::info!("{} questions of {}", asked.len(), plan.benchmark.title);
    let responses = responses::of(plan, source, &asked)?;
    // Measured apart from sampling, which a resumed evaluation may have done in an earlier process.
    let started = Instant::now();
    let scored = judging::judge(plan, &verifiers, &responses)?;
    let summary = EvaluationSummary::of(plan, &scored, &responses, started.elapsed().as_secs_f64())?;
    // Last, because its presence is what marks the evaluation as finished.
    summary.write(out)?;
    Ok(summary)
}

/// The chosen questions, without their references, which are read again when needed: the tests of programs
/// can be large.
fn questions(plan: &BenchmarkRun) -> Result<Vec<Asked>> {
    let mut asked = Vec::new();
    for_each(&plan.benchmark, &plan.files, &plan.chosen, |id, item| {
        asked.push(Asked { id, text: item.asked });
        Ok(())
    })?;
    Ok(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// The evaluation of a folder's `own.toml`, in it.
    fn own_benchmark(folder: &Path) -> BenchmarkRun {
        let benchmark = Benchmark::find(folder.join("own.toml").to_str().unwrap()).unwrap();
        BenchmarkRun {
            files: benchmark.files(folder).unwrap(),
            benchmark,
            chosen: Chosen::default(),
            markers: Markers::named("think").unwrap(),
            verifier: CommandSettings::none(),
            seed: 0,
            out: folder.join("out"),
        }
    }

    #[test]
    fn given_responses_are_judged_and_summed_up() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "own.toml",
            "title = \"Own\"\nkind = \"math\"\nk = 2\n[source]\nfiles = [\"own.jsonl\"]\n[columns]\nid = \"i\"\nquestion = \
             \"q\"\nanswer = \"a\"\nsubset = \"s\"\n",
        );
        write(
            "own.jsonl",
            "{\"i\": \"x\", \"q\": \"2 + 2?\", \"a\": 4, \"s\": \"easy\"}\n{\"i\": \"y\", \"q\": \"3 + 3?\", \"a\": 6, \"s\": \
             \"hard\"}\n",
        );
        write(
            "given.jsonl",
            "{\"id\": \"x\", \"response\": \"<think>\\nt\\n</think>\\n\\n\\\\boxed{4}\", \"token_ids\": [1, 2]}\n\
             {\"id\": \"x\", \"response\": \"\\\\boxed{5}\", \"token_ids\": [1, 2, 3]}\n\
             {\"id\": \"x\", \"response\": \"<think> \\\\boxed{4}\", \"token_ids\": [1]}\n\
             {\"id\": \"y\", \"response\": \"\\\\boxed{6}\", \"stop_reason\": \"max_tokens\", \"token_ids\": [1, 2, 3, 4]}\n\
             {\"id\": \"y\", \"response\": \"\\\\boxed{6}\"}\n",
        );
        let plan = own_benchmark(folder.path());
        let summary = run(&plan, &ResponseSource::File(folder.path().join("given.jsonl"))).unwrap();
        // One response to each question answers at once.
        assert_eq!(summary.without_thought, 2);
        let EvaluationSummary { overall, k, truncated, unclosed, total_completion_tokens, .. } = summary;
        assert_eq!((overall.accuracy, overall.questions, overall.samples), ((1.0 / 3.0 + 0.5) / 2.0, 2, 5));
        // One response was cut and another left its thought open: neither is an answer.
        assert_eq!((k, truncated, unclosed, total_completion_tokens), (2, 1, 2, 10));
        let most = |lengths: Option<Lengths>| lengths.map(|lengths| (lengths.count, lengths.most));
        assert_eq!(
            [most(summary.lengths_of_correct), most(summary.lengths_of_wrong)],
            [Some((1, 2)), Some((3, 4))]
        );
        assert_eq!((summary.by_subset["easy"].samples, summary.by_subset["hard"].accuracy), (3, 0.5));
        let results = read_results(&plan.out).unwrap().unwrap();
        assert_eq!(results.iter().map(|question| question.id.as_str()).collect::<Vec<_>>(), ["x", "y"]);
        let tallies: Vec<(usize, usize)> =
            results.iter().map(|question| (question.tally().right, question.tally().samples)).collect();
        assert_eq!(tallies, [(1, 3), (1, 2)]);
    }

    #[test]
    fn references_are_reported_by_what_they_are_read_as() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "own.toml",
            "title = \"Own\"\nkind = \"math\"\nk = 1\n[source]\nfiles = [\"own.jsonl\"]\n[columns]\nid = \"i\"\n\
             question = \"q\"\nanswer = \"a\"\n",
        );
        let rows = [("a", "4"), ("b", "9 (apples)"), ("c", "6"), ("d", "5\\text{ or more}"), ("e", "①③")];
        let row =
            |(id, answer): &(&str, &str)| serde_json::json!({"i": id, "q": id, "a": answer}).to_string();
        write("own.jsonl", &rows.iter().map(row).collect::<Vec<_>>().join("\n"));
        let plan = own_benchmark(folder.path());
        let readings = ReferenceReadings::of(&plan).unwrap();
        assert_eq!(readings.to_string(), "number (2), number beside words (2), text to the letter (1)");
        let warnings = readings.warnings();
        assert!(
            warnings[0].starts_with("2 references, such as that of question b, hold a number beside words")
        );
        assert!(warnings[1].starts_with("1 references, such as that of question e, cannot be read"));
        // Each equals its own text, which is why the accuracy of such a check says little.
        assert_eq!(run(&plan, &ResponseSource::Right).unwrap().overall.accuracy, 1.0);
    }
}
