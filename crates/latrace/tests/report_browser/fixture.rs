//! A run as it might be, made from a seed: number walks, eight traces of each question, four answers after
//! each.

use std::collections::BTreeMap;

use latrace_core::Reason;
use latrace_objective::Rng;
use latrace_objective::statistics::Accuracy;
use latrace_objective::statistics::{Interval, bootstrap, pass_at};
use latrace_report::{
    AnsweredQuestion, BoundPoint, Bounds, Browsed, BrowsedAnswer, BrowsedTrace, ByDifficulty, Density,
    DifferingSetting, Emphasis, EmphasisCurve, ExampleQuestion, FunnelStep, Histogram, LengthFigure,
    MeasuredModel, ModelRole, NamedMethod, OneRun, PairedComparison, PooledModel, QuestionCounts, ReportData,
    ResponseBrowser, Run, SeveralRuns, ShownResponse, ShownStage, StageState, TraceBrowser, Training,
    TrainingPoint, VerdictCount, WeightFigure, findings,
};
use latrace_run::diagnostics::{Diagnostics, Lift, MethodCost, StepValidity, TraceDiversity};
use latrace_run::pipeline::provenance::RunProvenance;

/// Texts that would run if they became markup.
pub const HOSTILE: [&str; 3] = [
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror=\"window.hacked = 1\">",
    "<svg onload=window.hacked=1><!--",
];

const TRACES: usize = 8;
const ANSWERS: usize = 4;
const RESPONSES: usize = 4;
const DIFFICULTIES: usize = 6;

/// A finished run with `questions` questions to read.
pub fn finished_run(questions: usize) -> ReportData {
    let mut rng = Rng::at(20, &[]);
    let models = models(&mut rng);
    let comparisons = ["initial", "rft"].map(|against| compared(&models, "final", against)).to_vec();
    let traces = traces(questions, &mut rng);
    let mut data = ReportData {
        run: Run {
            name: "quickstart".to_owned(),
            task: Some("number walk".to_owned()),
            method: Some("variational".to_owned()),
            methods: methods(),
            seed: Some(2),
            version: Some("0.1.0".to_owned()),
            finished: true,
            peak_memory_bytes: Some(912 << 20),
            compute: vec!["f32".to_owned()],
            provenance: Some(RunProvenance {
                imported: BTreeMap::from([("01-initial".to_owned(), "trained/elsewhere".to_owned())]),
                finished: "2026-03-07 21:05".to_owned(),
                processor: "Quick 9000".to_owned(),
                cores: 8,
                command: "latrace run recipes/quickstart.toml".to_owned(),
            }),
            recipe: Some(
                "seed = 2\nmethod = \"variational\"\n\n[traces]\nn = 8\ntemperature = 1.0\n".to_owned(),
            ),
        },
        stages: stages(),
        questions: Some(QuestionCounts {
            train: 4100,
            with_trace: 1500,
            with_hint: 4100,
            with_answer_as_hint: 4100,
            evaluation: 300,
            evaluation_split: Some("test".to_owned()),
            responses_each: Some(RESPONSES as u64),
            contaminated: None,
            meaning: "Get from the first number to the second by moves. Every list that arrives is right."
                .to_owned(),
            trace: Some("A trace writes the value after each move.".to_owned()),
            difficulty: Some("the fewest moves".to_owned()),
            traced_by_difficulty: (1..=DIFFICULTIES).map(|level| (level.to_string(), 90 * level)).collect(),
            example: Some(ExampleQuestion {
                question: "36 97".to_owned(),
                answer: Some("+7 *2 -3".to_owned()),
            }),
        }),
        models: models.into_iter().map(|(model, _)| model).collect(),
        comparisons,
        training: [("initial", 2000, 2.6), ("posterior", 1800, 2.2), ("final", 1200, 0.9)]
            .map(|(name, steps, loss)| training(name, steps, loss, &mut rng))
            .to_vec(),
        funnel: funnel(),
        verdicts: [
            (Reason::Equal, 61_830),
            (Reason::Different, 17_410),
            (Reason::NoAnswer, 1_512),
            (Reason::NoSandbox, 96),
        ]
        .map(|(reason, count)| VerdictCount { reason, count })
        .to_vec(),
        weights: Some(weights(&traces)),
        bounds: Some(bounds()),
        lengths: Some(lengths(&mut rng)),
        emphasis: Some(emphasis(&mut rng)),
        diagnostics: diagnostics(),
        responses: responses(&mut rng),
        traces,
        missing: BTreeMap::new(),
        ..ReportData::default()
    };
    data.findings = findings(&data);
    data
}

