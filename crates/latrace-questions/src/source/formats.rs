//! Formats of question rows: ours, GSM8K's, conversations.

use latrace_core::{Markers, Message, Question};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use latrace_io::rows::{FieldProblem, Row, describe, field, messages_in, not_a_text, number_text, text_of};

use super::answer_rule::HASHES;

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

/// The fields of a question that a row may have as they are, each with what published data sets call it.
const QUESTION_FIELDS: [(&str, &[&str]); 13] = [
    ("id", &["idx", "index", "problem_id", "question_id", "unique_id", "task_id", "uuid"]),
    ("question", &["problem", "query", "instruction", "input", "task", "prompt_text"]),
    (
        "trace",
        &["reasoning", "thinking", "thought", "rationale", "cot", "chain_of_thought", "reasoning_content"],
    ),
    ("solution", &["explanation", "worked_solution"]),
    (
        "answer",
        &[
            "gold",
            "target",
            "final_answer",
            "expected_answer",
            "reference_answer",
            "ground_truth",
            "label",
            "output",
            "answerKey",
        ],
    ),
    ("hint", &[]),
    ("kind", &[]),
    ("tests", &["test_cases", "input_output", "test_list"]),
    ("options", &["choices"]),
    ("source", &[]),
    ("difficulty", &["level"]),
    ("prompt", &[]),
    ("posterior_prompt", &[]),
];

/// The fields of questions that published data sets call otherwise, with their names there.
pub fn field_synonyms() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    QUESTION_FIELDS.into_iter().filter(|(_, others)| !others.is_empty())
}

/// The text of a chat up to where the assistant writes, by the model's chat template.
pub type RenderChat<'a> = &'a dyn Fn(&[Message]) -> Result<String, FieldProblem>;

impl Format {
    /// The fields of rows that are read in this format.
    #[must_use]
    pub fn fields(self) -> Vec<&'static str> {
        let of_question = QUESTION_FIELDS.map(|(field, _)| field);
        match self {
            Format::Rows => [&of_question[..], &["response", "messages", "limits"]].concat(),
            Format::Gsm8k => vec!["id", "question", "answer"],
            Format::Conversations => [&of_question[..], &["system", "conversations", "limits"]].concat(),
        }
    }

    /// The question of a row that has an `id`.
    ///
    /// # Errors
    /// Names the field, what was expected and what was found.
    pub fn question(
        self,
        row: Row,
        markers: &Markers,
        chat: Option<RenderChat<'_>>,
    ) -> Result<Question, FieldProblem> {
        match self {
            Format::Rows => of_row(row, markers, chat),
            Format::Gsm8k => gsm8k(row),
            Format::Conversations => conversation(row, markers),
        }
    }
}

/// The text of the question of a row in any of the formats, which need have nothing else.
pub(super) fn question_text(row: &Row) -> Result<String, FieldProblem> {
    let named = ["question", "prompt"].into_iter().find_map(|name| field(row, name)?.as_str());
    let of_turns = || last_turn(field(row, "conversations")?.as_array()?, ["user", "human"]);
    let of_chat = || {
        let turns = field(row, "messages")?.as_array()?;
        turns.iter().rfind(|turn| turn["role"] == "user")?["content"].as_str()
    };
    let missing = || {
        FieldProblem::new("question", "a text (or \"prompt\", \"conversations\", \"messages\")", "nothing")
    };
    named.or_else(of_turns).or_else(of_chat).map(str::to_owned).ok_or_else(missing)
}

fn of_row(mut row: Row, markers: &Markers, chat: Option<RenderChat<'_>>) -> Result<Question, FieldProblem> {
    // The chat first: the response that it holds is then taken apart like any other.
    let is_chat = replace_chat(&mut row, markers, chat)?;
    replace_response(&mut row, markers)?;
    if let Some(prompt) = row.get("prompt").cloned() {
        row.entry("question").or_insert(prompt);
    }
    unpack_answer(&mut row)?;
    numbers_to_texts(&mut row);
    check_not_empty(&row)?;
    if field(&row, "question").is_none() {
        return Err(lacking(&row, "question", "a text (or \"prompt\", or \"messages\")"));
    }
    Ok(Question { prompt_is_chat: is_chat, ..parse(row)? })
}

