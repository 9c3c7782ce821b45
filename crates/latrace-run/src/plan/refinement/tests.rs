use std::path::Path;

use serde_json::Value;

use crate::plan::tests::{check_reads, models_of, read};
use crate::plan::{NodeId, Plan, Role, Stage, plan, settings_key};

/// What the stage in a folder reads.
#[track_caller]
fn check_reads_in(plan: &Plan, folder: &str, expected: &[(Role, &str)]) {
    let node = plan.nodes.iter().find(|node| node.folder() == Path::new(folder));
    let node = node.unwrap_or_else(|| panic!("no {folder}"));
    let folder = |id: &NodeId| plan.nodes[*id].folder().display().to_string();
    let read: Vec<_> = node.inputs.iter().map(|(role, id)| (*role, folder(id))).collect();
    let expected: Vec<_> = expected.iter().map(|(role, folder)| (*role, (*folder).to_owned())).collect();
    assert_eq!(read, expected);
}

#[test]
fn the_posterior_is_refined_on_its_own_samples_in_every_round() {
    use Role::{Model, Questions, Rows, Scores, Traces};
    let settings = ["rounds=2", "skip=[\"rft\"]", "posterior.refine.rounds=2"];
    let plan = plan(&read("quickstart.toml", &settings)).unwrap();
    let questions = (Questions, "00-questions");
    let check = |prefix: &str, q: &str, reasoner: &str| {
        let of = |name: &str| format!("{prefix}{name}");
        let (traces, scores, rows) =
            (of("02-refined-traces"), of("02-refined-scores"), of("02-refined-dataset"));
        check_reads_in(&plan, &traces, &[questions, (Model, q)]);
        check_reads_in(&plan, &scores, &[questions, (Traces, &traces), (Model, reasoner)]);
        check_reads_in(&plan, &rows, &[questions, (Traces, &traces), (Scores, &scores)]);
        check_reads_in(&plan, &of("02-refined-posterior"), &[(Model, q), (Rows, &rows)]);
    };
    check("refinement-1/", "02-posterior", "01-initial");
    check("refinement-2/", "refinement-1/02-refined-posterior", "01-initial");
    check_reads(&plan, 1, Stage::Traces, &[questions, (Model, "refinement-2/02-refined-posterior")]);
    // The next round's q starts from the refined one.
    let (of_data, refined) = ("round-2/02-posterior-dataset", "round-2/refinement-2/02-refined-posterior");
    let start = (Model, "refinement-2/02-refined-posterior");
    check_reads(&plan, 2, Stage::Posterior, &[start, (Rows, of_data)]);
    check("round-2/refinement-1/", "round-2/02-posterior", "09-final");
    check_reads(&plan, 2, Stage::Traces, &[questions, (Model, refined)]);
    let id = plan.node(None, 2, Stage::Refinement).unwrap();
    assert_eq!(plan.nodes[id].title(), "Refinement of the posterior, refinement 2, round 2");
    let step = plan.steps.iter().find(|step| step.node == id).unwrap();
    assert_eq!(step.label(), "round 2: refinement 2: 02-refined-posterior");
}

#[test]
fn a_refinement_draws_plain_samples_of_the_questions_that_traces_are_sampled_for() {
    let settings = ["posterior.refine.rounds=1", "posterior.refine.n=5", "traces.temperature=0.7"];
    let plan = plan(&read("quickstart.toml", &settings)).unwrap();
    let of = |stage| settings_key(&plan.nodes[plan.last(stage).unwrap()]);
    let (refined, traces, scores) =
        (of(Stage::RefinementTraces), of(Stage::Traces), of(Stage::RefinementScores));
    assert_eq!((&refined["hinted"], &refined["questions_seed"]), (&true.into(), &traces["seed"]));
    assert_eq!(traces["questions_seed"], Value::Null);
    let sampling = |name: &str| refined["sampling"][name].as_f64().unwrap();
    let names = ["n", "temperature", "top_p", "top_k", "min_p", "max_new_tokens"];
    assert_eq!(names.map(sampling), [5.0, 1.0, 1.0, 0.0, 0.0, 64.0]);
    assert_eq!((&scores["references"], &scores["hinted"]), (&true.into(), &false.into()));
}

#[test]
fn a_posterior_that_is_only_refined_starts_where_the_recipe_says() {
    let check = |settings: &[&str], expected: [&str; 2]| {
        let refined = ["posterior.train=false", "posterior.refine.rounds=1"];
        assert_eq!(models_of(Stage::RefinementTraces, &[&refined, settings].concat()), expected);
    };
    let refined = "refinement-1/02-refined-posterior";
    check(&[], ["01-initial", "09-final"]);
    check(&["posterior.start=base"], ["00-model", "00-model"]);
    check(&["posterior.start=previous"], ["01-initial", refined]);
}
