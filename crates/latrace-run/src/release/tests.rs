use latrace_core::{Markers, Message, PromptTemplate, Question};
use latrace_questions::tasks::Task;

use super::*;
use crate::plan::Template;
use crate::stages::model::write_shape;

#[test]
fn generation_settings_are_the_sampling_and_back() {
    for params in [
        SamplingParams { temperature: 0.7, top_p: 0.95, top_k: 20, min_p: 0.05, max_new_tokens: 64 },
        SamplingParams::plain(8),
        SamplingParams { temperature: 0.0, ..SamplingParams::plain(8) },
    ] {
        let text = serde_json::to_string(&Generation::new(params, vec![3, 4])).unwrap();
        let read: Generation = serde_json::from_str(&text).unwrap();
        assert_eq!(read.params(), params, "{text}");
        assert_eq!(text.contains("temperature"), params.temperature > 0.0, "{text}");
    }
    let text = serde_json::to_string(&Generation::new(SamplingParams::plain(8), vec![3])).unwrap();
    assert!(text.contains("\"temperature\":1.0"), "{text}");
}

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}\
                      {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// A model folder with the walk's tokenizer and a chat template, as text and ids.
fn codec(folder: &Path, template: &str) -> TextCodec {
    let shape = r#"{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 8, "intermediate_size": 8,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 8,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "rope_theta": 1000.0, "tie_word_embeddings": true}"#;
    write_shape(folder, serde_json::from_str(shape).unwrap(), &Task::Walk.tokenizer()).unwrap();
    fs::write(folder.join("chat_template.jinja"), template).unwrap();
    TextCodec::open(folder, &ModelShape::read(folder).unwrap()).unwrap()
}

/// Whether the chat template of a released model gives the prompt of the training, for a question and its box.
#[track_caller]
fn check(settings: &[&str], base: &str, question: &str, expected: &str) {
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/quickstart.toml");
    let settings: Vec<String> = settings.iter().map(|&setting| setting.to_owned()).collect();
    let mut recipe = RunRecipe::read(&recipe, &settings).unwrap();
    // As of rows in a file: the walk asks for no box.
    recipe.questions.kind = "math".to_owned();
    let folder = tempfile::tempdir().unwrap();
    let trained = codec(folder.path(), base);
    let template = chat_template::of(&recipe, &trained).unwrap().unwrap();

    let prompts = &recipe.prompts;
    let prompting = Template::named("prompts.reasoner", &prompts.reasoner, &prompts.system);
    let prompting = prompting.unwrap().compile().unwrap();
    let markers = prompts.markers.markers("prompts.markers").unwrap();
    let row = serde_json::json!({"id": "a", "question": question});
    let asked: Question = serde_json::from_value(row).unwrap();
    let prompt = prompting.prompt(&asked, None, true, &markers, Some(&trained)).unwrap().text;
    let released = codec(folder.path(), &template).prompt(&[Message::new("user", question)]).unwrap();
    assert_eq!(released, prompt, "{template}");
    assert_eq!(released, expected);
}

#[test]
fn the_chat_template_makes_the_prompts_of_the_training() {
    check(&[], CHATML, "1 99", "1 99 <think>");
    let think = ["prompts.reasoner=chat", "prompts.markers=think"];
    let boxed = "\n\nGive the final answer in \\boxed{}.";
    let turn =
        |content: &str| format!("<|im_start|>user\n{content}<|im_end|>\n<|im_start|>assistant\n<think>\n");
    check(&think, CHATML, "1 + 1?", &turn(&format!("1 + 1?{boxed}")));
    check(&think, CHATML, "Answer in \\boxed{}.", &turn("Answer in \\boxed{}."));
    let with_system = [&think[..], &["prompts.system=Say 'it'\nin \"short\"."]].concat();
    let system = "<|im_start|>system\nSay 'it'\nin \"short\".<|im_end|>\n";
    check(&with_system, CHATML, "q", &format!("{system}{}", turn(&format!("q{boxed}"))));
    // A template that opens the thought itself.
    let opens = CHATML.replace("assistant\n'", "assistant\n<think>\n'");
    check(&think, &opens, "q", &turn(&format!("q{boxed}")));
    let reasoner = ["prompts.reasoner=reasoner", "prompts.markers=stratos"];
    let of_training = PromptTemplate::new(PromptTemplate::built_in("reasoner").unwrap()).unwrap();
    let expected = of_training.render("é \"1\"?", None, true, &Markers::named("stratos").unwrap()).unwrap();
    check(&reasoner, CHATML, "é \"1\"?", &expected);
}

#[test]
fn a_run_without_a_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = released_model(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("has no trained model"), "{error}");
}
