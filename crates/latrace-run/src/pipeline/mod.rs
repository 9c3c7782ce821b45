//! The method, from questions to a measured model: `latrace run`.

pub mod drawing;
pub mod folder;
pub mod kit;
pub mod records;
pub mod summary;

use anyhow::Result;

use crate::recipe::run::{Method, Proposal, RunRecipe, Start};
use crate::stages::dataset::Sampled;
use crate::stages::scores::Scoring;
use crate::stages::{
    answers, dataset, evaluation, model, questions, scores, traces, training, verdicts, weights,
};
use folder::{Done, Stages};
use kit::Kit;

/// What a method leaves.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How good pi_theta0 is.
    pub initial: Done,
    /// How good pi_theta is.
    pub r#final: Done,
    /// Stage 7 of the last round, if traces were weighed.
    pub weights: Option<Done>,
}

/// Runs the recipe's method, then its baselines; what is done stays done.
///
/// # Errors
/// The first stage that fails; all before it are kept.
pub fn run(recipe: &RunRecipe, stages: &Stages<'_>) -> Result<summary::Outcomes> {
    let main = method(recipe, stages)?;
    let mut baselines = Vec::new();
    for (name, variant) in recipe.variants()? {
        baselines.push((name.clone(), method(&variant, &stages.variant(&name))?));
    }
    Ok(summary::Outcomes { main, baselines })
}

/// Algorithm 1 of the paper, staged: what each round samples, scores and weighs, the next model learns from.
fn method(recipe: &RunRecipe, stages: &Stages<'_>) -> Result<Outcome> {
    let kit = Kit::new(recipe)?;
    let base = stages.stage("00-model", &kit.model_settings()?, &[], |stage| {
        model::run(&recipe.model, &recipe.questions, &kit.markers, recipe.seed, stage)
    })?;
    let folder = model::folder_of(&recipe.model, &base.folder)?;
    let base = base.at(folder);
    let questions =
        stages.stage("00-questions", &kit.question_settings()?, &[("model", &base)], |stage| {
            questions::run(
                &recipe.questions,
                &kit.encoding(kit.codec(&base.folder)?),
                kit.judge(),
                &recipe.engine,
                stage,
            )
        })?;
    let initial = stages.stage(
        "01-initial",
        &kit.training_settings(&recipe.initial),
        &[("model", &base), ("questions", &questions)],
        |stage| {
            training::run(&base.folder, training::initial_rows(&questions.folder)?, &recipe.initial, stage)
        },
    )?;
    let measure = |name: &str, model: &Done| {
        stages.stage(
            &format!("10-evaluation/{name}"),
            &kit.evaluation_settings(),
            &[("questions", &questions), ("model", model)],
            |stage| {
                evaluation::run(
                    &questions.folder,
                    &model.folder,
                    kit.codec(&base.folder)?,
                    kit.judge(),
                    recipe,
                    stage,
                )
            },
        )
    };
    let measured = measure("initial", &initial)?;
    let (mut reasoner, mut weights) = (initial, None);
    for round in 1..=recipe.rounds {
        let starts = match recipe.start {
            Start::Initial => reasoner.clone(),
            Start::Base => base.clone(),
        };
        let of_round = stages.round(round);
        let (examples, weighed) =
            examples(&kit, &of_round, &Models { base: &base, reasoner: &reasoner }, &questions)?;
        let config = recipe.final_config();
        reasoner = of_round.stage(
            "09-final",
            &kit.training_settings(&config),
            &[("model", &starts), ("dataset", &examples)],
            |stage| training::run(&starts.folder, training::final_rows(&examples.folder)?, &config, stage),
        )?;
        weights = weighed;
    }
    Ok(Outcome { initial: measured, r#final: measure("final", &reasoner)?, weights })
}

/// The models that a round begins with.
struct Models<'a> {
    base: &'a Done,
    reasoner: &'a Done,
}

/// Stages 2 to 8: what the next model learns from, and what traces weigh.
fn examples(
    kit: &Kit<'_>,
    stages: &Stages<'_>,
    models: &Models<'_>,
    questions: &Done,
) -> Result<(Done, Option<Done>)> {
    let recipe = kit.recipe;
    if recipe.method == Method::Sft {
        let built =
            stages.stage("08-dataset", &kit.dataset_settings(), &[("questions", questions)], |stage| {
                dataset::run(&questions.folder, None, recipe, stage)
            })?;
        return Ok((built, None));
    }
    let codec = || kit.codec(&models.base.folder);
    let writer = match recipe.proposal() {
        Proposal::Initial => models.reasoner.clone(),
        Proposal::Posterior => stages.stage(
            "02-posterior",
            &kit.training_settings(&recipe.posterior),
            &[("model", models.base), ("questions", questions)],
            |stage| {
                training::run(
                    &models.base.folder,
                    training::posterior_rows(&questions.folder)?,
                    &recipe.posterior,
                    stage,
                )
            },
        )?,
    };
    let traces = stages.stage(
        "03-traces",
        &kit.trace_settings(),
        &[("questions", questions), ("writer", &writer)],
        |stage| traces::run(&questions.folder, &writer.folder, codec()?, recipe, stage),
    )?;
    let sampled_from = [("questions", questions), ("traces", &traces), ("reasoner", models.reasoner)];
    let scores = stages.stage("04-scores", &kit.score_settings(), &sampled_from, |stage| {
        let scoring = Scoring {
            model: &models.reasoner.folder,
            references: recipe.reads_references(),
            tokens_per_batch: recipe.engine.score_tokens,
        };
        scores::run(&questions.folder, &traces.folder, &scoring, stage)
    })?;
    let judged = if recipe.draws_answers() {
        let answers = stages.stage("05-answers", &kit.answer_settings(), &sampled_from, |stage| {
            answers::run(
                &questions.folder,
                &traces.folder,
                &models.reasoner.folder,
                codec()?,
                recipe,
                stage,
            )
        })?;
        let verdicts = stages.stage(
            "06-verdicts",
            &kit.verdict_settings(),
            &[("questions", questions), ("answers", &answers)],
            |stage| verdicts::run(&questions.folder, &answers.folder, kit.judge(), stage),
        )?;
        Some((answers, verdicts))
    } else {
        None
    };
    let verdicts = judged.as_ref().map(|(_, verdicts)| verdicts);
    let mut evidence = vec![("traces", &traces), ("scores", &scores)];
    evidence.extend(verdicts.map(|verdicts| ("verdicts", verdicts)));
    let weights = stages.stage("07-weights", &kit.weight_settings(), &evidence, |stage| {
        weights::run(
            &traces.folder,
            &scores.folder,
            verdicts.map(|done| done.folder.as_path()),
            &recipe.weigh_config(),
            recipe.drawn(),
            stage,
        )
    })?;
    let mut built_from = vec![("questions", questions), ("weights", &weights)];
    built_from.extend(evidence);
    built_from.extend(judged.as_ref().map(|(answers, _)| ("answers", answers)));
    let built = stages.stage("08-dataset", &kit.dataset_settings(), &built_from, |stage| {
        let sampled = Sampled {
            traces: &traces.folder,
            scores: &scores.folder,
            answers: judged.as_ref().map(|(answers, _)| answers.folder.as_path()),
            verdicts: verdicts.map(|done| done.folder.as_path()),
            weights: &weights.folder,
        };
        dataset::run(&questions.folder, Some(&sampled), recipe, stage)
    })?;
    Ok((built, Some(weights)))
}
