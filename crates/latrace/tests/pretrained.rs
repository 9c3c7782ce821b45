//! Runs and evaluations that start from a chat model: prompts in its own template, questions as published, no traces.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

mod support;

use std::fs;

use latrace_io::table::{Record, Table};
use latrace_run::pipeline::records::{QuestionRecord, ResponseRecord};
use serde_json::{Value, json};
use support::Bench;

/// Tokens, which a model of random weights says now and then.
const WORDS: [&str; 12] =
    ["?", "<end>", "<think>", "</think>", "1", "2", "3", "apples", "user", "assistant", "system", "#"];

/// It leaves it to the model whether there is a thought.
const TEMPLATE: &str = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}\
                        {% if add_generation_prompt %}assistant {% endif %}";

/// Nothing is trained but the final model, and that on its own traces.
const RECIPE: &str = r##"
[model]
folder = "model"

[questions]
train = "train.jsonl"
test = "test.jsonl"
kind = "text"
columns = { question = "{{ body }} {{ question }}", id = "idx" }
answer_rule = "without-units"
limit = { train = 6, test = 3 }
shuffle = true

[prompts]
reasoner = "chat"
posterior = "chat_a"

[initial]
train = false

[posterior]
train = false

[traces]
n = 4
temperature = 1.0
max_new_tokens = 48

[answers]
n = 2
temperature = 1.0
max_new_tokens = 6

[weights]
fallback = "geometric-likelihood"

[final]
batch_size = 4
max_steps = 2

[evaluation]
base = "chat"
n = 8
temperature = 1.0
max_new_tokens = 12
"##;

fn id_of(word: &str) -> u32 {
    WORDS.iter().position(|known| *known == word).unwrap() as u32
}

