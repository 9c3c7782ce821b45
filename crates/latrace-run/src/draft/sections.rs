//! The sections of a drafted recipe, in order.

use latrace_questions::source::{AnswerRule, Format};
use latrace_questions::tasks::Task;
use toml::Value;

use super::{Draft, DraftModel, DraftQuestions, QuestionFile};

/// Questions of a first run: enough to see whether the method helps.
const MOST_TRAINED: usize = 1000;
const MOST_TESTED: usize = 200;

/// The whole recipe.
pub(super) fn all(draft: &Draft) -> String {
    let sections = [
        beginning(draft),
        model(draft),
        questions(draft),
        prompts(draft),
        first_models(draft),
        sampling(draft),
        weights(draft),
        last_model(draft),
        evaluation(draft),
        baselines(),
    ];
    sections.join("\n")
}

fn beginning(draft: &Draft) -> String {
    let name = &draft.name;
    format!(
        "# Written by `latrace new`. What is not set here has the default of docs/recipe.md; `latrace recipe show` prints it all.\n\
         #\n\
         #   latrace recipe check {name}       whether it is valid, and what it does\n\
         #   latrace run {name} --dry-run      the stages, and how much there is to do\n\
         #   latrace run {name}                goes on where it was when it is interrupted\n"
    )
}

/// A text as TOML spells it.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn model(draft: &Draft) -> String {
    let positions = if matches!(draft.questions, DraftQuestions::Task(_)) { 256 } else { 1024 };
    match &draft.model {
        DraftModel::Named { folder, .. } => format!("[model]\nfolder = {}\n", quoted(folder)),
        DraftModel::Random => format!(
            "[model]\n\
             # A small decoder, drawn at random; it learns all that it knows from the traces in the data. To start from a model that\n\
             # can answer already: folder = \"org/name\" or a folder, instead of shape.\n\
             shape = {{ architectures = [\"Qwen3ForCausalLM\"], model_type = \"qwen3\", hidden_size = 128, intermediate_size = 384, \
             num_hidden_layers = 4, num_attention_heads = 4, num_key_value_heads = 4, head_dim = 32, max_position_embeddings = {positions}, \
             rms_norm_eps = 1e-6, rope_theta = 1000.0, tie_word_embeddings = true }}\n"
        ),
    }
}

fn questions(draft: &Draft) -> String {
    match &draft.questions {
        DraftQuestions::Task(task) => of_task(*task),
        DraftQuestions::Files { train, test, kind } => [
            of_train(train),
            of_test(train, test.as_ref()),
            of_rows(train, kind),
            limits(train, test.as_ref()),
        ]
        .concat(),
    }
}

fn of_task(task: Task) -> String {
    format!(
        "[questions]\ntask = {}\n\
         # A few questions come with traces, more with answers only: those are what the posterior is for.\n\
         sizes = {{ traced = 900, untraced = 3200, validation = 220, test = 600 }}\n",
        quoted(task.name())
    )
}

fn of_train(train: &QuestionFile) -> String {
    let traces = if train.has_traces { "with traces to learn from" } else { "with answers, and no traces" };
    format!("[questions]\n# {} rows, {traces}.\ntrain = {}\n", train.rows, quoted(&train.name))
}

fn of_test(train: &QuestionFile, test: Option<&QuestionFile>) -> String {
    match test {
        Some(test) => format!(
            "# {} rows, which are measured on and never trained on.\ntest = {}\n",
            test.rows,
            quoted(&test.name)
        ),
        None => without_test(train),
    }
}

/// How to hold out questions: those of a file belong to one split.
fn without_test(train: &QuestionFile) -> String {
    let held_out = (train.rows / 10).clamp(1, MOST_TESTED);
    let name = &train.name;
    let stem = name.trim_end_matches(".parquet").trim_end_matches(".jsonl");
    let commands = match name.ends_with(".jsonl") {
        true => format!(
            ", such as\n#   head -n {held_out} {name} > {stem}-test.jsonl\n#   tail -n +{} {name} > {stem}-train.jsonl\n# and name both files",
            held_out + 1
        ),
        false => " into a file of their own, and name both files".to_owned(),
    };
    format!(
        "# No test questions: nothing that the models learn is measured. To measure it, hold out rows{commands} here.\n# test = \"{stem}-test.jsonl\"\n"
    )
}