fn methods() -> Vec<NamedMethod> {
    let method = |(name, title, long, settings): (&str, &str, &str, &str)| NamedMethod {
        name: name.to_owned(),
        title: title.to_owned(),
        long: long.to_owned(),
        clause: "does something".to_owned(),
        settings: settings.to_owned(),
        is_ceiling: false,
    };
    [
        ("final", "Final", "the run’s own method, variational reasoning", ""),
        ("rft", "RFT", "rejection-sampling fine-tuning", "rounds = 2, traces.n = 7"),
        ("uniform", "Uniform weights", "the method with equal weights", "weights.weighting = \"uniform\""),
    ]
    .map(method)
    .to_vec()
}

/// Responses of two models to a third of the questions: of the first, every third is right; of the second, every one
/// but each fourth.
fn responses(rng: &mut Rng) -> ResponseBrowser {
    let response = |is_right: bool, times: u64, thought: &str| ShownResponse {
        thought: thought.to_owned(),
        answer: is_right.then(|| "+7 *2 -3".to_owned()),
        reason: if is_right { Reason::Equal } else { Reason::NoAnswer },
        truncated: !is_right,
        times,
    };
    let question = |q: usize| AnsweredQuestion {
        id: format!("walk-test-{q:04}"),
        question: format!("{} {} {}", rng.below(100), rng.below(100), if q == 1 { HOSTILE[0] } else { "" }),
        answer: Some("+7 *2 -3".to_owned()),
        difficulty: Some((q % DIFFICULTIES + 1).to_string()),
        responses: vec![
            vec![response(q.is_multiple_of(3), 4, "36 +7 43 x 36")],
            vec![response(!q.is_multiple_of(4), 3, HOSTILE[1]), response(false, 1, "36")],
        ],
    };
    ResponseBrowser {
        of: 300,
        seed: Some(2),
        models: ["initial", "final"].map(str::to_owned).to_vec(),
        questions: (0..100).map(question).collect(),
    }
}

/// Signs of a method that can help, with what two methods took.
fn diagnostics() -> Diagnostics {
    let accuracy = |accuracy, questions| {
        let samples = questions * RESPONSES;
        Accuracy { accuracy, low: accuracy - 0.04, high: accuracy + 0.04, questions, samples }
    };
    let initial = accuracy(0.241, 200);
    let difference = Interval { mean: 0.519, low: 0.46, high: 0.575 };
    let costs = [("final", 1_204_511, 2_871_002, 61.3), ("rft", 1_100_020, 2_205_710, 50.8)];
    let cost = |(name, tokens_drawn, tokens_trained, seconds): (&str, u64, u64, f64)| {
        (name.to_owned(), MethodCost { tokens_drawn, tokens_trained, seconds })
    };
    Diagnostics {
        initial_on_traced: Some(accuracy(0.96, 200)),
        initial_on_held_out: Some(accuracy(0.228, 300)),
        initial_on_sampled: Some(initial),
        ceiling: Some(accuracy(0.71, 300)),
        lift: Some(Lift { questions: 200, posterior: accuracy(0.76, 200), initial, difference }),
        validity: Some(StepValidity {
            finished: 25_511,
            valid: 19_643,
            training_mass: Some(0.97),
            forced: Some(0.021),
        }),
        mismatch: None,
        traces: Some(TraceDiversity {
            distinct_traces: 6.2,
            distinct_effective_sample_size: 3.4,
            mean_log_q: Some(-7.9),
            clipped: 0.0,
        }),
        costs: costs.map(cost).into(),
        cautions: Vec::new(),
    }
}

