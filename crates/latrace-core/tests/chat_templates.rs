//! Chat templates render as Jinja2 renders them in the environment of transformers: `oracle/chat_goldens.py`.

use std::collections::BTreeMap;

use latrace_core::{ChatTemplate, Message};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    date: String,
    bos_token: String,
    eos_token: String,
    templates: BTreeMap<String, String>,
    conversations: BTreeMap<String, Vec<Message>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    template: String,
    conversation: String,
    add_generation_prompt: bool,
    /// None where the template refuses the conversation.
    rendered: Option<String>,
}

#[test]
fn templates_render_as_jinja2_renders_them() {
    let golden: Golden = serde_json::from_str(include_str!("golden/chat.json")).unwrap();
    let mut differing = Vec::new();
    for case in &golden.cases {
        let messages = &golden.conversations[&case.conversation];
        let render = || {
            let source = &golden.templates[&case.template];
            let mut template = ChatTemplate::new(source, &golden.bos_token, &golden.eos_token)?;
            template.set_date(golden.date.parse()?);
            template.render(messages, case.add_generation_prompt)
        };
        let got = render();
        if got.as_ref().ok() != case.rendered.as_ref() {
            let Case { template, conversation, rendered, .. } = case;
            differing
                .push(format!("{template}, {conversation}:\n  expected {rendered:?}\n  got      {got:?}"));
        }
    }
    assert!(
        differing.is_empty(),
        "{} of {} differ\n{}",
        differing.len(),
        golden.cases.len(),
        differing.join("\n")
    );
}