fn of_rows(train: &QuestionFile, kind: &str) -> String {
    let mut text = String::new();
    if train.format != Format::Rows {
        let name = if train.format == Format::Gsm8k { "gsm8k" } else { "conversations" };
        text.push_str(&format!("format = \"{name}\"\n"));
    }
    if !train.columns.is_empty() {
        let pairs = train.columns.iter().map(|(ours, theirs)| format!("{} = {}", ours, quoted(theirs)));
        let pairs = pairs.collect::<Vec<_>>().join(", ");
        text.push_str(&format!("# Which column of the file each field is; guessed from their names, so look at it.\ncolumns = {{ {pairs} }}\n"));
    }
    if train.answer_rule == AnswerRule::AfterHashes {
        text.push_str("# The answer is what comes after the last ####; all of the solution is the hint.\nanswer_rule = \"after-hashes\"\n");
    }
    text + &format!(
        "# How answers are judged, where a row has no `kind` of its own: math, choice, code, text, command.\nkind = {}\n",
        quoted(kind)
    )
}

fn limits(train: &QuestionFile, test: Option<&QuestionFile>) -> String {
    let tested = test.map_or(0, |test| test.rows);
    if train.rows <= MOST_TRAINED && tested <= MOST_TESTED {
        return String::new();
    }
    let (most, tests) = (train.rows.min(MOST_TRAINED), tested.min(MOST_TESTED));
    format!(
        "# A first run need not read everything: whether the method helps shows on fewer. 0: all.\n\
         limit = {{ train = {most}, test = {tests} }}\nshuffle = true\n"
    )
}

fn prompts(draft: &Draft) -> String {
    if matches!(draft.questions, DraftQuestions::Task(_)) {
        let why = "# The task has a tokenizer of its own, without words for instructions.";
        return format!(
            "[prompts]\n{why}\nmarkers = \"plain\"\nreasoner = \"plain\"\nposterior = \"plain_posterior\"\n"
        );
    }
    let DraftModel::Named { chat, .. } = &draft.model else {
        return "[prompts]\n# Thoughts stand between <think> and </think>.\nmarkers = \"think\"\n".to_owned();
    };
    let chat_prompts = "reasoner = \"chat\"\nposterior = \"chat_a\"\n";
    let in_the_open = "# Thoughts stand between <think> and </think>. A model that knows no such markers can work in the open:\n\
                       #   system = \"Think step by step. Then write #### and the final answer.\"\n\
                       #   markers = { open = \"\", close = \"\\n####\", answer_open = \" \" }\n";
    match chat {
        Some(true) => format!("[prompts]\n# In the model's own chat template.\n{chat_prompts}{in_the_open}"),
        Some(false) => "[prompts]\n# The model has no chat template, so prompts are plain texts.\nreasoner = \"reasoner\"\nposterior = \"posterior_a\"\n".to_owned(),
        None => format!(
            "[prompts]\n# In the model's own chat template. For a model without one, leave out these two lines.\n{chat_prompts}{in_the_open}"
        ),
    }
}

/// A training's settings: those of the shipped recipe for such a model.
fn training(draft: &Draft, section: &str, rate: &str) -> String {
    let batch = match &draft.questions {
        DraftQuestions::Task(_) => 32,
        // At least some updates per epoch, however few rows there are.
        DraftQuestions::Files { train, .. } => (train.rows.min(MOST_TRAINED) / 8).clamp(1, 16),
    };
    let steps = match (&draft.questions, section) {
        (DraftQuestions::Task(_), "initial") => "max_steps = 1000",
        (DraftQuestions::Task(_), _) => "max_steps = 800",
        (DraftQuestions::Files { .. }, "final") => "epochs = 1",
        (DraftQuestions::Files { .. }, _) => "epochs = 4",
    };
    let cutoff = match (&draft.model, &draft.questions) {
        (_, DraftQuestions::Task(_)) => 256,
        (DraftModel::Random, _) => 768,
        (DraftModel::Named { .. }, _) => 2048,
    };
    format!("batch_size = {batch}\n{steps}\nlearning_rate = {rate}\ncutoff_length = {cutoff}\n")
}

