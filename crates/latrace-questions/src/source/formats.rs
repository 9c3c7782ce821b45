//! Formats of question rows: ours, GSM8K's, conversations.

use latrace_core::{Markers, Message, Question, Turn};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use latrace_io::rows::{FieldProblem, Row, describe, field};

/// How a file's rows become questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `question` with optional further fields; or a ready-made `prompt` with optional `posterior_prompt` and
    /// `response` (a marked thought, then the answer); or `messages`, a chat whose last message is such a
    /// response.
    Rows,
    /// GSM8K: `answer` is a worked solution that ends in `#### NUMBER`.
    Gsm8k,
    /// `system` and `conversations` (`from`, `value`), the last of which is a marked thought, then the answer
    /// (Bespoke-Stratos).
    Conversations,
}

/// Splits a chat into prompt and response, using the model's chat template.
pub type SplitChat<'a> = &'a dyn Fn(&[Message]) -> Result<Turn, FieldProblem>;

impl Format {
    /// The question of a row that has an `id`.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    pub fn question(
        self,
        row: Row,
        markers: &Markers,
        chat: Option<SplitChat<'_>>,
    ) -> Result<Question, FieldProblem> {
        match self {
            Format::Rows => of_row(row, markers, chat),
            Format::Gsm8k => gsm8k(row),
            Format::Conversations => conversation(row, markers),
        }
    }
}

fn of_row(mut row: Row, markers: &Markers, chat: Option<SplitChat<'_>>) -> Result<Question, FieldProblem> {
    if let Some(messages) = row.shift_remove("messages") {
        let messages: Vec<Message> = serde_json::from_value(messages)
            .map_err(|error| FieldProblem::new("messages", "a chat", error.to_string()))?;
        if let Some(split) = chat {
            let turn = split(&messages)?;
            row.insert("prompt".to_owned(), json!(format!("{}{}", turn.prompt, markers.open)));
            row.insert("response".to_owned(), json!(turn.response));
        }
        let asked = messages
            .iter()
            .rev()
            .find(|message| message.role == "user")
            .map(|message| message.content.clone());
        row.entry("question").or_insert_with(|| json!(asked.unwrap_or_default()));
    }
    // An explicit trace takes precedence over the response, which would only repeat it.
    if let Some(response) = row.shift_remove("response").filter(|_| field(&row, "trace").is_none()) {
        let response = match response {
            Value::String(text) => text,
            other => return Err(FieldProblem::new("response", "a text", describe(&other))),
        };
        add_response(&mut row, &response, markers)?;
    }
    if let Some(prompt) = row.get("prompt").cloned() {
        row.entry("question").or_insert(prompt);
    }
    for name in ["answer", "id", "difficulty"] {
        // Numbers are kept as text, exactly as written.
        if let Some(number @ Value::Number(_)) = row.get(name) {
            let text = json!(number.to_string());
            row.insert(name.to_owned(), text);
        }
    }
    if field(&row, "question").is_none() {
        return Err(FieldProblem::new("question", "a text (or \"prompt\", or \"messages\")", "nothing"));
    }
    let parse = |row: Row| serde_json::from_value::<Question>(Value::Object(row));
    parse(row.clone()).map_err(|error| {
        // The error does not name the field, so each is parsed alone with an id to find the one that fails.
        let wrong = row
            .into_iter()
            .find(|(name, value)| parse(Row::from_iter([(name.clone(), value.clone())])).is_err());
        let (name, got) = wrong
            .map_or(("question".to_owned(), error.to_string()), |(name, value)| (name, describe(&value)));
        FieldProblem::new(name, "a value as described in `latrace questions --help`", got)
    })
}

/// Splits a marked response into trace and solution.
fn add_response(row: &mut Row, response: &str, markers: &Markers) -> Result<(), FieldProblem> {
    let Some((trace, answer)) = markers.split(response) else {
        let expected = format!("a thought that ends with {:?}, then the answer", markers.close.trim());
        return Err(FieldProblem::new(
            "response",
            expected,
            format!("{} characters without it", response.chars().count()),
        ));
    };
    row.insert("trace".to_owned(), json!(trace));
    row.insert("solution".to_owned(), json!(answer));
    Ok(())
}

fn gsm8k(row: Row) -> Result<Question, FieldProblem> {
    let text = |name: &str| match field(&row, name) {
        Some(Value::String(text)) => Ok(text.clone()),
        other => Err(FieldProblem::new(name, "a text", other.map_or("nothing".to_owned(), describe))),
    };
    let worked = text("answer")?;
    let Some((work, answer)) = worked.rsplit_once("####") else {
        return Err(FieldProblem::new(
            "answer",
            "a solution that ends in \"#### NUMBER\"",
            describe(&json!(worked)),
        ));
    };
    let answer = answer.trim().to_owned();
    Ok(Question {
        id: text("id")?,
        question: text("question")?,
        trace: Some(without_calculator(work.trim())),
        solution: Some(format!("The answer is \\boxed{{{answer}}}.")),
        answer: Some(answer),
        source: Some("gsm8k".to_owned()),
        ..Question::default()
    })
}