/// Three runs of one recipe.
pub fn several_runs() -> SeveralRuns {
    let whole = finished_run(1);
    let run = |at: usize| OneRun {
        run: Run {
            name: format!("seed-{at} {}", HOSTILE[at % 3]),
            seed: Some(at as u64),
            ..whole.run.clone()
        },
        training: whole.training.clone(),
    };
    let moved = |accuracy: Accuracy, by: f64| Accuracy { accuracy: accuracy.accuracy + by, ..accuracy };
    let model = |of: &MeasuredModel| PooledModel {
        name: of.name.clone(),
        by_run: vec![Some(moved(of.overall, -0.02)), None, Some(moved(of.overall, 0.02))],
        pooled: Some(of.overall),
        cost: whole.diagnostics.costs.get(&of.name).copied(),
    };
    SeveralRuns {
        headline: "3 runs: 45.5 % right before training, 68.8 % after".to_owned(),
        runs: (0..3).map(run).collect(),
        methods: whole.run.methods.clone(),
        models: whole.models.iter().map(model).collect(),
        comparisons: whole.comparisons.clone(),
        not_pooled: None,
        settings: vec![DifferingSetting {
            name: "seed".to_owned(),
            values: vec![Some("0".to_owned()), None, Some("2".to_owned())],
        }],
    }
}

/// Eight runs that are not pooled, with a long name among them; the first lacks a model.
pub fn apart_runs() -> SeveralRuns {
    let data = several_runs();
    let run = |at: usize| {
        let one = data.runs[at % 3].clone();
        let name =
            if at == 7 { "a long name, \"quoted\", of a run".to_owned() } else { format!("seed-{at}") };
        OneRun { run: Run { name, ..one.run }, ..one }
    };
    let model = |of: &PooledModel| PooledModel {
        by_run: (0..8).map(|at| of.by_run[0].filter(|_| at > 0 || of.name != "rft")).collect(),
        pooled: None,
        cost: None,
        name: of.name.clone(),
    };
    SeveralRuns {
        runs: (0..8).map(run).collect(),
        models: data.models.iter().map(model).collect(),
        comparisons: Vec::new(),
        not_pooled: Some(
            "The runs differ in more than their seeds, so nothing is pooled: traces.n.".to_owned(),
        ),
        ..data
    }
}

/// A run in the middle of its third stage.
pub fn begun_run() -> ReportData {
    let whole = finished_run(2);
    let mut data = ReportData {
        run: Run { finished: false, peak_memory_bytes: None, ..whole.run },
        stages: whole.stages,
        questions: whole.questions,
        training: whole.training[..2].to_vec(),
        ..ReportData::default()
    };
    for (at, stage) in data.stages.iter_mut().enumerate().skip(3) {
        *stage = ShownStage {
            state: if at == 3 { StageState::Begun } else { StageState::Waiting },
            seconds: None,
            tokens: None,
            ..stage.clone()
        };
    }
    data.stages[3].progress = Some(latrace_report::StageProgress {
        done: 12,
        total: Some(65),
        unit: "parts".to_owned(),
        per_second: Some(0.4),
        seconds_left: Some(132.5),
    });
    for figure in [
        "accuracy",
        "fit",
        "difficulty",
        "pass_at_k",
        "funnel",
        "weights",
        "bounds",
        "lengths",
        "emphasis",
        "traces",
        "responses",
    ] {
        data.missing
            .insert(figure.to_owned(), "Not available yet: stage 07-weights has not started.".to_owned());
    }
    data.findings = findings(&data);
    data
}

/// Each model with the share of right responses to each question.
fn models(rng: &mut Rng) -> Vec<(MeasuredModel, Vec<f64>)> {
    let strength = [
        ("initial", ModelRole::Initial, 0.0),
        ("posterior", ModelRole::Posterior, 2.6),
        ("final", ModelRole::Final, 1.25),
        ("rft", ModelRole::Baseline, 0.8),
        ("uniform", ModelRole::Baseline, 0.35),
    ];
    let luck: Vec<f64> = (0..300).map(|_| rng.uniform() * 2.0 - 1.0).collect();
    strength.map(|(name, role, strength)| measured(name, role, strength, &luck, rng)).to_vec()
}