impl Bench {
    /// With a recipe, its data and a model in a folder of their own.
    fn pretrained() -> Bench {
        let bench = Bench::empty();
        bench.write("own/recipe.toml", RECIPE);
        bench.write_model("own/model", TEMPLATE);
        let row = |split: &str, count: usize| {
            let row = |n: usize| {
                json!({"body": format!("{split} {n}."), "question": "How many?", "answer": format!("{} (apples)", 1 + n % 3),
                       "idx": format!("{split}{n}")})
            };
            (0..count).map(row).collect::<Vec<_>>()
        };
        bench.write_rows("own/train.jsonl", &row("train", 20));
        bench.write_rows("own/test.jsonl", &row("test", 9));
        bench
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    /// A model of random weights with a tokenizer of words and a chat template.
    fn write_model(&self, name: &str, template: &str) {
        let special = |word: &str| {
            json!({"id": id_of(word), "content": word, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        };
        let added = ["<end>", "<think>", "</think>"].map(special);
        let vocabulary = WORDS.iter().map(|word| ((*word).to_owned(), json!(id_of(word))));
        let tokenizer = json!({
            "version": "1.0", "truncation": null, "padding": null,
            "added_tokens": added,
            "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
            "model": {"type": "WordLevel", "unk_token": "?", "vocab": vocabulary.collect::<serde_json::Map<_, _>>()}
        });
        let config = json!({
            "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 32, "vocab_size": WORDS.len(),
            "max_position_embeddings": 256, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
            "eos_token_id": id_of("<end>")
        });
        let settings = json!({"chat_template": template, "bos_token": "", "eos_token": "<end>"});
        for (file, value) in [("config", config), ("tokenizer", tokenizer), ("tokenizer_config", settings)] {
            self.write(&format!("shape/{file}.json"), &value.to_string());
        }
        self.done(&["init", "--config", "shape", "--out", name, "--seed", "7"]);
    }

    fn records<R: Record>(&self, name: &str) -> Vec<R> {
        Table::open(&self.path(name)).records().unwrap().collect::<anyhow::Result<_>>().unwrap()
    }

    /// What a dry run of the recipe is refused with.
    #[track_caller]
    fn dry_run_refused(&self, settings: &[&str], expected: &[&str]) {
        let command = [&["run", "own/recipe.toml", "--dry-run"], settings].concat();
        let (code, said) = self.run(&command);
        assert!(code != 0 && expected.iter().all(|part| said.contains(part)), "{expected:?}: {code}, {said}");
    }
}

#[test]
fn a_chat_model_is_trained_without_traces_and_measured_beside_itself() {
    let bench = Bench::pretrained();
    let ahead = bench.done(&["run", "own/recipe.toml", "--dry-run"]);
    assert!(ahead.contains("10-evaluation/base"), "{ahead}");
    assert!(
        ahead.contains("Questions: 6 to train on, 0 of them with a trace, 0 for validation, 3 for the test"),
        "{ahead}"
    );
    bench.done(&["run", "own/recipe.toml", "--run-dir", "r"]);
    let questions: Vec<QuestionRecord> = bench.records("r/00-questions");
    assert_eq!(questions.len(), 9);
    for question in &questions {
        assert!(question.question.ends_with(". How many?"), "{question:?}");
        assert_eq!(question.reference.len(), "{\"gold\":\"1\"}".len(), "{}", question.reference);
        assert_eq!(question.prompt_ids.last(), Some(&id_of("<think>")));
        assert_eq!(question.posterior_prompt_ids.as_ref().unwrap().last(), Some(&id_of("<think>")));
    }
    let summary = bench.json("r/summary.json");
    let models: Vec<&String> = summary["models"].as_object().unwrap().keys().collect();
    assert_eq!(models, ["base", "final", "initial"]);
    assert_eq!(bench.json("r/00-questions/stage.json")["counts"]["traced"], 0);
    // The base model was not made to think: what it says at once is judged as a whole, unless it was cut, and counted.
    let responses: Vec<ResponseRecord> = bench.records("r/10-evaluation/base");
    let markers = [id_of("<think>"), id_of("</think>")];
    for response in &responses {
        let thinks = response.token_ids.iter().any(|id| markers.contains(id));
        assert_eq!(response.without_thought, Some(!thinks), "{response:?}");
        assert!(thinks || response.text.is_some() != response.truncated, "{response:?}");
    }
    let at_once = responses.iter().filter(|response| response.without_thought == Some(true));
    assert!(
        at_once.clone().any(|response| response.truncated)
            && at_once.clone().any(|response| !response.truncated)
    );
    assert_eq!(summary["models"]["base"]["without_thought"], at_once.count());
    // The others think, as they were prompted to.
    assert_ne!(summary["models"]["base"]["without_thought"], 0);
    assert_eq!(summary["models"]["initial"]["without_thought"], 0);
    assert!(fs::read_to_string(bench.path("r/report.html")).unwrap().contains("\"role\":\"base\""));
    // Another order of the same rows is another draw, and the settings are in the key.
    let ahead = bench.done(&["run", "own/recipe.toml", "--run-dir", "r", "--dry-run", "questions.seed=1"]);
    assert!(ahead.contains("00-questions                     will be redone"), "{ahead}");
}

#[test]
fn a_dry_run_refuses_what_cannot_come_to_a_thought() {
    let bench = Bench::pretrained();
    bench.write("own/never.jinja", "user {{ question }} assistant");
    let never = ["prompts.reasoner: expected a prompt that ends with \"<think>\"", "assistant", "{{ open }}"];
    bench.dry_run_refused(&["prompts.reasoner=own/never.jinja"], &never);
    bench.dry_run_refused(&["prompts.reasoner=own/ever.jinja"], &["neither a built-in template nor a file"]);
    // Markers of which nothing is known before the answer.
    let unmarked = "prompts.markers={ open = \"\", close = \"#\" }";
    bench.done(&["run", "own/recipe.toml", "--dry-run", "prompts.reasoner=own/never.jinja", unmarked]);
    bench.dry_run_refused(
        &["initial.train=true"],
        &["01-initial: expected training questions with a trace, got none of 6"],
    );
    bench.dry_run_refused(&["posterior.train=true"], &["02-posterior: expected", "posterior.train = false"]);
    let shape = "model.shape={ model_type = \"qwen2\", hidden_size = 8, num_hidden_layers = 1, num_attention_heads = 1, \
                 num_key_value_heads = 1, intermediate_size = 8, max_position_embeddings = 64, rms_norm_eps = 1e-6, \
                 rope_theta = 1e4, tie_word_embeddings = true }";
    bench.dry_run_refused(
        &["model.folder=", "initial.train=true", "evaluation.base=none", shape],
        &["no chat template", "choose a prompt without a chat template"],
    );
    bench.write_model(
        "strict",
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}assistant ",
    );
    let strict = ["model.folder=strict", "prompts.system=Brief."];
    bench.dry_run_refused(&strict, &["no system", "leave prompts.system empty"]);
    bench.done(&["run", "own/recipe.toml", "--dry-run", "model.folder=strict"]);
    // The run itself refuses the same, before anything is sampled.
    let (code, said) =
        bench.run(&["run", "own/recipe.toml", "--run-dir", "never", "prompts.reasoner=own/never.jinja"]);
    assert!(code != 0 && said.contains("which opens the thought"), "{said}");
    assert!(!bench.path("never/03-traces").exists());
}

/// The templates of published families, as `oracle/chat_goldens.py` writes them: some open a thought, some leave out
/// those of earlier turns, and some know of none.
fn families() -> Vec<(String, String)> {
    let golden: Value =
        serde_json::from_str(include_str!("../../latrace-core/tests/golden/chat.json")).unwrap();
    let names = ["qwen2", "qwen3", "llama2", "llama3", "smollm2", "r1"];
    names.map(|name| (name.to_owned(), golden["templates"][name].as_str().unwrap().to_owned())).into()
}

/// The command that prepares a question with a model's chat template and markers.
fn questions_with<'a>(model: &'a str, markers: &'a str) -> Vec<&'a str> {
    let command = "questions --data q.jsonl --out out.jsonl --reasoner chat --posterior chat_b --model";
    command.split(' ').chain([model, "--markers", markers]).collect()
}

#[test]
fn templates_of_all_families_open_one_thought() {
    let bench = Bench::pretrained();
    bench.write_rows(
        "q.jsonl",
        &[json!({"id": "a", "question": "1 + 1?", "solution": "Two.", "answer": "2"})],
    );
    let hybrid = format!("{TEMPLATE}{{% if add_generation_prompt %}}<think>\n\n</think>\n\n{{% endif %}}");
    let own = ("<reason>\n", "{ open = \"<reason>\\n\", close = \"\\n</reason>\" }");
    for (name, template) in families().into_iter().chain([("hybrid".to_owned(), hybrid)]) {
        bench.write_model(&name, &template);
        for (open, markers) in [("<think>\n", "think"), own] {
            if name == "r1" && open == own.0 {
                // Its template opens the thought, by another marker.
                let (code, said) = bench.run(&questions_with(&name, markers));
                assert!(code != 0 && said.contains("markers: expected \"<think>\", by which"), "{said}");
                continue;
            }
            bench.done(&questions_with(&name, markers));
            let row = bench.rows("out.jsonl").remove(0);
            let [prompt, hinted] =
                ["prompt", "posterior_prompt"].map(|field| row[field].as_str().unwrap().to_owned());
            for prompt in [&prompt, &hinted] {
                assert!(prompt.ends_with(open) && prompt.matches(open).count() == 1, "{name}: {prompt}");
            }
            assert!(hinted.contains("Two.") && !prompt.contains("Two."), "{name}: {hinted}");
            let before = hinted.split("The solution that has been kept").next().unwrap();
            assert!(prompt.starts_with(before), "{name}: {prompt}, {hinted}");
        }
    }
}

#[test]
fn an_evaluation_asks_as_the_recipe_does_or_as_the_template_does() {
    let bench = Bench::pretrained();
    let benchmark = r#"
title = "Own"
kind = "text"
k = 8
[source]
files = "q.jsonl"
[columns]
id = "id"
question = "question"
answer = "answer"
[sampling]
temperature = 1.0
max_new_tokens = 12
"#;
    bench.write("own.toml", benchmark);
    bench.write_rows("q.jsonl", &[json!({"id": "a", "question": "1 + 1?", "answer": "2", "kind": "text"})]);
    let evaluate = |template: &str, out: &str| {
        let command = "eval --bench own.toml --model own/model --system Brief. --template";
        let command: Vec<&str> = command.split(' ').chain([template, "--out", out]).collect();
        bench.done(&command);
        (bench.json(&format!("{out}/results.json"))["0"].clone(), bench.json(&format!("{out}/summary.json")))
    };
    let (opened, summary) = evaluate("chat_open", "opened");
    let questions =
        "questions --data q.jsonl --model own/model --reasoner chat --system Brief. --out rows.jsonl";
    bench.done(&questions.split(' ').collect::<Vec<_>>());
    assert_eq!(opened["prompt"], bench.rows("rows.jsonl")[0]["prompt"]);
    assert_eq!(
        (&summary["without_thought"], opened["prompt"].as_str().unwrap().ends_with("<think>\n")),
        (&json!(0), true)
    );
    let (own, summary) = evaluate("chat", "own-template");
    assert_eq!(own["prompt"], "system Brief. user 1 + 1? assistant ");
    let responses = own["responses"].as_array().unwrap();
    let is_at_once = |response: &&Value| !response["content"].as_str().unwrap().contains("think>");
    let at_once = responses.iter().filter(is_at_once).count();
    assert!(at_once > 0, "{own}");
    assert_eq!(summary["without_thought"], at_once);
    let is_unclosed = |response: &&Value| {
        let text = response["content"].as_str().unwrap();
        text.contains("<think>") && !text.contains("</think>")
    };
    assert_eq!(summary["unclosed"], responses.iter().filter(is_unclosed).count());
    let (code, said) =
        bench.run(&["eval", "--bench", "own.toml", "--model", "own/model", "--system", "x", "--out", "no"]);
    assert!(code == 2 && said.contains("--system: the template reasoner is no chat"), "{said}");
}

#[test]
fn a_conversation_can_begin_each_reply_with_a_thought() {
    let bench = Bench::pretrained();
    let plain = bench.path("plain");
    fs::create_dir(&plain).unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(bench.path("own/model").join(file), plain.join(file)).unwrap();
    }
    let (code, said) = bench.run(&["chat", "--model", "plain", "--open-thought"]);
    assert!(code == 2 && said.contains("plain has no chat template"), "{said}");
    let (code, said) = bench.run(&["chat", "--model", "own/model", "--markers", "{ open = \"a\" }"]);
    assert!(code == 2 && said.contains("--markers") && said.contains("missing field `close`"), "{said}");
    bench.done(&["chat", "--model", "own/model", "--open-thought", "--max-new-tokens", "4"]);
}

/// Adapters of q and pi on one base: neither folder holds the base's weights.
const ADAPTERS: [&str; 6] = [
    "posterior.refine.rounds=1",
    "posterior.refine.n=4",
    "posterior.refine.lora.rank=2",
    "final.lora={ rank = 4, alpha = 64 }",
    "final.learning_rate=0.05",
    "final.frozen=[\"lm_head\"]",
];

#[test]
fn adapters_are_trained_measured_merged_and_read_as_published() {
    let bench = Bench::pretrained();
    bench.done(&[&["run", "own/recipe.toml", "--run-dir", "r"], &ADAPTERS[..5]].concat());
    for stage in ["refinement-1/02-refined-posterior", "09-final"] {
        let is_there = |name: &str| bench.path(&format!("r/{stage}/{name}")).exists();
        assert!(is_there("adapter_model.safetensors") && is_there("tokenizer.json"), "{stage}");
        assert!(!is_there("model.safetensors"), "{stage}");
    }
    let scores = |model: &str, out: &str| {
        bench.done(&["score", "--model", model, "--data", "rows.jsonl", "--out", out]);
        bench.rows(out).remove(0)["logprobs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap())
            .collect()
    };
    bench.write_rows(
        "rows.jsonl",
        &[json!({"id": "a", "prompt": "user 1 2 assistant", "response": "apples 3 # 1"})],
    );
    let [base, adapted]: [Vec<f64>; 2] =
        [scores("own/model", "base.jsonl"), scores("r/09-final", "adapted.jsonl")];
    // What others take is whole: the run's own model, and one that is converted.
    bench.done(&["convert", "r/09-final", "merged"]);
    for model in ["r/model", "merged"] {
        assert!(bench.path(model).join("model.safetensors").exists());
        let merged: Vec<f64> = scores(model, "merged.jsonl");
        let differences = merged.iter().zip(&adapted).map(|(a, b)| (a - b).abs());
        assert!(differences.fold(0.0, f64::max) < 1e-5, "{model}: {merged:?} {adapted:?}");
    }
    assert!(base.iter().zip(&adapted).any(|(a, b)| (a - b).abs() > 1e-3), "{base:?} {adapted:?}");
    // A folder as PEFT publishes it has only the adapter; the rest is its base's, wherever that says it is.
    fs::create_dir(bench.path("published")).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        fs::copy(bench.path("r/09-final").join(name), bench.path("published").join(name)).unwrap();
    }
    assert_eq!(scores("published", "published.jsonl"), adapted);
    let command = "sample --model published --data rows.jsonl --out samples.jsonl --n 2 --max-new-tokens 4";
    bench.done(&command.split(' ').collect::<Vec<_>>());
    bench.done(&["chat", "--model", "published", "--max-new-tokens", "2"]);
    // Most of them name it by its id on the hub.
    let (config, commit) = (bench.path("published/adapter_config.json"), "0123456789".repeat(4));
    let named = fs::read_to_string(&config).unwrap();
    let mut fields: Value = serde_json::from_str(&named).unwrap();
    fields["base_model_name_or_path"] = json!("organisation/base");
    fs::write(&config, fields.to_string()).unwrap();
    let (code, said) = bench.run(&["score", "--model", "published", "--data", "rows.jsonl"]);
    assert!(code == 1 && said.contains("organisation/base is no model on this machine"), "{said}");
    bench.write("hub/models--organisation--base/refs/main", &commit);
    for entry in fs::read_dir(bench.path("own/model")).unwrap() {
        let (from, snapshot) =
            (entry.unwrap().path(), format!("hub/models--organisation--base/snapshots/{commit}"));
        fs::create_dir_all(bench.path(&snapshot)).unwrap();
        fs::copy(&from, bench.path(&snapshot).join(from.file_name().unwrap())).unwrap();
    }
    assert_eq!(scores("published", "of-the-hub.jsonl"), adapted);
    fs::write(&config, named).unwrap();
    // A base that has moved is asked for; one that has changed is another model.
    let moved = fs::read_to_string(&config).unwrap().replace("own/model", "own/moved");
    fs::write(&config, moved).unwrap();
    let (code, said) = bench.run(&["score", "--model", "published", "--data", "rows.jsonl"]);
    assert!(
        code == 1 && said.contains("`base_model_name_or_path`: expected the folder of the base model"),
        "{said}"
    );
    let (code, said) = bench.run(&["export", "r", "--format", "trl", "--out", "exported"]);
    assert!(code == 1 && said.contains("which is not exported"), "{said}");
    let (code, said) = bench.run(&["convert", "r/09-final", "x.gguf"]);
    assert!(code == 1 && said.contains("latrace convert ADAPTER OUT"), "{said}");
}

#[test]
fn recipes_with_adapters_that_cannot_be_trained_are_refused_at_once() {
    let bench = Bench::pretrained();
    bench.done(&[&["run", "own/recipe.toml", "--dry-run"], &ADAPTERS[..5]].concat());
    let frozen = [&["run", "own/recipe.toml", "--dry-run"], &ADAPTERS[..]].concat();
    bench.done(&frozen);
    let lora = "final.lora.rank=4";
    bench.dry_run_refused(
        &[lora, "engine.train=torchrun"],
        &["final.lora: only the built-in engine takes adapters"],
    );
    bench.dry_run_refused(
        &[lora, "engine.generate=servers"],
        &["final.lora: only the built-in engine takes adapters"],
    );
    bench.dry_run_refused(
        &["final.frozen=[\"model\"]", "engine.train=manual"],
        &["final.frozen: only the built-in"],
    );
    bench.dry_run_refused(&["final.lora.rang=4"], &["unknown key \"final.lora.rang\"", "\"rank\""]);
    bench.dry_run_refused(&["final.lora.rank=0"], &["final.lora.rank: expected from 1 to 4096, got 0"]);
    let both = [&ADAPTERS[..3], &["posterior.train=true", "posterior.rows=samples", "posterior.lora.rank=4"]]
        .concat();
    bench.dry_run_refused(&both, &["posterior.refine.lora: starts from the adapter of posterior"]);
    // On the command line of a training alone, too.
    let rows = [json!({"id": "a", "prompt": "user 1", "response": "2 3"})];
    bench.write_rows("rows.jsonl", &rows);
    let train = ["train", "--model", "own/model", "--data", "rows.jsonl", "--out", "adapter"];
    let (code, said) = bench.run(&[&train[..], &["lora.targets=[\"c_attn\"]"]].concat());
    assert!(code != 0 && said.contains("lora.targets: expected names among q_proj"), "{said}");
    assert!(!bench.path("adapter").exists());
    bench.done(&[&train[..], &["lora.rank=2", "lora.rslora=true", "max_steps=1"]].concat());
    assert!(bench.path("adapter/adapter_model.safetensors").exists());
}
