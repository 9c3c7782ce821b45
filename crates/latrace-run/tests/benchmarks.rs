//! Built-in benchmarks beside the recipes that train for them.

use std::path::Path;

use latrace_questions::benchmarks::{Benchmark, Chosen, for_each};
use latrace_run::recipe::run::RunRecipe;

#[test]
fn a_tasks_questions_are_those_that_its_recipe_keeps_back() {
    let (folder, recipes) =
        (tempfile::tempdir().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes"));
    for (name, recipe) in [
        ("walk", "quickstart.toml"),
        ("countdown", "countdown.toml"),
        ("arithmetic", "arithmetic.toml"),
        ("graph", "graph.toml"),
        ("latin", "latin.toml"),
    ] {
        let recipe = RunRecipe::read(&recipes.join(recipe), &[]).unwrap();
        let kept = Benchmark::find(name)
            .unwrap()
            .kind
            .task()
            .unwrap()
            .questions(&recipe.questions.sizes, recipe.questions.seed)
            .unwrap()
            .test;
        let (benchmark, mut read) = (Benchmark::find(name).unwrap(), Vec::new());
        for_each(&benchmark, &benchmark.files(folder.path()).unwrap(), &Chosen::default(), |id, item| {
            assert_eq!(item.subset, kept[read.len()].difficulty);
            assert_eq!(item.reference.right_response(), kept[read.len()].answer);
            read.push((id, item.asked));
            Ok(())
        })
        .unwrap();
        assert_eq!(
            read,
            kept.into_iter().map(|question| (question.id, question.question)).collect::<Vec<_>>(),
            "{name}"
        );
    }
}