fn measured(
    name: &str,
    role: ModelRole,
    strength: f64,
    luck: &[f64],
    rng: &mut Rng,
) -> (MeasuredModel, Vec<f64>) {
    let difficulty = |q: usize| q % DIFFICULTIES;
    let right_q: Vec<usize> = luck
        .iter()
        .enumerate()
        .map(|(q, luck)| {
            let chance = 1.0 / (1.0 + (-(1.6 + strength - 0.75 * difficulty(q) as f64 + luck)).exp());
            (0..RESPONSES).filter(|_| rng.uniform() < chance).count()
        })
        .collect();
    let share_q: Vec<f64> = right_q.iter().map(|&right| right as f64 / RESPONSES as f64).collect();
    let of = |wanted: usize| -> Vec<f64> {
        share_q
            .iter()
            .enumerate()
            .filter(|&(q, _)| difficulty(q) == wanted)
            .map(|(_, &share)| share)
            .collect()
    };
    let by_difficulty = (0..DIFFICULTIES)
        .map(|level| ByDifficulty { difficulty: (level + 1).to_string(), accuracy: accuracy(&of(level)) })
        .collect();
    let pass =
        |k: usize| interval(&right_q.iter().map(|&right| pass_at(k, RESPONSES, right)).collect::<Vec<_>>());
    let model = MeasuredModel {
        name: name.to_owned(),
        role,
        overall: accuracy(&share_q),
        by_difficulty,
        pass_at: (1..=RESPONSES).map(pass).collect(),
        truncated: rng.below(9),
        undetermined: 0,
        mean_tokens: 21.0 + rng.uniform(),
    };
    (model, share_q)
}

fn accuracy(share_q: &[f64]) -> Accuracy {
    let Interval { mean, low, high } = interval(share_q);
    Accuracy { accuracy: mean, low, high, questions: share_q.len(), samples: share_q.len() * RESPONSES }
}

fn interval(value_q: &[f64]) -> Interval {
    bootstrap(value_q, 2)
}

fn compared(models: &[(MeasuredModel, Vec<f64>)], model: &str, against: &str) -> PairedComparison {
    let share = |name: &str| &models.iter().find(|(model, _)| model.name == name).unwrap().1;
    let difference_q: Vec<f64> =
        share(model).iter().zip(share(against)).map(|(left, right)| left - right).collect();
    PairedComparison {
        model: model.to_owned(),
        against: against.to_owned(),
        difference: interval(&difference_q),
        questions: difference_q.len(),
    }
}

fn stages() -> Vec<ShownStage> {
    let own = [
        ("00-questions", "Questions", 0.4, None),
        ("01-initial", "Training of the initial model", 96.2, Some(1_402_113)),
        ("02-posterior", "Training of the posterior", 91.5, Some(1_211_840)),
        ("03-traces", "Traces", 41.0, Some(455_103)),
        ("04-scores", "Scores", 12.3, Some(455_103)),
        ("05-answers", "Answers", 66.1, Some(402_334)),
        ("06-verdicts", "Verdicts", 1.9, None),
        ("07-weights", "Weights", 0.6, None),
        ("08-dataset", "Examples", 0.7, None),
        ("09-final", "Training of the final model", 70.8, Some(998_210)),
        ("10-evaluation/initial", "Evaluation of the initial model", 9.2, Some(25_310)),
        ("10-evaluation/final", "Evaluation of the final model", 9.4, Some(26_022)),
    ];
    let others = [
        ("baselines/rft/03-traces", "Traces", 58.2, Some(610_033)),
        ("baselines/rft/09-final", "Training of the final model", 71.9, Some(1_001_777)),
    ];
    let stage =
        |(folder, title, seconds, tokens): (&str, &str, f64, Option<u64>), method: Option<&str>| ShownStage {
            folder: folder.to_owned(),
            title: title.to_owned(),
            method: method.map(str::to_owned),
            state: StageState::Done,
            seconds: Some(seconds),
            tokens,
            progress: None,
        };
    own.into_iter()
        .map(|row| stage(row, None))
        .chain(others.into_iter().map(|row| stage(row, Some("rft"))))
        .collect()
}

