//! What the same model reaches with gold traces for every training question of a built-in task.

use anyhow::Result;
use latrace_objective::statistics::Accuracy;

use super::accuracy_of;
use super::finished::Finished;
use crate::plan::Stage;
use crate::recipe::run::{Method, RunRecipe};

/// The held-out accuracy of the baseline that is trained on the task's own traces for all training questions; none
/// without such a baseline, or until it is evaluated.
pub(super) fn of(stages: &Finished<'_>, recipe: &RunRecipe) -> Result<Option<Accuracy>> {
    for (name, variant) in recipe.variants()? {
        if is_ceiling(recipe, &variant)
            && let Some(found) = stages.of_method(Some(&name), 1, Stage::FinalEvaluation)?
        {
            return accuracy_of(found);
        }
    }
    Ok(None)
}

/// Whether a variant is no competing method but what the best traces would lead to: SFT on as many training questions as the recipe has, all of them with traces.
pub fn is_ceiling(recipe: &RunRecipe, variant: &RunRecipe) -> bool {
    let (own, all) = (recipe.questions.sizes, variant.questions.sizes);
    !recipe.questions.task.is_empty()
        && variant.method == Method::Sft
        && (all.traced, all.untraced) == (own.traced + own.untraced, 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_ceiling_has_a_gold_trace_for_every_training_question() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/quickstart.toml");
        let recipe = RunRecipe::read(&file, &[]).unwrap();
        let is_ceiling = |changes: &[&str]| {
            let changes: Vec<String> = changes.iter().map(|&text| text.to_owned()).collect();
            is_ceiling(&recipe, &RunRecipe::read(&file, &changes).unwrap())
        };
        let sizes = "questions.sizes={ traced = 4100, untraced = 0 }";
        assert!(is_ceiling(&["method=sft", sizes]));
        assert!(!is_ceiling(&["method=rft", sizes]));
        assert!(!is_ceiling(&["method=sft"]));
        assert!(!is_ceiling(&["method=sft", "questions.sizes={ traced = 4000, untraced = 0 }"]));
        let found =
            recipe.variants().unwrap().into_iter().find(|(_, variant)| super::is_ceiling(&recipe, variant));
        assert_eq!(found.unwrap().0, "gold");
    }
}
