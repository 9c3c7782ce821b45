use std::path::PathBuf;

use super::*;

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let in_folder = |folder: PathBuf| std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = in_folder(folder.clone())
        .chain(in_folder(folder.join("science")))
        .chain(in_folder(folder.join("engines")))
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

#[test]
fn every_shipped_recipe_resolves_and_reads_back_the_same() {
    let files = shipped();
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let recipe =
            RunRecipe::read(&file, &[]).unwrap_or_else(|error| panic!("{}: {error:#}", file.display()));
        let text = recipe.to_toml().unwrap();
        assert_eq!(toml::from_str::<RunRecipe>(&text).unwrap(), recipe, "{}", file.display());
        for (name, variant) in recipe.variants().unwrap() {
            variant.check().unwrap_or_else(|error| panic!("{}, {name}: {error:#}", file.display()));
        }
    }
}

#[test]
fn a_run_keeps_the_date_of_its_prompts() {
    let folder = tempfile::tempdir().unwrap();
    let (file, run) = (folder.path().join("recipe.toml"), folder.path().join("run"));
    std::fs::write(&file, "[questions]\ntask = \"walk\"\n").unwrap();
    let read = |settings: &[&str]| {
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        RunRecipe::read(&file, &settings)
    };
    let date_in_run = |settings: &[&str]| {
        let mut recipe = read(settings).unwrap();
        recipe.set_date(&run).unwrap();
        recipe.prompts.date.map(|date| date.to_string())
    };
    assert_eq!(date_in_run(&[]), Some(today().to_string()));
    std::fs::create_dir(&run).unwrap();
    std::fs::write(run.join("layout.json"), "{\"layout\": 3, \"version\": \"0\"}").unwrap();
    let begun = |settings: &[&str]| {
        std::fs::write(run.join("recipe.toml"), read(settings).unwrap().to_toml().unwrap()).unwrap();
    };
    for spelling in ["prompts.date=2001-02-03", "prompts.date=\"2001-02-03\""] {
        begun(&[spelling]);
        assert_eq!(date_in_run(&[]), Some("2001-02-03".to_owned()));
    }
    assert_eq!(date_in_run(&["prompts.date=2002-02-03"]), Some("2002-02-03".to_owned()));
    // A run that was begun without one has none in its keys.
    begun(&[]);
    assert_eq!(date_in_run(&[]), None);
    let error = format!("{:#}", read(&["prompts.date=2001-02-30"]).unwrap_err());
    assert!(error.contains("prompts.date") && error.contains("YYYY-MM-DD"), "{error}");
}

#[test]
fn a_run_keeps_the_arithmetic_it_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let (file, run) = (folder.path().join("recipe.toml"), folder.path().join("run"));
    std::fs::write(&file, "[questions]\ntask = \"walk\"\n").unwrap();
    let read = |compute: &str| RunRecipe::read(&file, &[format!("engine.compute={compute}")]).unwrap();
    let settled = |compute: &str| {
        let mut recipe = read(compute);
        recipe.set_compute(&run).unwrap();
        recipe.engine.compute
    };
    let here = match ComputeType::Auto.here() {
        latrace_engine::Compute::F32 => ComputeType::F32,
        latrace_engine::Compute::Bf16 => ComputeType::Bf16,
    };
    assert_eq!(settled("auto"), here);
    std::fs::create_dir(&run).unwrap();
    std::fs::write(run.join("layout.json"), "{\"layout\": 3, \"version\": \"0\"}").unwrap();
    for begun in ["f32", "bf16"] {
        std::fs::write(run.join("recipe.toml"), read(begun).to_toml().unwrap()).unwrap();
        assert_eq!(settled("auto"), read(begun).engine.compute);
        assert_eq!((settled("f32"), settled("bf16")), (ComputeType::F32, ComputeType::Bf16));
    }
}

