//! What a dry run says of the work ahead: how much, how long, and the memory that the model needs.

use std::path::Path;

use anyhow::Result;
use latrace_io::failure::Failure;
use latrace_run::estimate::{ModelMemory, Work, start_model};
use latrace_run::pipeline::context::RunContext;
use latrace_run::pipeline::runner::State;
use latrace_run::plan::Plan;
use latrace_run::trial::Rates;
use tracing::info;

/// How much a stage has to do, at most.
pub(super) fn amount(work: Work) -> String {
    let Work { samples, drawn, scored, updates, .. } = work;
    match (drawn, scored, updates) {
        (1.., ..) => format!(": at most {samples} samples of {} tokens", drawn / samples.max(1)),
        (_, 1.., _) => format!(": at most {} tokens", short(scored)),
        (.., 1..) => format!(": {updates} updates"),
        _ => String::new(),
    }
}

/// All that is still to be done, and the memory that the model needs.
pub(super) fn ahead(states: &[State], works: Option<&[Work]>, memory: Option<ModelMemory>) -> String {
    let mut text = match works {
        None => "\nHow much there is to do is known once 00-questions is done.\n".to_owned(),
        Some(works) => to_be_done(states, works),
    };
    if let Some(ModelMemory { parameters, training, activations, weights, cache_of_token }) = memory {
        text += &format!(
            "The model has {} parameters: {}B to train in f32 with AdamW, over all GPUs, and {}B of activations for a row of \
             the cut-off length, if layers are recomputed; {}B to serve in bf16, and {}B of cache for 1,000 tokens.\n",
            short(parameters),
            short(training),
            short(activations),
            short(weights),
            short(1000 * cache_of_token)
        );
    }
    text
}

fn to_be_done(states: &[State], works: &[Work]) -> String {
    let ahead = || states.iter().zip(works).filter(|(state, _)| **state != State::Done);
    let sum = |of: fn(&Work) -> u64| ahead().map(|(_, work)| of(work)).sum::<u64>();
    let (drawn, scored, trained) =
        (sum(|work| work.drawn), sum(|work| work.scored), sum(|work| work.trained));
    // An id and a log-prob of each token; scores have the latter alone.
    let disk = 8 * drawn + 4 * scored;
    format!(
        "\nTo be done, if every sample and row were as long as it may be: {} tokens drawn, {} scored, {} trained on; \
         tables of {}B.\n",
        short(drawn),
        short(scored),
        short(trained),
        short(disk)
    )
}

/// How long the stages that are still to be done take at most, by the rates of a trial on the model to start from.
pub(super) fn times(
    plan: &Plan,
    states: &[State],
    works: Option<&[Work]>,
    context: &RunContext,
    run: &Path,
) -> Result<String> {
    let Some(model) = start_model(plan, run) else {
        let message = "there is no model to try the engines on before 00-model is done";
        return Err(Failure::work(message).hint("begin the run, interrupt it, and ask again").into());
    };
    info!("trying the engines on {}", model.display());
    let rates = Rates::measure(&*context.engine, &model)?;
    let Rates { drawn, scored, trained } = rates;
    let mut text = format!(
        "Tokens a second in a short trial: {drawn:.0} drawn, {scored:.0} scored, {trained:.0} trained on. At most, that is:\n"
    );
    let mut all = 0.0;
    for step in plan.steps.iter().filter(|step| !step.shared && states[step.node] != State::Done) {
        let seconds = works.map_or(0.0, |works| rates.seconds(works[step.node]));
        if seconds > 0.0 {
            text += &format!("{:<32} {}\n", step.label(), duration(seconds));
        }
        all += seconds;
    }
    Ok(text + &format!("{:<32} {}\n", "in all", duration(all)))
}

fn duration(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{seconds:.0} s"),
        ..3600.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.1} h", seconds / 3600.0),
        _ => format!("{:.1} days", seconds / 86_400.0),
    }
}

/// A number with three digits and a unit.
fn short(number: u64) -> String {
    let steps = [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")];
    let number = number as f64;
    let (size, unit) = steps.into_iter().find(|(size, _)| number >= *size).unwrap_or((1.0, " "));
    let scaled = number / size;
    let digits = if scaled >= 100.0 || size == 1.0 {
        0
    } else if scaled >= 10.0 {
        1
    } else {
        2
    };
    format!("{scaled:.digits$}{unit}")
}