fn training(name: &str, steps: u64, start: f64, rng: &mut Rng) -> Training {
    let points = (1..=200_u64).map(|at| {
        let done = at as f64 / 200.0;
        let noise = 0.04 * (rng.uniform() - 0.5);
        TrainingPoint {
            step: steps * at / 200,
            loss: start * (0.32 + 0.68 * (-6.0 * done).exp()) + noise,
            grad_norm: 0.35 + 1.4 * (-9.0 * done).exp() + 3.0 * noise.abs(),
        }
    });
    Training { name: name.to_owned(), steps, steps_per_point: steps / 200, points: points.collect() }
}

fn funnel() -> Vec<FunnelStep> {
    let steps = [
        ("sampled", 20_800, ""),
        ("came to an end", 20_212, "were cut off at the most tokens"),
        ("had a right answer", 16_930, "had no right answer among four"),
        ("chosen", 9_214, "were not drawn"),
    ];
    steps
        .map(|(name, count, lost)| FunnelStep { name: name.to_owned(), count, lost: lost.to_owned() })
        .to_vec()
}

fn weights(traces: &TraceBrowser) -> WeightFigure {
    let rho_qk: Vec<Vec<f64>> = traces
        .questions
        .iter()
        .map(|question| question.traces.iter().map(|trace| trace.weight.unwrap_or(0.0)).collect())
        .collect();
    let effective: Vec<f64> =
        rho_qk.iter().map(|rho_k| 1.0 / rho_k.iter().map(|rho| rho * rho).sum::<f64>()).collect();
    WeightFigure {
        description: "A weight is the geometric ratio times the accuracy; the best trace is chosen."
            .to_owned(),
        traces_each: TRACES,
        rho: Histogram::of(rho_qk.concat(), 0.0, 1.0, 20),
        mean_effective: effective.iter().sum::<f64>() / effective.len() as f64,
        effective: Histogram::of(effective, 1.0, TRACES as f64, 14),
        questions: rho_qk.len(),
        without_weight: 3,
    }
}

fn bounds() -> Bounds {
    let point = |k: usize| BoundPoint {
        k,
        mean: Some(-0.62 + 0.36 * (1.0 - (-(k as f64 - 1.0) / 2.2).exp())),
        standard_error: Some(0.012),
        unbounded: 700 / k,
    };
    let no_bounds = Some("the traces were tempered (temperature 0.7)".to_owned());
    Bounds { no_bounds, ratio: "geometric".to_owned(), points: (1..=TRACES).map(point).collect() }
}

fn lengths(rng: &mut Rng) -> LengthFigure {
    let (mut summed, mut mean) = (vec![vec![0_u64; 24]; 20], vec![vec![0_u64; 24]; 20]);
    for _ in 0..6000 {
        let length = 6.0 + 50.0 * rng.uniform() * rng.uniform().sqrt();
        let per_token = -0.12 + 0.25 * (rng.uniform() + rng.uniform() + rng.uniform() - 1.5);
        let place = |value: f64, low: f64, high: f64, bins: usize| {
            (((value - low) / (high - low) * bins as f64).max(0.0) as usize).min(bins - 1)
        };
        let column = place(length, 5.0, 56.0, 24);
        summed[place(per_token * length, -16.0, 8.0, 20)][column] += 1;
        mean[place(per_token, -0.6, 0.4, 20)][column] += 1;
    }
    let density =
        |counts, y, correlation| Density { x: (5.0, 56.0), y, counts, correlation: Some(correlation) };
    LengthFigure {
        traces: 6000,
        summed: density(summed, (-16.0, 8.0), -0.47),
        mean: density(mean, (-0.6, 0.4), 0.02),
    }
}

fn emphasis(rng: &mut Rng) -> Emphasis {
    let weight = |name: &str, p: f64| match name {
        "variational" => f64::from(u8::from(p > 0.0)),
        "grpo" if p >= 1.0 => 0.0,
        "grpo" => (p / (1.0 - p)).sqrt(),
        _ => p,
    };
    let curve = |name: &str, shares| EmphasisCurve {
        name: name.to_owned(),
        title: name.to_uppercase(),
        points: (0..=50).map(|i| f64::from(i) / 50.0).map(|p| (p, weight(name, p))).collect(),
        shares,
    };
    let accuracies =
        Histogram::of((0..2600).map(|_| (rng.uniform() * 1.3 - 0.1).clamp(0.0, 1.0)), 0.0, 1.0, 20);
    let curves = vec![
        curve("variational", [0.27, 0.31, 0.42]),
        curve("rft", [0.08, 0.29, 0.63]),
        curve("binary-rl", [0.08, 0.29, 0.63]),
        curve("grpo", [0.12, 0.28, 0.6]),
    ];
    Emphasis { curves, accuracies, of: "answers after the initial model’s own traces".to_owned() }
}

