//! Which stages a run has, and how far each is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use latrace_engine::TrainConfig;

use super::super::data::{Progress, Stage, StageState};
use super::training;
use latrace_io::table::Table;
use latrace_run::pipeline::folder::{StageRecord, read_record};
use latrace_run::pipeline::records::QuestionRecord;
use latrace_run::recipe::run::{Method, Proposal, RunRecipe};

/// A stage that the run has or will have.
#[derive(Debug)]
pub(super) struct Known {
    /// Its path within the run.
    pub(super) name: String,
    /// The same without method and round.
    stage: String,
    /// Another method that it belongs to.
    pub(super) method: Option<String>,
    /// Its folder.
    pub(super) folder: PathBuf,
    /// What is noted of it, if it has begun.
    pub(super) record: Option<StageRecord>,
}

impl Known {
    fn is_done(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.done)
    }
}

/// The stages of a run.
#[derive(Debug)]
pub(super) struct RunStages {
    stages: Vec<Known>,
    rounds: u64,
    configs: [TrainConfig; 3],
}

impl RunStages {
    /// Looks at a run's folder.
    pub(super) fn look(run: &Path, recipe: &RunRecipe) -> Result<RunStages> {
        let mut stages = Vec::new();
        let mut add =
            |prefix: &str, method: Option<&str>, expected: &[&str], is_shared: bool| -> Result<()> {
                for stage in expected {
                    let name = format!("{prefix}{stage}");
                    let folder = run.join(&name);
                    let record = read_record(&folder)?;
                    // Stages that equal those of the run itself have no folder of their own: only the last
                    // ones surely have.
                    let is_surely_own = !is_shared || ["09-final", "10-evaluation/final"].contains(stage);
                    if record.is_some() || is_surely_own {
                        stages.push(Known {
                            name,
                            stage: (*stage).to_owned(),
                            method: method.map(str::to_owned),
                            folder,
                            record,
                        });
                    }
                }
                Ok(())
            };
        add("", None, &expected(recipe), false)?;
        for round in 2..=recipe.rounds {
            add(&format!("round-{round}/"), None, &IN_ROUND, true)?;
        }
        for (name, variant) in recipe.variants()? {
            add(&format!("baselines/{name}/"), Some(&name), &expected(&variant), true)?;
            for round in 2..=variant.rounds {
                add(&format!("baselines/{name}/round-{round}/"), Some(&name), &IN_ROUND, true)?;
            }
        }
        Ok(RunStages {
            stages,
            rounds: recipe.rounds,
            configs: [recipe.initial.clone(), recipe.posterior.clone(), recipe.final_config()],
        })
    }

    /// The folder of a stage of the run's own method, if it is done: that of the last round in which traces
    /// were weighed.
    pub(super) fn done(&self, stage: &str) -> Option<&Path> {
        let weighed = (1..=self.rounds)
            .rev()
            .find(|&round| self.done_at(&in_round(round, "07-weights")).is_some())
            .unwrap_or(1);
        // What a round shares with an earlier one is only there.
        (1..=weighed).rev().find_map(|round| self.done_at(&in_round(round, stage)))
    }

    /// The folder of a stage by its path within the run, if it is done.
    pub(super) fn done_at(&self, name: &str) -> Option<&Path> {
        self.stages
            .iter()
            .find(|stage| stage.name == name && stage.is_done())
            .map(|stage| stage.folder.as_path())
    }

    /// What a stage of the run's own method counted, if it is done.
    pub(super) fn counts(&self, stage: &str) -> Option<&serde_json::Value> {
        let folder = self.done(stage)?;
        self.stages
            .iter()
            .find(|known| known.folder == folder)
            .and_then(|known| known.record.as_ref())
            .map(|record| &record.counts)
    }

    /// Stages that train models.
    pub(super) fn trainings(&self) -> impl Iterator<Item = (&Known, &TrainConfig)> {
        let config = |known: &Known| match known.stage.as_str() {
            "01-initial" => Some(&self.configs[0]),
            "02-posterior" => Some(&self.configs[1]),
            "09-final" => Some(&self.configs[2]),
            _ => None,
        };
        self.stages.iter().filter_map(move |known| Some((known, config(known)?)))
    }

    /// Why something of a stage cannot be shown.
    pub(super) fn not_there(&self, stage: &str) -> String {
        match self.stages.iter().find(|known| known.name == stage) {
            None => format!("This run has no stage {stage}."),
            Some(known) if known.is_done() => format!("Stage {stage} is done, but holds nothing of this."),
            Some(known) if known.record.is_some() => {
                format!("Not there yet: stage {stage} is at work, or was stopped.")
            }
            Some(_) => format!("Not there yet: stage {stage} has not begun."),
        }
    }

    /// Whether every stage is done.
    pub(super) fn all_done(&self) -> bool {
        self.stages.iter().all(Known::is_done)
    }

