//! No chat template and no conversation makes rendering panic.
#![no_main]

use latrace_core::{ChatTemplate, Message, PromptTemplate};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|texts: (&str, &str, &str)| {
    let (source, system, answer) = texts;
    // Loops in loops are the template's own business, and there is no bound on their work.
    if source.matches("for").count() > 2 {
        return;
    }
    let messages =
        [Message::new("system", system), Message::new("user", "q"), Message::new("assistant", answer)];
    if let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") {
        let _ = template.render(&messages, true);
        let _ = template.split(&messages);
    }
    let _ = PromptTemplate::new(source);
});
