use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::{Table, Value as Toml};

use super::*;
use crate::pipeline::context::RunContext;
use latrace_questions::source::Source;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes").join(name)
}

pub(super) fn read(name: &str, settings: &[&str]) -> RunRecipe {
    let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
    RunRecipe::read(&shipped(name), &settings).unwrap()
}

/// All that a plan's keys hold, but for the contents of files and stages.
fn keys(recipe: &RunRecipe) -> Vec<String> {
    let plan = plan(recipe).unwrap();
    let context = RunContext::new(recipe, Path::new("nowhere")).unwrap();
    let key = |node: &Node| {
        let inputs: Vec<PathBuf> = node.inputs.iter().map(|(_, id)| plan.nodes[*id].folder()).collect();
        let externals: Vec<String> = node.settings.externals().iter().map(in_key).collect();
        let engine = context.identity(node);
        format!("{:?} {} {inputs:?} {externals:?} {engine:?}", node.folder(), settings_key(node))
    };
    plan.nodes.iter().map(key).collect()
}

/// What a key holds of an input outside the run folder: the checksums of a source's files, whatever is said about them.
fn in_key(external: &External<'_>) -> String {
    match external {
        External::Questions(source) => format!("{:?}", Source { about: String::new(), ..(*source).clone() }),
        other => format!("{other:?}"),
    }
}

/// The dotted names of a table's values.
fn leaves(table: &Table, prefix: &str, found: &mut Vec<String>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        match value {
            Toml::Table(inner) if !inner.is_empty() => leaves(inner, &format!("{name}."), found),
            _ => found.push(name),
        }
    }
}

/// Another value of the same type, valid for the setting wherever numbers of its size are.
fn other(name: &str, value: &Toml) -> Toml {
    let alternatives: &[(&str, &str)] = &[
        ("method", "rft"),
        ("method", "grpo"),
        ("start", "base"),
        ("posterior.rows", "samples"),
        ("posterior.refine.objective", "iwae-phi"),
        ("questions.task", "countdown"),
        ("questions.format", "gsm8k"),
        ("questions.hint", "wrong"),
        ("questions.answer_rule", "after-hashes"),
        ("prompts.markers", "think"),
        ("prompts.reasoner", "reasoner"),
        ("prompts.posterior", "posterior_b"),
        ("traces.from", "initial"),
        ("traces.questions", "all"),
        ("weights.ratio", "full"),
        ("weights.answer", "likelihood"),
        ("weights.weighting", "uniform"),
        ("weights.selection", "best"),
        ("weights.fallback", "skip"),
        ("dataset.answers", "one"),
        ("distillation.contrast", "wrong-hint"),
        ("dataset.duplicates", "once"),
        ("evaluation.split", "validation"),
        ("evaluation.base", "reasoner"),
        ("schedule", "linear"),
        ("loss", "clipped-policy-gradient"),
        ("normaliser", "token-mean"),
        ("over_length", "truncate"),
        ("init", "random"),
        ("save_dtype", "bf16"),
        ("engine.generate", "servers"),
        ("engine.score", "servers"),
        ("engine.train", "manual"),
        ("engine.compute", "bf16"),
        ("servers.kind", "sglang"),
        ("torchrun.dtype", "f32"),
        ("torchrun.attention", "eager"),
    ];
    match value {
        Toml::String(text) => {
            let last = name.rsplit('.').next().unwrap_or(name);
            let is_it = |known: &str| known == name || known == last;
            let known = alternatives.iter().find(|(known, other)| is_it(known) && other != text);
            Toml::String(known.map_or("other", |(_, value)| value).to_owned())
        }
        _ if name == "traces.mixture" => Toml::Float(0.25),
        Toml::Integer(number) => Toml::Integer(number + 1),
        // Halves of infinity are the same.
        Toml::Float(number) if number.is_infinite() => Toml::Float(-0.125),
        Toml::Float(number) => Toml::Float(number * 0.5 + 0.125),
        Toml::Boolean(flag) => Toml::Boolean(!flag),
        Toml::Array(list) if list.is_empty() => {
            Toml::Array(vec![Toml::String("http://127.0.0.1:1".to_owned())])
        }
        Toml::Array(_) if name == "skip" => Toml::Array(Vec::new()),
        Toml::Array(list) => Toml::Array([&list[..], &["x".into()]].concat()),
        _ => Toml::Table(Table::from_iter([("x".to_owned(), Toml::String("y".to_owned()))])),
    }
}