fn traces(questions: usize, rng: &mut Rng) -> TraceBrowser {
    let mut vocabulary: Vec<String> = (0..100).map(|number| format!("{number} ")).collect();
    vocabulary.extend(["+7 ", "-3 ", "*2 ", "x ", "</think>"].map(str::to_owned));
    vocabulary.extend(HOSTILE.map(|text| format!("{text} ")));
    vocabulary.push(String::new());
    let questions = (0..questions).map(|q| question(q, rng)).collect();
    TraceBrowser { of: 2600, seed: Some(2), writer: "the posterior".to_owned(), vocabulary, questions }
}

fn question(q: usize, rng: &mut Rng) -> Browsed {
    let (from, to) = (rng.below(100), rng.below(100));
    let mut traces: Vec<BrowsedTrace> = (0..TRACES).map(|k| trace(q, k, from, rng)).collect();
    let rho: Vec<f64> =
        traces.iter().map(|trace| right_of(trace) * trace.log_ratio.unwrap_or(0.0).exp()).collect();
    let total: f64 = rho.iter().sum();
    let best = (0..TRACES).max_by(|&a, &b| rho[a].total_cmp(&rho[b])).unwrap_or(0);
    for (k, trace) in traces.iter_mut().enumerate().filter(|(_, trace)| trace.closed && total > 0.0) {
        trace.weight = Some(rho[k] / total);
        trace.chosen = if k == best { 1.0 } else { 0.0 };
    }
    let hostile = if q == 1 { HOSTILE[q] } else { "" };
    Browsed {
        id: format!("walk-{q:04}"),
        question: format!(
            "From {from} to {to} with the moves +7, −3 and ×2, staying within 0 and 99. {hostile}"
        ),
        hint: Some(format!("+7 *2 -3 {hostile}")),
        difficulty: Some((q % DIFFICULTIES + 1).to_string()),
        traces,
    }
}

fn right_of(trace: &BrowsedTrace) -> f64 {
    trace.answers.iter().filter(|answer| answer.reason == Some(Reason::Equal)).count() as f64
}

fn trace(q: usize, k: usize, from: usize, rng: &mut Rng) -> BrowsedTrace {
    let mut tokens = vec![from as u32];
    for _ in 0..3 + rng.below(9) {
        tokens.extend([100 + rng.below(4) as u32, rng.below(100) as u32]);
    }
    if q == 1 {
        tokens.extend([105, 106, 107, 108]);
    }
    tokens.push(104);
    let centinats: Vec<i32> = tokens
        .iter()
        .map(|_| (600.0 * (rng.uniform() - 0.55) * rng.uniform() * rng.uniform()) as i32)
        .collect();
    let right = rng.below(ANSWERS + 1);
    BrowsedTrace {
        sample: k as u64,
        times: 1,
        closed: rng.uniform() < 0.95,
        weight: None,
        chosen: 0.0,
        log_ratio: Some(f64::from(centinats.iter().sum::<i32>()) / 100.0 / centinats.len() as f64),
        length: tokens.len(),
        tokens,
        centinats,
        answers: (0..ANSWERS).map(|m| answer(q, m, m < right)).collect(),
    }
}

fn answer(q: usize, m: usize, right: bool) -> BrowsedAnswer {
    let reason = if right { Reason::Equal } else { Reason::Different };
    let text = if q == 1 && m == 0 {
        HOSTILE[0].to_owned()
    } else {
        ["+7 *2 -3 +7", "*2 +7 +7 -3", "-3 -3 *2", "+7 +7 *2 *2"][m % 4].to_owned()
    };
    BrowsedAnswer { text, reason: Some(reason), ended: true, times: 1 }
}