/// Removes calculator annotations, `<<48/2=24>>`.
fn without_calculator(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<<") {
        kept.push_str(before);
        rest = after.split_once(">>").map_or("", |(_, after)| after);
    }
    kept + rest
}

fn conversation(mut row: Row, markers: &Markers) -> Result<Question, FieldProblem> {
    let turns = match row.shift_remove("conversations") {
        Some(Value::Array(turns)) => turns,
        other => {
            return Err(FieldProblem::new(
                "conversations",
                "a list of turns",
                other.as_ref().map_or("nothing".to_owned(), describe),
            ));
        }
    };
    let value = |who: &[&str]| {
        turns
            .iter()
            .rev()
            .find(|turn| turn["from"].as_str().is_some_and(|from| who.contains(&from)))
            .and_then(|turn| turn["value"].as_str())
    };
    let (Some(asked), Some(response)) = (value(&["user", "human"]), value(&["assistant", "gpt"])) else {
        return Err(FieldProblem::new(
            "conversations",
            "a turn of the user and one of the assistant",
            format!("{} turns", turns.len()),
        ));
    };
    let system = row.shift_remove("system").and_then(|system| system.as_str().map(str::to_owned));
    row.entry("prompt").or_insert_with(|| {
        json!(format!(
            "{}{asked}\n\n{}",
            system.map_or(String::new(), |system| format!("{system}\n\n")),
            markers.open
        ))
    });
    row.insert("question".to_owned(), json!(asked));
    add_response(&mut row, response, markers)?;
    of_row(row, markers, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: Value) -> Row {
        value.as_object().unwrap().clone()
    }

    fn read(format: Format, family: &str, value: Value) -> Result<Question, FieldProblem> {
        format.question(row(value), &Markers::named(family).unwrap(), None)
    }

    #[test]
    fn gsm8k_rows_are_worked_solutions() {
        let question = read(
            Format::Gsm8k,
            "think",
            json!({"id": "g", "question": "q", "answer": "Half: 48/2=<<48/2=24>>24.\n#### 1,024"}),
        )
        .unwrap();
        assert_eq!(question.trace.as_deref(), Some("Half: 48/2=24."));
        assert_eq!(question.solution.as_deref(), Some("The answer is \\boxed{1,024}."));
        assert_eq!(question.answer.as_deref(), Some("1,024"));
        let error = read(Format::Gsm8k, "think", json!({"id": "g", "question": "q", "answer": "24"}))
            .unwrap_err()
            .to_string();
        assert!(error.contains("field \"answer\": expected a solution that ends in"), "{error}");
    }

    #[test]
    fn conversations_are_split_at_their_markers() {
        let response = "<|begin_of_thought|>\n\nwhy\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n42\n\n<|end_of_solution|>";
        let turns = json!([{"from": "user", "value": "q?"}, {"from": "assistant", "value": response}]);
        let question = read(
            Format::Conversations,
            "stratos",
            json!({"id": "c", "system": "be kind", "conversations": turns}),
        )
        .unwrap();
        assert_eq!((question.trace.as_deref(), question.solution.as_deref()), (Some("why"), Some("42")));
        assert_eq!(question.prompt.as_deref(), Some("be kind\n\nq?\n\n<|begin_of_thought|>\n\n"));
        let turns = json!([{"from": "user", "value": "q?"}, {"from": "assistant", "value": "42"}]);
        assert!(read(Format::Conversations, "stratos", json!({"id": "c", "conversations": turns})).is_err());
    }

    #[test]
    fn rows_with_ready_made_prompts() {
        let question =
            read(Format::Rows, "think", json!({"id": 7, "prompt": "p <think>\n", "posterior_prompt": "pp", "response": "<think>\nz\n</think>\n\ny"})).unwrap();
        assert_eq!(
            (question.id.as_str(), question.question.as_str(), question.posterior_prompt.as_deref()),
            ("7", "p <think>\n", Some("pp"))
        );
        assert_eq!((question.trace.as_deref(), question.solution.as_deref()), (Some("z"), Some("y")));
    }

    #[test]
    fn wrong_fields_are_named() {
        let error = read(Format::Rows, "think", json!({"id": "a", "question": "q", "trace": 3}))
            .unwrap_err()
            .to_string();
        assert!(error.contains("field \"trace\""), "{error}");
        let error = read(Format::Rows, "think", json!({"id": "a"})).unwrap_err().to_string();
        assert!(error.contains("field \"question\""), "{error}");
    }
}
