use serde_json::{Value, json};

use crate::plan::tests::{check_reads, read, reads};
use crate::plan::{Role, Stage, plan, settings_key};

#[test]
fn self_distillation_scores_the_reasoners_samples_under_the_posterior() {
    use Role::{ContrastScores, Model, Questions, Rows, Scores, Traces};
    let alone = ["skip=[\"rft\"]", "method=self-distillation", "rounds=2", "posterior.train=false"];
    let plan_of = |more: &[&str]| plan(&read("quickstart.toml", &[&alone, more].concat())).unwrap();
    let plan = plan_of(&["distillation.contrast=wrong-hint"]);
    let questions = (Questions, "00-questions");
    let check = |round, stage, expected: &[(Role, &str)]| check_reads(&plan, round, stage, expected);
    check(1, Stage::Traces, &[questions, (Model, "01-initial")]);
    check(1, Stage::ScoresOfPosterior, &[questions, (Traces, "03-traces"), (Model, "01-initial")]);
    let wrong = (Questions, "00-questions-wrong");
    check(1, Stage::ScoresOfWrongHint, &[wrong, (Traces, "03-traces"), (Model, "01-initial")]);
    let gaps =
        [(Traces, "03-traces"), (Scores, "03-scores-posterior"), (ContrastScores, "03-scores-wrong-hint")];
    check(1, Stage::Dataset, &[&[questions], &gaps[..]].concat());
    check(1, Stage::Final, &[(Model, "01-initial"), (Rows, "08-dataset")]);
    // The next round's student is its own teacher, and its samples are new; the wrong hints are the same.
    check(2, Stage::Traces, &[questions, (Model, "09-final")]);
    check(2, Stage::ScoresOfWrongHint, &[wrong, (Traces, "round-2/03-traces"), (Model, "09-final")]);
    let of = |stage| settings_key(&plan.nodes[plan.node(None, 1, stage).unwrap()]);
    let (traces, scores) = (of(Stage::Traces), of(Stage::ScoresOfPosterior));
    assert_eq!((&traces["hinted"], &traces["needs_hint"]), (&false.into(), &true.into()));
    assert_eq!(scores, json!({"references": false, "hinted": true, "unfinished": true}));
    assert_eq!(of(Stage::WrongQuestions)["source"]["hint"], "wrong");
    // Without a contrast, nothing of it is there, and nothing is answered or weighed either way.
    let plain = plan_of(&[]);
    let stages = [Stage::WrongQuestions, Stage::ScoresOfWrongHint, Stage::Answers, Stage::Weights];
    assert_eq!(stages.map(|stage| plain.last(stage)), [None; 4]);
    // Other stages' keys are as they were.
    let variational = crate::plan::plan(&read("quickstart.toml", &[])).unwrap();
    let scores = settings_key(&variational.nodes[variational.last(Stage::Scores).unwrap()]);
    assert_eq!(scores["unfinished"], Value::Null);
}

#[test]
fn the_posterior_of_a_self_distillation_is_trained_as_that_of_the_method() {
    let plan_of = |method: &str| {
        let plan = plan(&read("quickstart.toml", &["skip=[\"rft\"]", "rounds=2", method])).unwrap();
        [1, 2].map(|round| {
            (
                reads(&plan, round, Stage::Posterior),
                plan.node(None, round, Stage::PosteriorVerdicts).is_some(),
            )
        })
    };
    assert_eq!(plan_of("method=self-distillation"), plan_of("method=variational"));
}