fn is_pace(name: &str) -> bool {
    PACE.iter().any(|pace| match pace.strip_prefix('*') {
        Some(end) => name.ends_with(end),
        None => *pace == name,
    })
}

/// The recipe with one leaf changed; none where no recipe has the changed value.
fn changed(recipe: &RunRecipe, name: &str) -> Option<RunRecipe> {
    let Toml::Table(mut table) = Toml::try_from(recipe).unwrap() else { unreachable!("a struct is a table") };
    let mut inner = &mut table;
    let (path, key) = name.rsplit_once('.').unwrap_or(("", name));
    for part in path.split('.').filter(|part| !part.is_empty()) {
        inner = inner.get_mut(part)?.as_table_mut()?;
    }
    let value = other(name, &inner[key]);
    inner.insert(key.to_owned(), value);
    Toml::Table(table).try_into().ok()
}

#[test]
fn a_change_of_any_leaf_of_a_recipe_changes_some_key() {
    // A baseline is checked as a whole, which a single changed leaf of the recipe may not pass: the recipe's own
    // leaves are changed without it.
    // A conversation, since only that has a system message.
    let settings = ["skip=[\"gold\", \"rft\"]", "prompts.reasoner=chat", "posterior.refine.rounds=1"];
    let alone = read("quickstart.toml", &settings);
    let with_baseline = read("quickstart.toml", &[]);
    let distilled = read("quickstart.toml", &[settings[0], "method=self-distillation"]);
    let by_torchrun = read("quickstart.toml", &[settings[0], "engine.train=torchrun"]);
    let served = read("quickstart.toml", &[settings[0], "engine.generate=servers", "engine.score=servers"]);
    let judged = read("quickstart.toml", &[settings[0], "verifier.command=[\"judge\"]"]);
    let Toml::Table(table) = Toml::try_from(&alone).unwrap() else { unreachable!("a struct is a table") };
    let mut names = Vec::new();
    leaves(&table, "", &mut names);
    assert!(names.len() > 100, "{names:?}");
    // The one loss that it can have.
    names.retain(|name| name != "posterior.refine.loss");
    for name in &names {
        let recipe = match name.split_once('.') {
            Some(("baselines", _)) => &with_baseline,
            Some(("distillation", _)) => &distilled,
            Some(("servers", _)) => &served,
            Some(("torchrun", _)) => &by_torchrun,
            Some(("verifier", _)) => &judged,
            _ => &alone,
        };
        let changed = changed(recipe, name).unwrap_or_else(|| panic!("{name}: the changed value is refused"));
        assert_ne!(changed, *recipe, "{name}");
        // Which baselines are run changes the list of stages, and the pace of work changes nothing.
        let is_same = keys(&changed) == keys(recipe);
        assert_eq!(is_same, is_pace(name) && name != "skip", "{name}");
    }
}

#[test]
fn in_bf16_the_lengths_of_passes_are_in_the_keys_of_trainings_here() {
    let of =
        |settings: &[&str]| keys(&read("quickstart.toml", &[&["engine.compute=bf16"], settings].concat()));
    let passes = "final.tokens_per_micro_batch=1000";
    assert_ne!(of(&[passes]), of(&[]));
    assert_eq!(of(&["final.checkpoint_every=1000"]), of(&[]));
    // PyTorch's sums are not ours.
    assert_eq!(of(&["engine.train=manual", passes]), of(&["engine.train=manual"]));
}

/// The defaults have no adapters and nothing frozen: those are leaves of this recipe alone.
#[test]
fn a_change_of_an_adapter_changes_some_key() {
    let settings = ["skip=[\"gold\", \"rft\"]", "final.lora.rank=4", "final.frozen=[\"model.norm\"]"];
    let recipe = read("quickstart.toml", &settings);
    let plain = read("quickstart.toml", &settings[..1]);
    assert_ne!(keys(&recipe), keys(&plain));
    for name in ["rank", "alpha", "rslora", "dropout", "targets"].map(|key| format!("final.lora.{key}")) {
        let changed =
            changed(&recipe, &name).unwrap_or_else(|| panic!("{name}: the changed value is refused"));
        assert_ne!(keys(&changed), keys(&recipe), "{name}");
    }
    let changed = changed(&recipe, "final.frozen").unwrap();
    assert_ne!(keys(&changed), keys(&recipe));
}

