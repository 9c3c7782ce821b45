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
    let message = |role: &str, content: &str| Message { role: role.to_owned(), content: content.to_owned() };
    let messages = [message("system", system), message("user", "q"), message("assistant", answer)];
    if let Ok(template) = ChatTemplate::new(source, "<s>", "</s>") {
        let _ = template.render(&messages, true);
        let _ = template.split(&messages);
    }
    let _ = PromptTemplate::new(source);
});