#[test]
fn every_method_is_one_line_away() {
    let file = shipped().into_iter().find(|file| file.ends_with("quickstart.toml")).unwrap();
    for method in ["variational", "sft", "rft", "binary-rl", "grpo", "maxrl", "verifree", "self-distillation"]
    {
        let recipe = RunRecipe::read(&file, &[format!("method={method}")]).unwrap();
        assert_eq!(recipe.proposal() == Proposal::Posterior, method == "variational", "{method}");
        assert_eq!(
            recipe.final_config().loss == Loss::ClippedPolicyGradient,
            ["binary-rl", "grpo", "maxrl", "self-distillation"].contains(&method),
            "{method}"
        );
    }
}

#[test]
fn any_cut_of_any_distribution_that_is_scored_shows() {
    let file = shipped().into_iter().find(|file| file.ends_with("quickstart.toml")).unwrap();
    let recipe = |changes: &[&str]| {
        let plain = [
            "traces.temperature=1.0",
            "traces.top_p=1.0",
            "traces.top_k=0",
            "answers.temperature=1.0",
            "answers.top_p=1.0",
            "answers.top_k=0",
        ];
        let overrides: Vec<String> = plain.iter().chain(changes).map(|&text| text.to_owned()).collect();
        RunRecipe::read(&file, &overrides).unwrap()
    };
    // References are scored for the bounds alone, and not where there are none.
    let check = |changes: &[&str], traces: &str, answers: &str| {
        let recipe = recipe(changes);
        let drawn = recipe.drawn();
        let said = [drawn.traces, drawn.answers].map(|drawn| drawn.unwrap().to_string());
        assert_eq!(said, [traces, answers]);
        assert_eq!(recipe.scores_references(), traces.is_empty() && answers.is_empty());
    };
    check(&[], "", "");
    check(&["traces.temperature=0.7"], "tempered (temperature 0.7)", "");
    check(&["traces.min_p=0.1"], "truncated (min_p 0.1)", "");
    check(&["answers.top_p=0.9"], "", "truncated (top_p 0.9)");
    // Without answers, how they would be sampled does not matter.
    let by_likelihood = recipe(&["answers.top_p=0.9", "weights.answer=likelihood"]);
    assert_eq!(by_likelihood.drawn().answers, None);
}

#[test]
fn a_recipe_stands_on_its_base_and_under_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "base.toml",
        "seed = 3\n[questions]\ntask = \"walk\"\n[traces]\nn = 4\n[baselines.rft]\nmethod = \"rft\"\n",
    );
    write("top.toml", "base = \"base.toml\"\n[traces]\ntemperature = 1.0\n");
    let recipe = RunRecipe::read(
        &folder.path().join("top.toml"),
        &["traces.n=5".to_owned(), "skip=[\"rft\"]".to_owned()],
    )
    .unwrap();
    assert_eq!(
        (
            recipe.seed,
            recipe.initial.config.seed,
            recipe.traces.sampling.n,
            recipe.traces.sampling.params.temperature
        ),
        (3, 3, 5, 1.0)
    );
    assert!(recipe.variants().unwrap().is_empty());
    write("wrong.toml", "base = \"base.toml\"\n[trace]\nn = 4\n");
    let error = format!("{:#}", RunRecipe::read(&folder.path().join("wrong.toml"), &[]).unwrap_err());
    assert!(error.contains("trace"), "{error}");
}

#[test]
fn files_of_a_base_are_beside_it_and_those_of_the_command_line_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("bases")).unwrap();
    write("bases/base.toml", "[questions]\ntrain = \"train.jsonl\"\ntest = \"test.jsonl\"\n");
    write("top.toml", "base = \"bases/base.toml\"\n[questions]\nvalidation = \"train.jsonl\"\n");
    ["bases/train.jsonl", "test.jsonl"].into_iter().for_each(|name| write(name, ""));
    let read = |settings: &[&str]| {
        let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        RunRecipe::read(&folder.path().join("top.toml"), &settings).unwrap().questions
    };
    let questions = read(&[]);
    assert_eq!(questions.train, folder.path().join("bases/train.jsonl").display().to_string());
    assert_eq!([questions.validation, questions.test], ["train.jsonl", "test.jsonl"]);
    assert_eq!(read(&["questions.train=test.jsonl"]).train, "test.jsonl");
}

