use std::path::PathBuf;

use super::RescoringSettings;
use crate::plan::tests::read;
use crate::plan::{Role, Settings, Stage, plan};

#[test]
fn traces_of_an_engine_that_is_not_exact_are_scored_under_what_drew_them() {
    let recipe = read("quickstart.toml", &["engine.generate=servers", "rounds=2", "traces.mixture=0.5"]);
    let planned = plan(&recipe).unwrap();
    let check = |round, stage, expected: &[(Role, &str)]| {
        let node = &planned.nodes[planned.node(None, round, stage).unwrap()];
        let inputs: Vec<(Role, PathBuf)> =
            node.inputs.iter().map(|(role, id)| (*role, planned.nodes[*id].folder())).collect();
        let expected: Vec<(Role, PathBuf)> =
            expected.iter().map(|(role, folder)| (*role, PathBuf::from(folder))).collect();
        assert_eq!(inputs, expected, "{stage}");
        node.settings.clone()
    };
    let questions = (Role::Questions, "00-questions");
    let q = (Role::Model, "02-posterior");
    let drawn = check(1, Stage::TracesOfPosteriorDrawn, &[questions, q]);
    assert!(matches!(drawn, Settings::Traces(_)));
    let scored =
        check(1, Stage::TracesOfPosterior, &[questions, (Role::Traces, "03-traces-posterior-drawn"), q]);
    assert_eq!(scored, Settings::Rescoring(RescoringSettings { hinted: true, unfinished: false }));
    // q scores pi's part of a mixture in any case.
    assert!(matches!(
        check(1, Stage::TracesOfReasoner, &[questions, (Role::Model, "01-initial")]),
        Settings::Traces(_)
    ));
    // What q learns from by (9) is drawn by pi, without a hint.
    let pi = (Role::Model, "09-final");
    let learnt = check(
        2,
        Stage::PosteriorTraces,
        &[questions, (Role::Traces, "round-2/02-posterior-traces-drawn"), pi],
    );
    assert_eq!(learnt, Settings::Rescoring(RescoringSettings { hinted: false, unfinished: false }));
    // A policy gradient learns from unfinished traces, too.
    let rft = planned.node(Some("rft"), 1, Stage::Traces).unwrap();
    assert_eq!(
        planned.nodes[rft].settings,
        Settings::Rescoring(RescoringSettings { hinted: false, unfinished: false })
    );
    let grpo = plan(&read("quickstart.toml", &["engine.score=servers", "method=grpo"])).unwrap();
    let traces = grpo.node(None, 1, Stage::Traces).unwrap();
    let expected = RescoringSettings { hinted: false, unfinished: true };
    assert_eq!(grpo.nodes[traces].settings, Settings::Rescoring(expected));
}