/// The problem of a row that does not have a field: under what names its columns are.
fn lacking(row: &Row, name: &str, expected: &str) -> FieldProblem {
    // A row without an id has been given one.
    let columns: Vec<&str> = row.keys().map(String::as_str).filter(|column| *column != "id").collect();
    let example = columns.first().copied().unwrap_or("NAME");
    let columns = if columns.is_empty() { "no columns".to_owned() } else { columns.join(", ") };
    FieldProblem::new(name, expected, format!("nothing: the row has {columns}")).hint(format!(
        "questions.columns (--column of verbs) says which column it is, such as columns = {{ {name} = \"{example}\" }}"
    ))
}

/// The text of a field that a row must have.
fn own_text<'a>(row: &'a Row, name: &str) -> Result<&'a str, FieldProblem> {
    if field(row, name).is_none() { Err(lacking(row, name, "a text")) } else { text_of(row, name) }
}

/// Replaces `messages` by prompt, thought, answer and question; says whether the prompt is a chat now.
fn replace_chat(
    row: &mut Row,
    markers: &Markers,
    chat: Option<RenderChat<'_>>,
) -> Result<bool, FieldProblem> {
    let Some(messages) = row.shift_remove("messages").filter(|messages| !messages.is_null()) else {
        return Ok(false);
    };
    let messages = messages_in(&messages)?;
    row.entry("question").or_insert_with(|| json!(last_question(&messages)));
    let Some(render) = chat else { return Ok(false) };
    let (last, before) =
        messages.split_last().filter(|(last, _)| last.role == "assistant").ok_or_else(|| {
            let got =
                messages.last().map_or("none".to_owned(), |last| format!("one of role \"{}\"", last.role));
            FieldProblem::new("messages", "a last message of the assistant", got)
        })?;
    let prompt = render(before)?;
    // The assistant's turn begins with a thought, which some templates open themselves.
    let prompt = format!("{}{}", markers.before_thought(&prompt), markers.open);
    row.insert("prompt".to_owned(), json!(prompt));
    // The message itself, not as the template renders it: its end marker is no part of the answer.
    match &last.reasoning_content {
        // A trace of its own comes before that of the chat.
        Some(_) if field(row, "trace").is_some() => {}
        Some(thought) => {
            let answer = markers.split(&last.content).map_or(last.content.trim(), |(_, answer)| answer);
            row.insert("trace".to_owned(), json!(thought.trim()));
            row.insert("solution".to_owned(), json!(answer));
        }
        None => drop(row.insert("response".to_owned(), json!(last.content))),
    }
    Ok(true)
}

fn last_question(messages: &[Message]) -> &str {
    messages.iter().rfind(|message| message.role == "user").map_or("", |message| &message.content)
}

/// Replaces `response` by trace and solution, unless the row has a trace: an explicit one takes precedence
/// over the response, which would only repeat it.
fn replace_response(row: &mut Row, markers: &Markers) -> Result<(), FieldProblem> {
    let response = row.shift_remove("response").filter(|_| field(row, "trace").is_none());
    match response {
        None => Ok(()),
        Some(Value::String(text)) => add_response(row, &text, markers),
        Some(other) => Err(FieldProblem::new("response", "a text", describe(&other))),
    }
}

/// Splits a marked response into trace and solution.
fn add_response(row: &mut Row, response: &str, markers: &Markers) -> Result<(), FieldProblem> {
    let (trace, answer) = markers.split(response).ok_or_else(|| unmarked(response, markers))?;
    row.insert("trace".to_owned(), json!(trace));
    row.insert("solution".to_owned(), json!(answer));
    Ok(())
}

fn unmarked(response: &str, markers: &Markers) -> FieldProblem {
    let expected = format!("a thought that ends with {:?}, then the answer", markers.close.trim());
    FieldProblem::new("response", expected, format!("{} without it", describe(&json!(response)))).hint(
        "prompts.markers says what ends a thought; rows without one have an `answer` in place of a response",
    )
}