#[track_caller]
fn check_refused(overrides: &[&str], expected: &str) {
    let file = shipped().into_iter().find(|file| file.ends_with("quickstart.toml")).unwrap();
    let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
    let error = format!("{:#}", RunRecipe::read(&file, &overrides).unwrap_err());
    assert!(error.contains(expected), "{error}");
}

#[test]
fn keys_that_were_renamed_or_are_not_there_yet_are_refused_by_name() {
    check_refused(&["start=base"], "the key \"start\" was renamed: write final.start");
    check_refused(&["baselines.x.start=base"], "\"baselines.x.start\" was renamed");
    check_refused(&["initial.start=base"], "unknown key \"initial.start\"");
    check_refused(
        &["baselines.rft.engine.compute=bf16"],
        "baselines.rft.engine: a run has the same engines for all of its methods",
    );
    check_refused(
        &["torchrun.lora=8"],
        "\"torchrun.lora\" is not there yet: adapters are trained by the built-in engine",
    );
}

#[test]
fn kinds_have_fallbacks_and_tests_of_their_own() {
    check_refused(
        &["weights.fallbacks.cod=skip"],
        "unknown key \"weights.fallbacks.cod\"; the nearest known key is \"code\"",
    );
    check_refused(
        &["weights.fallbacks.code=drop"],
        "weights.fallbacks.code: expected one of original-row, skip, geometric-likelihood, got \"drop\"",
    );
    check_refused(
        &["questions.tests.colum=io"],
        "unknown key \"questions.tests.colum\"; the nearest known key is \"column\"",
    );
    let files = ["questions.task=", "questions.train=x.jsonl"];
    let with = |setting| [files[0], files[1], setting];
    check_refused(&with("questions.kinds.taco=codes"), "questions.kinds.\"taco\": expected one of math,");
    check_refused(
        &with("questions.tests={from = \"y\", key = \"\"}"),
        "questions.tests.key: expected a name",
    );
    // The likelihood of the reference answer is scored where some kind needs it.
    let file = shipped().into_iter().find(|file| file.ends_with("quickstart.toml")).unwrap();
    let scored = |settings: &[&str]| {
        let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        RunRecipe::read(&file, &settings).unwrap().scores_references()
    };
    assert!(!scored(&["traces.top_p=0.9", "weights.fallbacks.text=skip"]));
    assert!(scored(&["traces.top_p=0.9", "weights.fallbacks.code=geometric-likelihood"]));
}

#[test]
fn settings_of_questions_are_refused_by_name() {
    let columns =
        "the command line: unknown key \"questions.columns.questoin\"; the nearest known key is \"question\"";
    check_refused(&["questions.columns.questoin=problem"], columns);
    check_refused(
        &[
            "questions.task=",
            "questions.train=x.jsonl",
            "questions.format=gsm8k",
            "questions.columns.trace=t",
        ],
        "the command line: unknown key \"questions.columns.trace\"",
    );
    let kinds = "expected one of math, choice, text, code, command, or a built-in task, got";
    check_refused(
        &["questions.kind=maths"],
        &format!("questions.kind: {kinds} \"maths\"; the nearest is \"math\""),
    );
    check_refused(
        &["questions.question_kinds.Write=cod"],
        &format!("{kinds} \"cod\"; the nearest is \"code\""),
    );
    check_refused(&["questions.task=wlak"], "got \"wlak\"; the nearest is \"walk\"");
    check_refused(
        &["model.shape.hiden_size=8"],
        "unknown key \"model.shape.hiden_size\"; the nearest known key is \"hidden_size\"",
    );
    check_refused(&["baselines.rft.skip=[]"], "baselines.rft.skip: a baseline has no baselines of its own");
    check_refused(
        &["questions.limit=-1"],
        "questions.limit: expected a number of questions, or one for each of train, validation and test, got -1",
    );
    check_refused(&["questions.limit=many"], "expected a number of questions, or one for each of train");
    check_refused(
        &["questions.limit.tests=5"],
        "unknown key \"questions.limit.tests\"; the nearest known key is \"test\"",
    );
    check_refused(
        &["questions.answer_rule=units"],
        "questions.answer_rule: expected one of as-is, without-units, after-hashes, got \"units\"",
    );
    check_refused(&["questions.shuffle=true"], "questions.shuffle: expected files of questions");
    let limit = quickstart(&["questions.limit.test=5"]).to_toml().unwrap();
    let limit = toml::from_str::<Table>(&limit).unwrap()["questions"]["limit"].clone();
    assert_eq!(limit["test"].as_integer(), Some(5));
}

