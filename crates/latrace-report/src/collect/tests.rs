use anyhow::Result;
use latrace_core::Reason;
use latrace_core::Split;
use latrace_io::table::{Record, Table};
use latrace_questions::tasks::Task;
use latrace_run::pipeline::folder::{RunFolder, StageFolder};
use latrace_run::pipeline::records::QuestionRecord;
use latrace_run::pipeline::records::{
    AnswerRecord, ResponseRecord, TraceRecord, VerdictRecord, WeightRecord,
};
use serde_json::{Value, json};

use super::*;
use crate::data::{AnsweredQuestion, ModelRole, ShownResponse, StageState};

/// A run folder whose stages the tests write themselves.
struct WrittenRun {
    folder: tempfile::TempDir,
    plan: Plan,
}

impl WrittenRun {
    fn new(changes: &[&str]) -> WrittenRun {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/quickstart.toml");
        let changes: Vec<String> = changes.iter().map(|&text| text.to_owned()).collect();
        let recipe = RunRecipe::read(&file, &changes).unwrap();
        let folder = tempfile::tempdir().unwrap();
        RunFolder::lock(folder.path()).unwrap();
        fs::write(folder.path().join(RECIPE), recipe.to_toml().unwrap()).unwrap();
        WrittenRun { folder, plan: latrace_run::plan::plan(&recipe).unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A finished stage with the rows and counts.
    fn done<R: Record>(&self, method: Option<&str>, round: u64, stage: Stage, rows: &[R], counts: Value) {
        let (work, begun) = self.begin(method, round, stage);
        Table::create(&work, "key").write(0, rows).unwrap();
        begun.end(Ok(counts)).unwrap();
    }

    fn begin(&self, method: Option<&str>, round: u64, stage: Stage) -> (PathBuf, StageFolder) {
        let node = &self.plan.nodes[self.plan.node(method, round, stage).unwrap()];
        let folder = self.path().join(node.folder());
        let begun = StageFolder::begin(&folder, stage.name(), json!({}), 7.0).unwrap();
        (folder, begun)
    }

    fn evaluation(&self, method: Option<&str>, stage: Stage, reasons: &[Reason]) {
        let accuracy =
            json!({"accuracy": 0.5, "low": 0.25, "high": 0.75, "questions": 2, "samples": reasons.len()});
        let counts = json!({
            "overall": accuracy, "by_difficulty": {}, "truncated": 1, "tokens": 9, "split": "test",
        });
        self.done(method, 1, stage, &responses(reasons), counts);
    }

    /// Traces of a question, of which the second has no end, and two answers after the first.
    fn traces(&self, method: Option<&str>, reasons: [Reason; 2]) {
        let trace = |sample| TraceRecord {
            id: "a".to_owned(),
            sample,
            token_ids: vec![1],
            logprobs: vec![-0.5],
            closed: sample == 0,
        };
        self.done(method, 1, Stage::Traces, &[trace(0), trace(1)], Value::Null);
        let verdicts: Vec<VerdictRecord> = (0..)
            .zip(reasons)
            .map(|(answer, reason)| VerdictRecord {
                id: "a".to_owned(),
                sample: 0,
                answer,
                reason,
                is_reference: false,
            })
            .collect();
        self.done(method, 1, Stage::Verdicts, &verdicts, Value::Null);
    }

    fn collect(&self) -> Result<ReportData> {
        Collector::new(self.path()).collect()
    }
}

/// Responses to two questions in turn, of three tokens each.
fn responses(reasons: &[Reason]) -> Vec<ResponseRecord> {
    let response = |(number, &reason): (usize, &Reason)| ResponseRecord {
        id: ["x", "y"][number % 2].to_owned(),
        sample: number as u64 / 2,
        difficulty: None,
        token_ids: vec![1, 2, 3],
        text: None,
        reason,
        truncated: false,
        without_thought: None,
    };
    reasons.iter().enumerate().map(response).collect()
}

#[test]
fn models_are_measured_by_their_responses_and_compared_with_the_final_one() {
    let run = WrittenRun::new(&[]);
    use Reason::{Different, Equal, NoSandbox};
    run.evaluation(None, Stage::InitialEvaluation, &[Different, Different, Equal, NoSandbox]);
    run.evaluation(None, Stage::FinalEvaluation, &[Equal, Different, Equal, Equal]);
    let rft = run.plan.last_of(Some("rft"), Stage::FinalEvaluation).unwrap();
    assert_eq!(run.plan.nodes[rft].round, 1);
    run.evaluation(Some("rft"), Stage::FinalEvaluation, &[Equal, Equal, Equal, Equal]);
    let data = run.collect().unwrap();
    let models: Vec<(&str, ModelRole, usize, usize, f64)> = data
        .models
        .iter()
        .map(|of| (of.name.as_str(), of.role, of.undetermined, of.truncated, of.mean_tokens))
        .collect();
    let expected = [
        ("initial", ModelRole::Initial, 1, 1, 3.0),
        ("final", ModelRole::Final, 0, 1, 3.0),
        ("rft", ModelRole::Baseline, 0, 1, 3.0),
    ];
    assert_eq!(models, expected);
    // pass@1 is the accuracy that the stage has counted, with its interval; in two tries each, the initial model is right
    // on question x and not on y.
    let initial = &data.models[0];
    assert_eq!(initial.pass_at[0], initial.overall.interval());
    assert_eq!((initial.pass_at.len(), initial.pass_at[1].mean), (2, 0.5));
    let pairs: Vec<(&str, &str, f64, usize)> = data
        .comparisons
        .iter()
        .map(|pair| (pair.model.as_str(), pair.against.as_str(), pair.difference.mean, pair.questions))
        .collect();
    assert_eq!(pairs, [("final", "initial", 0.5, 2), ("final", "rft", -0.25, 2)]);
    assert!(!data.missing.contains_key("accuracy") && data.missing.contains_key("difficulty"));
}

#[test]
fn one_response_to_each_question_has_no_pass_at_k() {
    let is_missing = |n: &str| {
        let run = WrittenRun::new(&[n]);
        run.evaluation(None, Stage::InitialEvaluation, &[Reason::Equal, Reason::Equal]);
        run.collect().unwrap().missing.contains_key("pass_at_k")
    };
    assert_eq!([is_missing("evaluation.n=1"), is_missing("evaluation.n=2")], [true, false]);
}

#[test]
fn accuracies_of_questions_are_those_of_the_models_own_traces_where_a_method_has_them() {
    let run = WrittenRun::new(&[]);
    run.traces(None, [Reason::Equal, Reason::Equal]);
    let emphasis = run.collect().unwrap().emphasis.unwrap();
    assert!(emphasis.of.contains("the posterior’s traces"), "{}", emphasis.of);
    // One of two traces is always right, and the one without an end never.
    assert_eq!(emphasis.accuracies.counts.iter().position(|&count| count > 0), Some(10));
    run.traces(Some("rft"), [Reason::Equal, Reason::Different]);
    let emphasis = run.collect().unwrap().emphasis.unwrap();
    assert!(emphasis.of.ends_with("drawn for RFT"), "{}", emphasis.of);
    assert_eq!(emphasis.accuracies.counts.iter().position(|&count| count > 0), Some(5));
    // A question of accuracy 1/4 is a hard one, and all that there is to learn from.
    assert!(emphasis.curves.iter().all(|curve| curve.shares == [1.0, 0.0, 0.0]), "{:?}", emphasis.curves);
}

fn question(id: &str, split: Split, is_traced: bool, is_hinted: bool) -> QuestionRecord {
    QuestionRecord {
        id: id.to_owned(),
        split,
        question: format!("question {id}"),
        hint: is_hinted.then(|| "hint".to_owned()),
        difficulty: None,
        kind: "math".to_owned(),
        reference: "{}".to_owned(),
        prompt_ids: vec![1],
        posterior_prompt_ids: None,
        trace_ids: is_traced.then(|| vec![2]),
        answer_ids: None,
    }
}

#[test]
fn questions_are_counted_by_split_and_by_what_they_have() {
    let run = WrittenRun::new(&[]);
    let questions = [
        question("a", Split::Train, true, true),
        question("b", Split::Train, false, true),
        question("c", Split::Train, false, false),
        question("d", Split::Test, true, true),
        question("e", Split::Validation, true, true),
    ];
    run.done(None, 1, Stage::Questions, &questions, Value::Null);
    let counts = run.collect().unwrap().questions.unwrap();
    assert_eq!((counts.train, counts.with_trace, counts.with_hint, counts.evaluation), (3, 1, 2, 1));
    let example = counts.example.unwrap();
    assert_eq!(
        (example.question.as_str(), example.answer, counts.responses_each),
        ("question a", None, Some(4))
    );
    assert_eq!(counts.meaning, Task::Walk.text().meaning);
}

#[test]
fn a_run_is_finished_with_its_summary() {
    let run = WrittenRun::new(&["skip=[\"gold\", \"rft\"]", "evaluation.training=0"]);
    for node in &run.plan.nodes {
        match node.stage {
            Stage::InitialEvaluation | Stage::FinalEvaluation => {
                run.evaluation(None, node.stage, &[Reason::Equal; 4]);
            }
            stage => drop(run.begin(None, 1, stage).1.end(Ok(Value::Null)).unwrap()),
        }
    }
    let is_finished = || {
        let stages = RunStages::look(run.path(), &recipe(run.path()).unwrap()).unwrap();
        describe(run.path(), &recipe(run.path()).unwrap(), &stages).unwrap().finished
    };
    assert!(!is_finished());
    let plan_recipe = recipe(run.path()).unwrap();
    RunSummary::of(&run.plan, run.path(), &plan_recipe).unwrap().write(run.path()).unwrap();
    assert!(is_finished());
    run.begin(None, 1, Stage::Final);
    assert!(!is_finished());
}

#[test]
fn a_collector_sees_the_stages_that_finish_after_it_began() {
    let run = WrittenRun::new(&[]);
    let mut collector = Collector::new(run.path());
    assert_eq!(collector.collect().unwrap().models.len(), 0);
    run.evaluation(None, Stage::InitialEvaluation, &[Reason::Equal; 4]);
    let data = collector.collect().unwrap();
    assert_eq!(data.models.len(), 1);
    assert_eq!(collector.collect().unwrap(), data);
}

#[test]
fn the_time_of_a_stage_is_shown_when_it_is_done() {
    let run = WrittenRun::new(&[]);
    run.begin(None, 1, Stage::Model);
    run.done(None, 1, Stage::Questions, &[question("a", Split::Train, true, true)], Value::Null);
    let (_, stages) = stages(run.path()).unwrap();
    assert_eq!((stages[0].state, stages[0].seconds), (StageState::Begun, None));
    assert!(stages[1].state == StageState::Done && stages[1].seconds.unwrap() >= 7.0);
    assert_eq!(stages[2].state, StageState::Waiting);
}

#[test]
fn figures_are_of_the_last_round_whose_traces_were_weighed() {
    let run = WrittenRun::new(&["rounds=3"]);
    let folder = |stage| {
        let stages = RunStages::look(run.path(), &recipe(run.path()).unwrap()).unwrap();
        stages.done(stage).map(|path| path.strip_prefix(run.path()).unwrap().display().to_string())
    };
    run.done::<TraceRecord>(None, 1, Stage::Traces, &[], Value::Null);
    run.done::<TraceRecord>(None, 2, Stage::Traces, &[], Value::Null);
    assert_eq!(folder(Stage::Traces).as_deref(), Some("03-traces"));
    run.done::<TraceRecord>(None, 1, Stage::Weights, &[], Value::Null);
    run.done::<TraceRecord>(None, 2, Stage::Weights, &[], Value::Null);
    run.done::<TraceRecord>(None, 3, Stage::Traces, &[], Value::Null);
    assert_eq!(folder(Stage::Traces).as_deref(), Some("round-2/03-traces"));
}

#[test]
fn traces_are_shown_with_their_different_answers_and_counted_by_what_became_of_them() {
    let run = WrittenRun::new(&[]);
    run.done(None, 1, Stage::Questions, &[question("a", Split::Train, true, true)], Value::Null);
    run.traces(None, [Reason::Different, Reason::Equal]);
    let answer = |number, text: &str| AnswerRecord {
        id: "a".to_owned(),
        sample: 0,
        answer: number,
        token_ids: vec![1],
        given: 0,
        logprobs: vec![-1.0],
        ended: true,
        text: text.to_owned(),
    };
    run.done(None, 1, Stage::Answers, &[answer(0, "3"), answer(1, "4")], Value::Null);
    let data = run.collect().unwrap();
    let funnel = |data: &ReportData| {
        data.funnel.iter().map(|step| (step.name.clone(), step.count)).collect::<Vec<_>>()
    };
    // One right answer of several is enough, and a trace without answers has none.
    let expected = [("sampled", 2), ("came to their end", 1), ("led to a right answer", 1)];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(funnel(&data), expected);
    let answers = |data: &ReportData| {
        let answers = &data.traces.questions[0].traces[0].answers;
        answers.iter().map(|answer| (answer.text.clone(), answer.times)).collect::<Vec<_>>()
    };
    assert_eq!(answers(&data), [("3".to_owned(), 1), ("4".to_owned(), 1)]);
    run.traces(None, [Reason::Equal, Reason::Equal]);
    run.done(None, 1, Stage::Answers, &[answer(0, "4"), answer(1, "4")], Value::Null);
    let data = run.collect().unwrap();
    assert_eq!((answers(&data), funnel(&data).as_slice()), (vec![("4".to_owned(), 2)], &expected[..]));
}

#[test]
fn equal_traces_are_merged_with_their_weights_and_counted() {
    let run = WrittenRun::new(&[]);
    run.done(None, 1, Stage::Questions, &[question("a", Split::Train, true, true)], Value::Null);
    let trace = |sample, token| TraceRecord {
        id: "a".to_owned(),
        sample,
        token_ids: vec![1, token],
        logprobs: vec![-0.5, -0.5],
        closed: true,
    };
    run.done(None, 1, Stage::Traces, &[trace(0, 2), trace(1, 3), trace(2, 2)], Value::Null);
    let weight = |sample, weight| WeightRecord {
        id: "a".to_owned(),
        sample,
        log_ratio: Some(-1.0),
        log_answer: Some(0.0),
        weight,
        chosen: weight,
        by_reference: false,
    };
    run.done(None, 1, Stage::Weights, &[weight(0, 0.25), weight(1, 0.25), weight(2, 0.5)], Value::Null);
    let data = run.collect().unwrap();
    let traces: Vec<_> = data.traces.questions[0]
        .traces
        .iter()
        .map(|of| (of.sample, of.times, of.weight, of.chosen))
        .collect();
    assert_eq!(traces, [(0, 2, Some(0.75), 0.75), (1, 1, Some(0.25), 0.25)]);
    // The funnel counts each of them.
    assert_eq!(data.funnel[0].count, 3);
}

#[test]
fn responses_of_the_runs_own_models_are_shown_side_by_side() {
    let run = WrittenRun::new(&[]);
    let asked = ["x", "y", "z"].map(|id| question(id, Split::Test, false, false));
    run.done(None, 1, Stage::Questions, &asked, Value::Null);
    assert!(run.collect().unwrap().missing.contains_key("responses"));
    use Reason::{Different, Equal};
    run.evaluation(None, Stage::InitialEvaluation, &[Different, Different, Equal, Different]);
    run.evaluation(Some("rft"), Stage::FinalEvaluation, &[Equal; 4]);
    run.evaluation(None, Stage::FinalEvaluation, &[Equal, Different, Equal, Equal]);
    let shown = run.collect().unwrap().responses;
    assert_eq!(
        (shown.models, shown.of, shown.seed),
        (vec!["initial".to_owned(), "final".to_owned()], 3, None)
    );
    let counts = |of: &AnsweredQuestion| {
        let of_model = |responses: &Vec<ShownResponse>| {
            responses.iter().map(|response| (response.reason, response.times)).collect::<Vec<_>>()
        };
        of.responses.iter().map(of_model).collect::<Vec<_>>()
    };
    assert_eq!(counts(&shown.questions[0]), [vec![(Different, 1), (Equal, 1)], vec![(Equal, 2)]]);
    assert_eq!(counts(&shown.questions[1]), [vec![(Different, 2)], vec![(Different, 1), (Equal, 1)]]);
    // A question without responses, such as in a stage that is not finished, is no error.
    assert_eq!(counts(&shown.questions[2]), [vec![], vec![]]);
}

#[test]
fn a_peak_of_memory_that_no_system_reported_is_none() {
    let run = WrittenRun::new(&[]);
    let peak = || {
        let recipe = recipe(run.path()).unwrap();
        RunStages::look(run.path(), &recipe).unwrap().peak_memory_bytes()
    };
    assert_eq!(peak(), None);
    let record = run.begin(None, 1, Stage::Model).0.join("stage.json");
    for (bytes, expected) in [(0, None), (5, Some(5))] {
        let mut value: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        value["peak_memory_bytes"] = json!(bytes);
        fs::write(&record, value.to_string()).unwrap();
        assert_eq!(peak(), expected);
    }
}