/// Our fields are texts, but files often store them as numbers.
fn numbers_to_texts(row: &mut Row) {
    for name in ["answer", "id", "difficulty"] {
        let Some(value) = row.get_mut(name) else { continue };
        if let Some(number) = number_text(value) {
            *value = json!(number);
        }
    }
}

/// An answer in a list of its own is read as that answer. Several may be ways to write one, or parts of one: a row
/// that has a list has to say which.
fn unpack_answer(row: &mut Row) -> Result<(), FieldProblem> {
    let Some(Value::Array(answers)) = row.get_mut("answer") else { return Ok(()) };
    match answers.as_mut_slice() {
        [answer] => {
            let answer = answer.take();
            row.insert("answer".to_owned(), answer);
            Ok(())
        }
        several => {
            let got = format!("a list of {}", several.len());
            let problem =
                FieldProblem::new("answer", "one answer: a text, a number, or a list of one of them", got);
            Err(problem.hint("join the parts of an answer to one text, such as \"1, 2\"; of several ways to write it, keep one"))
        }
    }
}

/// A question or an answer of nothing but white space is none: its prompt would ask nothing, and no answer equals it.
fn check_not_empty(row: &Row) -> Result<(), FieldProblem> {
    let is_empty =
        |name: &str| row.get(name).and_then(Value::as_str).is_some_and(|text| text.trim().is_empty());
    if is_empty("question") {
        return Err(FieldProblem::new("question", "a text", "an empty one").hint("leave the row out"));
    }
    if is_empty("answer") {
        let problem = FieldProblem::new("answer", "the reference answer", "an empty text");
        return Err(problem.hint(
            "leave the row out; only one with a `solution` or `tests` needs no answer, and then write null",
        ));
    }
    Ok(())
}

fn parse(row: Row) -> Result<Question, FieldProblem> {
    serde_json::from_value(Value::Object(row.clone())).map_err(|error| wrong_field(row, &error))
}

/// serde's error does not name the field, so each is parsed alone to find the one that fails.
fn wrong_field(row: Row, error: &serde_json::Error) -> FieldProblem {
    let fails = |(name, value): &(String, Value)| {
        let alone = Row::from_iter([(name.clone(), value.clone())]);
        serde_json::from_value::<Question>(Value::Object(alone)).is_err()
    };
    match row.into_iter().find(fails) {
        Some((name, value)) => of_wrong(&name, &value),
        None => FieldProblem::new("question", "a row of a question", error.to_string()),
    }
}

fn of_wrong(name: &str, value: &Value) -> FieldProblem {
    let problem = not_a_text(name, expected_in(name), Some(value));
    match value {
        Value::Array(values) => match values.iter().find(|value| !value.is_string()) {
            Some(other) => {
                FieldProblem::new(name, expected_in(name), format!("a list with {}", describe(other)))
            }
            None => problem,
        },
        // Bytes and long numbers, which are objects in memory, have hints and names of their own.
        Value::Object(_) if describe(value) == describe(&json!({})) => problem.hint(format!(
            "of what is within it, questions.columns takes a template: {name} = \"{{{{ {name}.NAME }}}}\""
        )),
        _ => problem,
    }
}

fn expected_in(name: &str) -> &'static str {
    match name {
        "options" => "a list of texts",
        "answer" | "id" | "difficulty" => "a text or a number",
        _ => "a text",
    }
}

fn gsm8k(row: Row) -> Result<Question, FieldProblem> {
    let (work, answer) = worked_solution(own_text(&row, "answer")?)?;
    Ok(Question {
        id: text_of(&row, "id")?.to_owned(),
        question: own_text(&row, "question")?.to_owned(),
        trace: Some(without_calculator(work)),
        // In a box, as prompts ask of mathematics; the data ends in the bare number.
        solution: Some(format!("The answer is \\boxed{{{answer}}}.")),
        answer: Some(answer.to_owned()),
        source: Some("gsm8k".to_owned()),
        ..Question::default()
    })
}