    /// Most memory (bytes) at the end of any stage.
    pub(super) fn peak_memory_bytes(&self) -> Option<u64> {
        self.stages
            .iter()
            .filter_map(|stage| stage.record.as_ref())
            .map(|record| record.peak_memory_bytes)
            .max()
            .filter(|&bytes| bytes > 0)
    }

    /// What tells these finished stages from others.
    pub(super) fn fingerprint(&self) -> String {
        let done = self.stages.iter().filter(|stage| stage.is_done());
        done.map(|stage| format!("{} {:?}\n", stage.name, stage.record.as_ref().map(|record| &record.files)))
            .collect()
    }

    /// The stages as the report shows them.
    pub(super) fn shown(&self) -> Result<Vec<Stage>> {
        let parts = self
            .done_at("00-questions")
            .map(|folder| Table::<QuestionRecord>::open(folder).parts())
            .transpose()?;
        self.stages.iter().map(|known| self.show(known, parts)).collect()
    }

    fn show(&self, known: &Known, parts: Option<usize>) -> Result<Stage> {
        let state = match &known.record {
            Some(record) if record.done => StageState::Done,
            Some(_) => StageState::Begun,
            None => StageState::Waiting,
        };
        let config =
            self.trainings().find(|(training, _)| training.name == known.name).map(|(_, config)| config);
        let progress = match (state, config) {
            (StageState::Begun, Some(config)) => training::progress(&known.folder, config)?,
            (StageState::Begun, None) => part_progress(&known.folder, parts)?,
            _ => None,
        };
        let tokens = match (state, config) {
            (StageState::Done, Some(_)) => training::tokens(&known.folder)?,
            _ => known.record.as_ref().and_then(|record| record.counts["tokens"].as_u64()),
        };
        let seconds =
            known.record.as_ref().map(|record| record.seconds).filter(|_| state == StageState::Done);
        Ok(Stage {
            folder: known.name.clone(),
            title: title(known),
            method: known.method.clone(),
            state,
            seconds,
            tokens,
            progress,
        })
    }
}

/// Stages of a later round.
const IN_ROUND: [&str; 8] = [
    "02-posterior",
    "03-traces",
    "04-scores",
    "05-answers",
    "06-verdicts",
    "07-weights",
    "08-dataset",
    "09-final",
];

/// The stages of a recipe's method, in the order in which they are done.
fn expected(recipe: &RunRecipe) -> Vec<&'static str> {
    let samples = recipe.method != Method::Sft;
    let answers = samples && recipe.draws_answers();
    let chosen = [
        ("00-model", true),
        ("00-questions", true),
        ("01-initial", true),
        ("10-evaluation/initial", true),
        ("02-posterior", samples && recipe.proposal() == Proposal::Posterior),
        ("03-traces", samples),
        ("04-scores", samples),
        ("05-answers", answers),
        ("06-verdicts", answers),
        ("07-weights", samples),
        ("08-dataset", true),
        ("09-final", true),
        ("10-evaluation/final", true),
    ];
    chosen.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
}

fn in_round(round: u64, stage: &str) -> String {
    if round == 1 { stage.to_owned() } else { format!("round-{round}/{stage}") }
}

fn title(known: &Known) -> String {
    let title = match known.stage.as_str() {
        "00-model" => "Model to start from",
        "00-questions" => "Questions",
        "01-initial" => "Training of the initial model",
        "02-posterior" => "Training of the posterior",
        "03-traces" => "Traces",
        "04-scores" => "Scores",
        "05-answers" => "Answers",
        "06-verdicts" => "Verdicts",
        "07-weights" => "Weights",
        "08-dataset" => "Examples",
        "09-final" => "Training of the final model",
        "10-evaluation/initial" => "Evaluation of the initial model",
        "10-evaluation/final" => "Evaluation of the final model",
        other => other,
    };
    let round = known.name.split('/').find_map(|part| part.strip_prefix("round-"));
    round.map_or(title.to_owned(), |round| format!("{title}, round {round}"))
}

/// How many parts are written, and how fast they came: by the times of the files, since whoever writes them
/// tells nobody else.
fn part_progress(folder: &Path, total: Option<usize>) -> Result<Option<Progress>> {
    let cannot = || format!("cannot read the folder {}", folder.display());
    let mut times: Vec<SystemTime> = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot)? {
        let entry = entry.with_context(cannot)?;
        if entry.file_name().to_string_lossy().starts_with("part-") {
            times.push(entry.metadata().and_then(|metadata| metadata.modified()).with_context(cannot)?);
        }
    }
    times.sort_unstable();
    let span = times
        .first()
        .zip(times.last())
        .and_then(|(first, last)| last.duration_since(*first).ok())
        .unwrap_or(Duration::ZERO);
    let per_second =
        (times.len() > 1 && !span.is_zero()).then(|| (times.len() - 1) as f64 / span.as_secs_f64());
    let (done, total) = (times.len() as u64, total.map(|total| total as u64));
    let seconds_left = per_second.zip(total).map(|(rate, total)| total.saturating_sub(done) as f64 / rate);
    Ok(Some(Progress { done, total, unit: "parts".to_owned(), per_second, seconds_left }))
}