#[test]
fn markers_of_a_recipe_are_a_name_or_a_table() {
    check_refused(&["prompts.markers=thing"], "prompts.markers: unknown marker family \"thing\"");
    check_refused(
        &["prompts.markers=3"],
        "prompts.markers: expected the name of a marker family, or a table with open and close, got 3",
    );
    check_refused(
        &["prompts.markers={open = \"<a>\"}"],
        "prompts.markers.close: expected a value, got nothing",
    );
    check_refused(
        &["prompts.markers={open = \"a\", close = \"b\", end = \"c\"}"],
        "unknown key \"prompts.markers.end\"; the nearest known key is",
    );
    let own = quickstart(&["prompts.markers={open = \"<a>\", close = \"</a>\"}"]);
    assert_eq!(own.prompts.markers().unwrap().cut, "</a>");
    assert_eq!(toml::from_str::<RunRecipe>(&own.to_toml().unwrap()).unwrap(), own);
}

#[test]
fn models_start_where_they_can() {
    check_refused(&["evaluation.base=chat"], "evaluation.base: a random model has nothing to measure");
    check_refused(&["initial.train=false"], "initial.train: a random model must be trained");
    check_refused(&["posterior.train=false", "posterior.start=previous"], "has no last round");
    check_refused(
        &["posterior.start=final"],
        "posterior.start: expected one of base, initial, previous, got \"final\"",
    );
    check_refused(
        &["final.start=posterior"],
        "final.start: expected one of base, initial, previous, got \"posterior\"",
    );
    check_refused(&["initial.epochs=many"], "initial.epochs: expected a whole number, got \"many\"");
    check_refused(&["traces.n=-1"], "traces.n: expected a whole number of at least 0, got -1");
    check_refused(&["traces.mixture=0.01"], "traces.mixture: expected 0, or a share");
    check_refused(&["traces.mixture=1"], "traces.mixture: expected 0, or a share");
    check_refused(&["rounds=0"], "rounds: expected at least 1");
    check_refused(&["seed=x"], "the command line: seed: expected a whole number, got \"x\"");
    check_refused(&["seed=-1"], "the command line: seed: expected a whole number of at least 0, got -1");
    check_refused(&["questions.hint=wrong", "distillation.contrast=wrong-hint"], "have no contrast");
    check_refused(&["posterior.refine.n=1"], "posterior.refine.n: expected at least 2, got 1");
    let single = ["posterior.refine.n=0", "posterior.refine.objective=iwae-phi"];
    check_refused(&single, "posterior.refine.n: expected at least 1");
    check_refused(&["posterior.refine.loss=nll"], "posterior.refine.loss: expected clipped-policy-gradient");
    check_refused(
        &["posterior.refine.objective=grpo"],
        "posterior.refine.objective: expected one of reverse-kl, elbo-single, iwae-phi, got \"grpo\"",
    );
    check_refused(
        &["posterior.refine.epochs=many"],
        "posterior.refine.epochs: expected a whole number, got \"many\"",
    );
    check_refused(&["posterior.refine.batch_size=0"], "posterior.refine.batch_size: expected");
    check_refused(&["posterior.refine.round=1"], "unknown key \"posterior.refine.round\"");
}

#[test]
fn weights_that_may_be_negative_are_not_trained_on() {
    check_refused(&["weights.weighting=leave-one-out"], "may be negative");
}

fn quickstart(changes: &[&str]) -> RunRecipe {
    let file = shipped().into_iter().find(|file| file.ends_with("quickstart.toml")).unwrap();
    let changes: Vec<String> = changes.iter().map(|&text| text.to_owned()).collect();
    RunRecipe::read(&file, &changes).unwrap()
}