/// The working of a GSM8K solution, and its answer.
fn worked_solution(text: &str) -> Result<(&str, &str), FieldProblem> {
    let expected = "a solution that ends in \"#### NUMBER\"";
    // The last mark: the working before it may be any text.
    match text.rsplit_once(HASHES) {
        Some((work, answer)) => Ok((work.trim(), answer.trim())),
        None => Err(FieldProblem::new("answer", expected, describe(&json!(text)))),
    }
}

/// Removes calculator annotations, `<<48/2=24>>`.
fn without_calculator(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<<") {
        kept.push_str(before);
        // One that does not end takes the rest of the text with it.
        rest = after.split_once(">>").map_or("", |(_, after)| after);
    }
    kept + rest
}

fn conversation(mut row: Row, markers: &Markers) -> Result<Question, FieldProblem> {
    let turns = take_turns(&mut row)?;
    let (Some(asked), Some(response)) =
        (last_turn(&turns, ["user", "human"]), last_turn(&turns, ["assistant", "gpt"]))
    else {
        let expected = "a turn of the user and one of the assistant";
        return Err(FieldProblem::new("conversations", expected, format!("{} turns", turns.len())));
    };
    let system = row.get("system").and_then(Value::as_str).unwrap_or_default();
    let prompt = conversation_prompt(system, asked, markers);
    row.entry("prompt").or_insert_with(|| json!(prompt));
    row.insert("question".to_owned(), json!(asked));
    add_response(&mut row, response, markers)?;
    of_row(row, markers, None)
}

fn take_turns(row: &mut Row) -> Result<Vec<Value>, FieldProblem> {
    let wrong = |got: String| FieldProblem::new("conversations", "a list of turns", got);
    match row.shift_remove("conversations") {
        Some(Value::Array(turns)) => Ok(turns),
        Some(other) => Err(wrong(describe(&other))),
        None => Err(lacking(row, "conversations", "a list of turns")),
    }
}

/// What stands in for a conversation where the model has no chat template: system message, question, and where the
/// trace begins.
pub fn conversation_prompt(system: &str, asked: &str, markers: &Markers) -> String {
    let system = if system.is_empty() { String::new() } else { format!("{system}\n\n") };
    format!("{system}{asked}\n\n{}", markers.open)
}