const ADAPTER: &str = "# An adapter, which needs far less memory than all the weights. Without this line, all are trained: learning_rate = 1e-5.\n\
                       lora = { rank = 16, alpha = 32 }\n";

fn first_models(draft: &Draft) -> String {
    if !draft.has_traces() {
        return "# Without traces there is nothing to train these two on: the reasoner is the model as it is, and the posterior is the\n\
                # same model with the hint in its prompt.\n\
                [initial]\ntrain = false\n\n[posterior]\ntrain = false\n"
            .to_owned();
    }
    let initial = "# The reasoner learns from the traces in the data.\n[initial]\n";
    let posterior =
        "# The posterior learns the same traces with a hint of the answer in its prompt.\n[posterior]\n";
    match draft.model {
        DraftModel::Random => [
            initial,
            &training(draft, "initial", "1e-3"),
            "\n",
            posterior,
            &training(draft, "posterior", "1e-3"),
        ]
        .concat(),
        DraftModel::Named { .. } => [
            initial,
            ADAPTER,
            &training(draft, "initial", "1e-3"),
            "\n",
            posterior,
            "start = \"initial\"\nlora = { rank = 16, alpha = 32 }\n",
            &training(draft, "posterior", "1e-3"),
        ]
        .concat(),
    }
}

/// Most tokens of a trace, of an answer and of both.
fn lengths(draft: &Draft) -> [u64; 3] {
    match (&draft.questions, &draft.model) {
        (DraftQuestions::Task(_), _) => [128, 24, 160],
        (_, DraftModel::Random) => [256, 48, 320],
        (DraftQuestions::Files { kind, .. }, _) if kind == "code" => [1024, 1024, 2048],
        (DraftQuestions::Files { .. }, _) => [1024, 256, 1280],
    }
}

fn sampling(draft: &Draft) -> String {
    let [trace, answer, _] = lengths(draft);
    let unseen = match draft.questions {
        DraftQuestions::Task(_) => "# Those that have no trace in the data.\nquestions = \"unseen\"\n",
        DraftQuestions::Files { .. } => "",
    };
    format!(
        "# Traces of the posterior for each question, and answers of the reasoner after each: what the method learns from. They are\n\
         # most of a run's work.\n\
         [traces]\n{unseen}n = 4\ntemperature = 1.0\nmax_new_tokens = {trace}\n\n\
         [answers]\nn = 4\ntemperature = 1.0\nmax_new_tokens = {answer}\n"
    )
}

fn weights(draft: &Draft) -> String {
    let skip = "# There are no rows with a trace to fall back on.\nfallback = \"skip\"\n";
    let fallback = if draft.has_traces() { "" } else { skip };
    format!(
        "[weights]\n# All traces by their weights, and not the best alone.\nselection = \"weighted\"\n{fallback}"
    )
}

fn last_model(draft: &Draft) -> String {
    let why = "# The final model learns from the weighted traces.\n[final]\n";
    match draft.model {
        DraftModel::Random => [why, &training(draft, "final", "3e-4")].concat(),
        DraftModel::Named { .. } if draft.has_traces() => {
            [why, "lora = { rank = 16, alpha = 32 }\n", &training(draft, "final", "5e-4")].concat()
        }
        DraftModel::Named { .. } => [why, ADAPTER, &training(draft, "final", "5e-4")].concat(),
    }
}

fn evaluation(draft: &Draft) -> String {
    let [.., all] = lengths(draft);
    let base = match (&draft.model, &draft.questions) {
        (DraftModel::Named { chat: Some(true), .. }, DraftQuestions::Files { .. }) => {
            "# The model as it was given is measured too, in its own chat template.\nbase = \"chat\"\n"
        }
        _ => "",
    };
    format!(
        "[evaluation]\n{base}# Training questions to measure the initial model on: they tell whether the method can help.\ntraining = 50\n\
         n = 4\nmax_new_tokens = {all}\n"
    )
}

fn baselines() -> String {
    "# Rejection sampling on the same questions, to compare with. Remove it to save its time.\n[baselines.rft]\nmethod = \"rft\"\n".to_owned()
}