#[test]
fn a_cut_of_traces_or_answers_reaches_the_weights() {
    let settings = |changes: &[&str]| {
        let recipe = read("quickstart.toml", changes);
        let plan = plan(&recipe).unwrap();
        settings_key(&plan.nodes[plan.last(Stage::Weights).unwrap()])
    };
    let plain = settings(&[]);
    assert_eq!(plain["drawn"]["traces"]["temperature"], 1.0);
    assert_eq!(settings(&["traces.top_k=5"])["drawn"]["traces"]["top_k"], 5);
    assert_eq!(settings(&["answers.top_p=0.9"])["drawn"]["answers"]["top_p"], 0.9);
    assert_eq!(settings(&["evaluation.top_p=0.9"]), plain);
}

#[test]
fn fallbacks_by_kind_reach_weights_and_examples() {
    let keys = |settings: &[&str]| {
        let plan = plan(&read("quickstart.toml", settings)).unwrap();
        let of = |stage| settings_key(&plan.nodes[plan.last(stage).unwrap()])["fallbacks"].clone();
        let reads: Vec<Role> = reads(&plan, 1, Stage::Weights).into_iter().map(|(role, _)| role).collect();
        (of(Stage::Weights), of(Stage::Dataset), reads.contains(&Role::Questions))
    };
    // Without any, what was weighed before is weighed still.
    assert_eq!(keys(&[]), (Value::Null, Value::Null, false));
    let code = json!({"code": "skip"});
    assert_eq!(keys(&["weights.fallbacks.code=skip"]), (code.clone(), code, true));
}

#[test]
fn nodes_read_earlier_nodes_and_lie_in_folders_of_their_own() {
    for name in ["quickstart.toml", "quickstart-all.toml"] {
        let plan = plan(&read(name, &[])).unwrap();
        let folders: BTreeSet<PathBuf> = plan.nodes.iter().map(Node::folder).collect();
        assert_eq!(folders.len(), plan.nodes.len());
        for (id, node) in plan.nodes.iter().enumerate() {
            assert!(node.inputs.iter().all(|(_, input)| *input < id), "{node:?}");
        }
    }
}

#[test]
fn what_equals_an_earlier_stage_is_shared() {
    let plan = plan(&read("quickstart.toml", &[])).unwrap();
    let shared: Vec<&str> = plan
        .steps
        .iter()
        .filter(|step| step.method.as_deref() == Some("rft") && step.shared)
        .map(|step| step.stage.name())
        .collect();
    assert_eq!(shared, ["00-model", "00-questions", "01-initial", "10-evaluation/initial"]);
    assert_eq!(plan.methods(), ["gold", "rft"]);
    let second = plan.node(Some("rft"), 2, Stage::Traces).unwrap();
    assert_eq!(plan.nodes[second].folder(), Path::new("baselines/rft/round-2/03-traces"));
    assert_eq!(plan.last_of(Some("rft"), Stage::Traces), Some(second));
    assert_eq!(plan.last(Stage::Final), plan.node(None, 1, Stage::Final));
}

#[test]
fn a_baseline_never_shares_with_another() {
    let plan = plan(&read("quickstart-all.toml", &[])).unwrap();
    for step in plan.steps.iter().filter(|step| step.shared) {
        let owner = plan.nodes[step.node].method.as_deref();
        assert!(owner.is_none() || owner == step.method.as_deref(), "{step:?}");
    }
}

/// What a stage of a recipe's own method reads, by the folders of its inputs.
pub(super) fn reads(plan: &Plan, round: u64, stage: Stage) -> Vec<(Role, String)> {
    let node = &plan.nodes[plan.node(None, round, stage).unwrap_or_else(|| panic!("{stage}"))];
    node.inputs.iter().map(|(role, id)| (*role, plan.nodes[*id].folder().display().to_string())).collect()
}