#[test]
fn q_learns_from_all_samples_with_right_answers_weighted_by_their_share() {
    let recipe =
        quickstart(&["weights.weighting=rho", "weights.selection=best", "weights.fallback=original-row"]);
    let weights = recipe.of_posterior().weights;
    assert_eq!(
        (weights.weighting, weights.selection, weights.fallback),
        (Weighting::AccuracyOnly, Selection::Weighted, Fallback::Skip)
    );
    // What is not of the weights or of chance stays as it is.
    let seeds = |mut recipe: RunRecipe| {
        recipe.weights = quickstart(&[]).weights;
        (recipe.seed, recipe.posterior.config.seed, recipe.r#final.config.seed) = (0, 0, 0);
        recipe.posterior.refine.config.seed = 0;
        recipe
    };
    assert_eq!(seeds(recipe.of_posterior()), seeds(recipe));
}

#[test]
fn the_recipe_of_a_round_can_be_written_as_toml() {
    let recipe = quickstart(&[]);
    assert_eq!(recipe.of_round(1), recipe);
    for round in 2..20 {
        let of_round = recipe.of_round(round);
        let seeds = [
            (of_round.seed, recipe.seed),
            (of_round.posterior.config.seed, recipe.posterior.config.seed),
            (of_round.posterior.refine.config.seed, recipe.posterior.refine.config.seed),
            (of_round.weights.seed, recipe.weights.seed),
            (of_round.r#final.config.seed, recipe.r#final.config.seed),
        ];
        assert!(seeds.iter().all(|(seed, first)| seed != first), "{seeds:?}");
        // A baseline's settings are merged in as TOML, whose integers are signed.
        assert_eq!(of_round.variant("rft").unwrap().seed, of_round.seed);
    }
}

#[test]
fn a_runs_seed_is_that_of_every_stage_that_has_none_of_its_own() {
    let seeds = |changes: &[&str]| {
        let RunRecipe { seed, questions, initial, posterior, weights, r#final, .. } = quickstart(changes);
        [
            seed,
            questions.seed,
            initial.config.seed,
            posterior.config.seed,
            posterior.refine.config.seed,
            weights.seed,
            r#final.config.seed,
        ]
    };
    assert_eq!(seeds(&["seed=9"]), [9; 7]);
    let changes = [
        "seed=9",
        "questions.seed=1",
        "initial.seed=2",
        "posterior.seed=3",
        "posterior.refine.seed=4",
        "weights.seed=5",
        "final.seed=6",
    ];
    assert_eq!(seeds(&changes), [9, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn free_tables_are_free_in_baselines_too() {
    // The field by which tests are found is read, whatever it is called.
    let joined = ["questions.tests={ from = \"t\", key = \"pid\" }", "questions.columns.pid=problem_id"];
    assert_eq!(quickstart(&joined).questions.columns["pid"], "problem_id");
    assert_eq!(quickstart(&["model.shape.use_cache=true"]).model.shape["use_cache"].as_bool(), Some(true));
    let columns = ["questions.columns.question=problem", "baselines.rft.questions.columns.question=text"];
    let recipe = quickstart(&columns);
    assert_eq!(recipe.questions.columns["question"], "problem");
    assert_eq!(recipe.variant("rft").unwrap().questions.columns["question"], "text");
    let shape = quickstart(&["baselines.rft.model.shape.hidden_size=64"]);
    assert_eq!(shape.variant("rft").unwrap().model.shape["hidden_size"].as_integer(), Some(64));
}

#[test]
fn verifree_weighs_by_the_likelihood_of_the_reference_answer() {
    let answer = |changes: &[&str]| quickstart(changes).weigh_config().answer;
    assert_eq!(answer(&["method=verifree"]), AnswerEstimator::Likelihood);
    let geometric = ["method=verifree", "weights.answer=geometric-likelihood"];
    assert_eq!(answer(&geometric), AnswerEstimator::GeometricLikelihood);
    assert_eq!(answer(&[]), AnswerEstimator::Accuracy);
}