/// The text of the last turn of one of `speakers`. Data sets differ in what they call each.
fn last_turn<'a>(turns: &'a [Value], speakers: [&str; 2]) -> Option<&'a str> {
    let is_theirs = |turn: &&Value| turn["from"].as_str().is_some_and(|from| speakers.contains(&from));
    turns.iter().rfind(is_theirs)?["value"].as_str()
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

    /// A row in a format, with every field that it may have but those that `without` names.
    fn whole_row(format: Format, without: &str) -> Row {
        let response = "<think>\nz\n</think>\n\ny";
        let turns = json!([{"from": "user", "value": "q?"}, {"from": "assistant", "value": response}]);
        let mut row = row(json!({
            "id": "a", "question": "q", "solution": "s", "answer": "1", "hint": "h", "kind": "math", "tests": "t",
            "options": ["x", "y"], "source": "o", "difficulty": "1", "prompt": "p", "posterior_prompt": "pp",
            "limits": {"time_s": 1},
        }));
        match format {
            Format::Rows => row.extend([("response".to_owned(), json!(response))]),
            Format::Gsm8k => row.extend([("answer".to_owned(), json!("work\n#### 1"))]),
            Format::Conversations => {
                row.extend([("system".to_owned(), json!("s")), ("conversations".to_owned(), turns)]);
                row.shift_remove("prompt");
            }
        }
        row.shift_remove(without);
        row
    }

    /// What is read of a row: its question without what is only kept, but for the limits of a program.
    fn what_is_read(format: Format, row: Row) -> Option<Question> {
        let mut question = format.question(row, &Markers::named("think").unwrap(), None).ok()?;
        question.rest.retain(|name, _| name == "limits");
        Some(question)
    }

    #[test]
    fn the_fields_of_a_format_are_those_that_are_read() {
        // Without `..Default`: a field that joins the question has to join the list.
        let whole = Question {
            id: String::new(),
            question: String::new(),
            trace: Some(String::new()),
            solution: Some(String::new()),
            answer: Some(String::new()),
            hint: Some(String::new()),
            kind: Some(String::new()),
            tests: Some(json!("")),
            options: Some(Vec::new()),
            source: Some(String::new()),
            difficulty: Some(String::new()),
            prompt: Some(String::new()),
            posterior_prompt: Some(String::new()),
            prompt_is_chat: false,
            rest: Row::new(),
        };
        let mut fields = json!(whole).as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        fields.sort_unstable();
        let mut listed = QUESTION_FIELDS.map(|(field, _)| field.to_owned()).to_vec();
        listed.sort_unstable();
        assert_eq!(fields, listed);
        for format in [Format::Rows, Format::Gsm8k, Format::Conversations] {
            let whole = what_is_read(format, whole_row(format, "")).unwrap();
            for name in whole_row(format, "").keys() {
                // A conversation has a question, and a response comes with a solution: theirs come first.
                let hidden = format == Format::Conversations && name == "question"
                    || format != Format::Gsm8k && name == "solution";
                let is_read =
                    what_is_read(format, whole_row(format, name)).is_none_or(|other| other != whole);
                assert_eq!(is_read, !hidden && format.fields().contains(&name.as_str()), "{format:?} {name}");
            }
        }
        // What excludes the others above.
        for (name, value) in
            [("trace", json!("own")), ("messages", json!([{"role": "user", "content": "m"}]))]
        {
            assert!(Format::Rows.fields().contains(&name));
            let mut with = whole_row(Format::Rows, "question");
            let before = what_is_read(Format::Rows, with.clone());
            with.insert(name.to_owned(), value);
            assert_ne!(what_is_read(Format::Rows, with), before, "{name}");
        }
    }

    #[test]
    fn a_row_without_a_field_names_its_columns() {
        let check = |format: Format, value: Value, expected: &str| {
            let problem = read(format, "think", value).unwrap_err();
            assert_eq!(problem.to_string(), expected);
            assert!(problem.its_hint().is_some_and(|hint| hint.contains("columns = { ")), "{problem:?}");
        };
        check(
            Format::Rows,
            json!({"id": "a", "problem": "1 + 1", "gold": "2"}),
            "field \"question\": expected a text (or \"prompt\", or \"messages\"), got nothing: the row has problem, gold",
        );
        check(
            Format::Gsm8k,
            json!({"id": "a", "question": "q", "solution": "2"}),
            "field \"answer\": expected a text, got nothing: the row has question, solution",
        );
        check(
            Format::Conversations,
            json!({"id": "a"}),
            "field \"conversations\": expected a list of turns, got nothing: the row has no columns",
        );
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

    #[track_caller]
    fn check_refused(value: Value, expected: &str, hint: &str) {
        let problem = read(Format::Rows, "think", value).unwrap_err();
        assert_eq!(problem.to_string(), expected);
        assert!(problem.its_hint().is_some_and(|its| its.contains(hint)), "{problem:?}");
    }

    #[test]
    fn answers_in_lists_and_empty_texts_are_read_or_named() {
        let of = |answer: Value| {
            read(Format::Rows, "think", json!({"id": "a", "question": "q", "answer": answer}))
        };
        assert_eq!(of(json!(["4"])).unwrap().answer.as_deref(), Some("4"));
        assert_eq!(of(json!([4])).unwrap().answer.as_deref(), Some("4"));
        assert_eq!(of(json!(null)).unwrap().answer, None);
        let row = |question: &str, answer: Value| json!({"id": "a", "question": question, "answer": answer});
        check_refused(
            row("q", json!(["4", "four"])),
            "field \"answer\": expected one answer: a text, a number, or a list of one of them, got a list of 2",
            "join the parts",
        );
        check_refused(
            row("q", json!(" ")),
            "field \"answer\": expected the reference answer, got an empty text",
            "write null",
        );
        check_refused(
            row("\n", json!("4")),
            "field \"question\": expected a text, got an empty one",
            "leave the row out",
        );
        let error = of(json!({"value": 4})).unwrap_err().to_string();
        assert_eq!(error, "field \"answer\": expected a text or a number, got an object");
    }

    #[test]
    fn a_chat_becomes_a_prompt_that_opens_the_thought_behind_its_last_question() {
        let messages = json!([
            {"role": "user", "content": "first?"},
            {"role": "assistant", "content": "one"},
            {"role": "user", "content": "second?"},
            {"role": "assistant", "content": "<think>\nz\n</think>\n\ny"},
        ]);
        let render = |messages: &[Message]| {
            Ok(messages.iter().map(|message| format!("{}|", message.content)).collect())
        };
        let markers = Markers::named("think").unwrap();
        let of = |value: Value, chat: Option<RenderChat<'_>>| {
            Format::Rows.question(row(value), &markers, chat).unwrap()
        };
        let chat = json!({"id": "a", "messages": messages});
        let question = of(chat.clone(), Some(&render));
        assert_eq!(question.question, "second?");
        assert_eq!(question.prompt.as_deref(), Some("first?|one|second?|<think>\n"));
        assert_eq!((question.trace.as_deref(), question.solution.as_deref()), (Some("z"), Some("y")));
        // Without a model, only the question is known.
        let question = of(chat, None);
        assert_eq!((question.question.as_str(), question.prompt, question.trace), ("second?", None, None));
    }

    #[test]
    fn a_thought_that_a_message_keeps_apart_is_the_trace() {
        let markers = Markers::named("think").unwrap();
        let of = |last: Value| {
            let chat = json!({"id": "a", "messages": [{"role": "user", "content": "q"}, last]});
            Format::Rows.question(row(chat), &markers, Some(&|_: &[Message]| Ok("p<think>".to_owned())))
        };
        let question =
            of(json!({"role": "assistant", "content": "\n\n4", "reasoning_content": "z\n"})).unwrap();
        assert_eq!((question.trace.as_deref(), question.solution.as_deref()), (Some("z"), Some("4")));
        // A template that opens the thought does not open it twice.
        assert_eq!(question.prompt.as_deref(), Some("p<think>\n"));
        let error = of(json!({"role": "assistant", "content": "4", "tool_calls": [{}]})).unwrap_err();
        assert!(error.to_string().contains("messages[1].tool_calls"), "{error}");
        let error = of(json!({"role": "user", "content": "4"})).unwrap_err();
        assert!(error.to_string().contains("expected a last message of the assistant"), "{error}");
    }

    #[test]
    fn a_trace_of_its_own_comes_before_that_of_the_response() {
        let value = json!({"id": "a", "question": "q", "trace": "own", "response": "z\n</think>\n\ny"});
        let question = read(Format::Rows, "think", value).unwrap();
        assert_eq!((question.trace.as_deref(), question.solution), (Some("own"), None));
    }

    #[test]
    fn the_last_question_and_the_last_response_of_a_conversation_count() {
        let turn = |from: &str, value: &str| json!({"from": from, "value": value});
        let turns = [
            turn("human", "first?"),
            turn("gpt", "no marker"),
            turn("human", "second?"),
            turn("gpt", "z\n</think>\n\ny"),
        ];
        let value = json!({"id": "c", "conversations": turns});
        let question = read(Format::Conversations, "think", value).unwrap();
        assert_eq!((question.question.as_str(), question.trace.as_deref()), ("second?", Some("z")));
        assert_eq!(question.prompt.as_deref(), Some("second?\n\n<think>\n"));
    }

    #[test]
    fn the_answer_of_a_worked_solution_is_behind_its_last_mark() {
        let answer = "#### first step <<1+1=2>>2\nthen <<open\n#### 7";
        let value = json!({"id": "g", "question": "q", "answer": answer});
        let question = read(Format::Gsm8k, "think", value).unwrap();
        assert_eq!(question.answer.as_deref(), Some("7"));
        // A calculator's note without an end takes the rest with it.
        assert_eq!(question.trace.as_deref(), Some("#### first step 2\nthen "));
    }
}