#[track_caller]
pub(super) fn check_reads(plan: &Plan, round: u64, stage: Stage, expected: &[(Role, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(role, folder)| (*role, (*folder).to_owned())).collect();
    assert_eq!(reads(plan, round, stage), expected);
}

/// Algorithm 1, line by line: what each stage of the recipe's own method reads.
#[test]
fn stages_read_what_algorithm_1_says() {
    use Role::{Answers, Model, Questions, Rows, Traces, Verdicts, Weights};
    let plan = plan(&read("quickstart.toml", &["rounds=2", "skip=[\"gold\", \"rft\"]"])).unwrap();
    let check = |round, stage, expected: &[(Role, &str)]| check_reads(&plan, round, stage, expected);
    let questions = (Questions, "00-questions");
    // Round 1: q learns from the traces in the data.
    check(1, Stage::Posterior, &[(Model, "00-model"), (Rows, "00-questions")]);
    check(1, Stage::Traces, &[questions, (Model, "02-posterior")]);
    check(1, Stage::Scores, &[questions, (Traces, "03-traces"), (Model, "01-initial")]);
    check(1, Stage::Final, &[(Model, "01-initial"), (Rows, "08-dataset")]);
    // Round 2: q goes on from the last q, on samples of pi_1 weighted by their share of right answers.
    check(2, Stage::PosteriorTraces, &[questions, (Model, "09-final")]);
    let after = [questions, (Traces, "round-2/02-posterior-traces"), (Model, "09-final")];
    check(2, Stage::PosteriorAnswers, &after);
    check(2, Stage::PosteriorVerdicts, &[questions, (Answers, "round-2/02-posterior-answers")]);
    let evidence = [after[1], (Verdicts, "round-2/02-posterior-verdicts")];
    check(2, Stage::PosteriorWeights, &evidence);
    let weights = (Weights, "round-2/02-posterior-weights");
    check(2, Stage::PosteriorDataset, &[questions, after[1], weights]);
    check(2, Stage::Posterior, &[(Model, "02-posterior"), (Rows, "round-2/02-posterior-dataset")]);
    check(2, Stage::Traces, &[questions, (Model, "round-2/02-posterior")]);
    check(2, Stage::Scores, &[questions, (Traces, "round-2/03-traces"), (Model, "09-final")]);
    check(2, Stage::Final, &[(Model, "09-final"), (Rows, "round-2/08-dataset")]);
    check(1, Stage::FinalEvaluation, &[questions, (Model, "round-2/09-final")]);
}

/// The model that a stage of round 1 and of round 2 reads, under some settings.
pub(super) fn models_of(stage: Stage, settings: &[&str]) -> [String; 2] {
    let settings: Vec<&str> =
        ["rounds=2", "skip=[\"gold\", \"rft\"]"].iter().chain(settings).copied().collect();
    let plan = plan(&read("quickstart.toml", &settings)).unwrap();
    let model = |round| reads(&plan, round, stage).into_iter().find(|(role, _)| *role == Role::Model);
    [1, 2].map(|round| model(round).unwrap().1)
}

#[test]
fn models_start_where_the_recipe_says_in_every_round() {
    let check = |stage, settings: &[&str], expected: [&str; 2]| {
        assert_eq!(models_of(stage, settings), expected, "{stage} {settings:?}");
    };
    check(Stage::Posterior, &[], ["00-model", "02-posterior"]);
    check(Stage::Posterior, &["posterior.start=base"], ["00-model", "00-model"]);
    check(Stage::Posterior, &["posterior.start=initial"], ["01-initial", "01-initial"]);
    check(Stage::Posterior, &["posterior.start=previous"], ["01-initial", "02-posterior"]);
    check(Stage::Final, &["final.start=base"], ["00-model", "00-model"]);
    check(Stage::Final, &["final.start=initial"], ["01-initial", "01-initial"]);
    check(Stage::Final, &["final.start=previous"], ["01-initial", "09-final"]);
    check(Stage::Traces, &["traces.from=initial"], ["01-initial", "01-initial"]);
    check(Stage::Traces, &["traces.from=reasoner"], ["01-initial", "09-final"]);
    // The hint in the reasoner's own prompt, with no second model.
    check(Stage::Traces, &["posterior.train=false"], ["01-initial", "09-final"]);
    check(Stage::Traces, &["posterior.train=false", "posterior.start=initial"], ["01-initial", "01-initial"]);
    check(Stage::Traces, &["posterior.train=false", "posterior.start=base"], ["00-model", "00-model"]);
    check(Stage::Scores, &["model.folder=somewhere", "initial.train=false"], ["00-model", "09-final"]);
}

/// The stages that evaluate a model, of each method.
fn evaluations(settings: &[&str]) -> Vec<String> {
    let plan = plan(&read("quickstart.toml", settings)).unwrap();
    let is_evaluation = |step: &&Step| matches!(plan.nodes[step.node].settings, Settings::Evaluation(_));
    plan.steps.iter().filter(is_evaluation).map(Step::label).collect()
}

#[test]
fn the_initial_model_alone_is_evaluated_on_training_questions() {
    let (initial, last) = ("10-evaluation/initial", "10-evaluation/final");
    let (traced, sampled) = ("10-evaluation/initial-traced", "10-evaluation/initial-sampled");
    let of_baseline = ["rft: 10-evaluation/initial", "rft: 10-evaluation/final"];
    let expected = [&[initial, traced, sampled, last], &of_baseline[..]].concat();
    assert_eq!(evaluations(&["skip=[\"gold\"]"]), expected);
    let alone = ["skip=[\"gold\", \"rft\"]"];
    assert_eq!(evaluations(&[alone[0], "evaluation.training=0"]), [initial, last]);
    assert_eq!(evaluations(&[alone[0], "method=sft"]), [initial, traced, last]);
    let given = [alone[0], "model.folder=somewhere", "initial.train=false"];
    assert_eq!(evaluations(&given), [initial, sampled, last]);
    // Which questions they are is in their keys, and in none of another evaluation.
    let key = |stage, settings: &[&str]| {
        let plan = plan(&read("quickstart.toml", settings)).unwrap();
        settings_key(&plan.nodes[plan.last(stage).unwrap()])
    };
    let changes = ["traces.limit=50", "traces.questions=all", "evaluation.training=7"];
    for (change, changed) in changes.into_iter().zip([[false, true], [false, true], [true, true]]) {
        let differs = |stage| key(stage, &[]) != key(stage, &[change]);
        assert_eq!([Stage::InitialTraced, Stage::InitialSampled].map(differs), changed, "{change}");
        assert!(![Stage::InitialEvaluation, Stage::FinalEvaluation].into_iter().any(differs), "{change}");
    }
}

#[test]
fn the_hint_is_in_the_prompt_of_the_posterior_alone() {
    let hinted = |settings: &[&str], stage| {
        let plan = plan(&read("quickstart.toml", settings)).unwrap();
        settings_key(&plan.nodes[plan.last(stage).unwrap()])["hinted"].clone()
    };
    assert_eq!(hinted(&[], Stage::Traces), true);
    assert_eq!(hinted(&["posterior.train=false"], Stage::Traces), true);
    assert_eq!(hinted(&["traces.from=reasoner"], Stage::Traces), false);
    assert_eq!(hinted(&["posterior.rows=samples"], Stage::PosteriorTraces), false);
}

#[test]
fn no_two_samplings_of_a_run_share_random_numbers() {
    let settings = ["rounds=3", "posterior.rows=samples", "posterior.refine.rounds=2"];
    let plan = plan(&read("quickstart.toml", &settings)).unwrap();
    let own = plan.nodes.iter().filter(|node| node.method.is_none());
    let seeds: Vec<String> = own
        .filter(|node| matches!(node.settings, Settings::Traces(_)))
        .map(|node| settings_key(node)["seed"].to_string())
        .collect();
    assert_eq!(seeds.len(), 12);
    assert_eq!(seeds.iter().collect::<BTreeSet<_>>().len(), 12, "{seeds:?}");
}

#[test]
fn a_mixture_draws_its_share_from_the_reasoner_and_scores_it_under_the_posterior() {
    use Role::{Model, Questions, ReasonerTraces, Scores, Traces};
    let settings = ["traces.mixture=0.25", "skip=[\"gold\", \"rft\"]"];
    let plan = plan(&read("quickstart.toml", &settings)).unwrap();
    let check = |stage, expected: &[(Role, &str)]| check_reads(&plan, 1, stage, expected);
    check(Stage::TracesOfPosterior, &[(Questions, "00-questions"), (Model, "02-posterior")]);
    check(Stage::TracesOfReasoner, &[(Questions, "00-questions"), (Model, "01-initial")]);
    let own = (Traces, "03-traces-reasoner");
    check(Stage::ScoresOfPosterior, &[(Questions, "00-questions"), own, (Model, "02-posterior")]);
    let of_both = [(Traces, "03-traces-posterior"), (ReasonerTraces, own.1), (Scores, "03-scores-posterior")];
    check(Stage::Traces, &of_both);
    let of = |stage| settings_key(&plan.nodes[plan.last(stage).unwrap()]);
    let (drawn, own) = (of(Stage::TracesOfPosterior), of(Stage::TracesOfReasoner));
    assert_eq!((&drawn["sampling"]["n"], &own["sampling"]["n"]), (&6.into(), &2.into()));
    assert_ne!(drawn["seed"], own["seed"]);
    assert_eq!(
        (of(Stage::Weights)["mixture"].as_f64(), of(Stage::Scores)["hinted"].as_bool()),
        (Some(0.25), Some(false))
    );
}

#[test]
fn a_likelihood_estimator_weighs_the_posteriors_traces_by_the_reference_answer() {
    let settings = ["posterior.rows=samples", "weights.answer=likelihood"];
    let plan = plan(&read("quickstart.toml", &settings)).unwrap();
    let read: Vec<Role> =
        reads(&plan, 1, Stage::PosteriorWeights).into_iter().map(|(role, _)| role).collect();
    assert_eq!(read, [Role::Traces, Role::Scores]);
    assert_eq!(plan.last(Stage::PosteriorAnswers), None);
}

/// Neither its folder nor its samples depend on how many rounds there are.
#[test]
fn models_are_evaluated_with_the_same_settings_whatever_the_rounds() {
    let settings = |rounds: &str, stage| {
        let plan = plan(&read("quickstart.toml", &[rounds])).unwrap();
        let node = &plan.nodes[plan.node(None, 1, stage).unwrap()];
        (node.folder(), settings_key(node))
    };
    let once = settings("rounds=1", Stage::FinalEvaluation);
    assert_eq!(settings("rounds=3", Stage::FinalEvaluation), once);
    assert_eq!(settings("rounds=1", Stage::InitialEvaluation).1, once.1);
}

#[test]
fn examples_are_built_from_all_evidence() {
    use Role::{Answers, Questions, Scores, Traces, Verdicts, Weights};
    let roles = |settings: &[&str]| {
        let plan = plan(&read("quickstart.toml", settings)).unwrap();
        let mut roles: Vec<Role> =
            reads(&plan, 1, Stage::Dataset).into_iter().map(|(role, _)| role).collect();
        roles.sort_unstable();
        roles
    };
    assert_eq!(roles(&[]), [Questions, Traces, Scores, Answers, Verdicts, Weights]);
    assert_eq!(roles(&["weights.answer=likelihood"]), [Questions, Traces, Scores, Weights]);
    assert_eq!(roles(&["method=sft"]), [Questions]);
}

#[test]
fn examples_are_cut_to_what_the_final_training_takes() {
    let settings = |changes: &[&str]| {
        let plan = plan(&read("quickstart.toml", changes)).unwrap();
        settings_key(&plan.nodes[plan.last(Stage::Dataset).unwrap()])
    };
    assert_eq!(settings(&["final.cutoff_length=77", "final.over_length=drop"])["drop_above"], 77);
    assert_eq!(settings(&["initial.cutoff_length=77"]), settings(&[]));
    assert_eq!(settings(&["answers.n=3", "traces.n=5"])["answers"], 3);
}

#[test]
fn a_template_in_a_file_is_an_input_of_the_questions() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, "{{ question }} {{ open }}").unwrap();
        path
    };
    let (reasoner, posterior) = (file("reasoner"), file("posterior"));
    let settings = [
        format!("prompts.reasoner={}", reasoner.display()),
        format!("prompts.posterior={}", posterior.display()),
    ];
    let recipe = read("quickstart.toml", &settings.each_ref().map(String::as_str));
    let plan = plan(&recipe).unwrap();
    let node = &plan.nodes[plan.last(Stage::Questions).unwrap()];
    let externals = node.settings.externals();
    let expected = [
        External::Template(&reasoner),
        External::Template(&posterior),
        External::Questions(&recipe.questions),
    ];
    assert_eq!(externals, expected);
}

/// Keys hold what is in a model folder and not its path, so that two given models differ in nothing else.
#[test]
fn stages_on_different_given_models_are_not_shared() {
    let folder = tempfile::tempdir().unwrap();
    let base = shipped("quickstart.toml");
    let text = format!(
        "base = \"{}\"\nskip = []\n[model]\nfolder = \"one\"\n[baselines.rft.model]\nfolder = \"other\"\n",
        std::path::absolute(base).unwrap().display()
    );
    let file = folder.path().join("recipe.toml");
    std::fs::write(&file, text).unwrap();
    let plan = plan(&RunRecipe::read(&file, &[]).unwrap()).unwrap();
    let model = |method| plan.node(method, 1, Stage::Model).unwrap();
    assert_ne!(model(None), model(Some("rft")));
    let settings = |method| plan.nodes[model(method)].settings.externals();
    assert_eq!(settings(None), [External::Model("one")]);
    assert_eq!(settings(Some("rft")), [External::Model("other")]);
}
