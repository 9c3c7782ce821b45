use std::fs;

use serde_json::{Value, json};

use super::*;
use crate::plan::plan;
use crate::recipe::run::RunRecipe;

fn write_rows(path: &Path, rows: &[Value]) {
    fs::write(path, rows.iter().map(|row| format!("{row}\n")).collect::<String>()).unwrap();
}

/// A file of 30 such rows, as a draft sees it.
fn look(row: &Value, given: &[(&str, &str)], traces_wanted: bool) -> Result<QuestionFile> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.jsonl");
    write_rows(&path, &vec![row.clone(); 30]);
    let given: Vec<_> =
        given.iter().map(|(ours, theirs)| ((*ours).to_owned(), (*theirs).to_owned())).collect();
    QuestionFile::look(&path, "q.jsonl", &given, traces_wanted)
}

/// The recipe of a draft, as it is read.
#[track_caller]
fn read(draft: &Draft) -> RunRecipe {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.toml");
    fs::write(&path, draft.text().unwrap()).unwrap();
    let recipe =
        RunRecipe::read(&path, &[]).unwrap_or_else(|error| panic!("{error:#}\n{}", draft.text().unwrap()));
    plan(&recipe).unwrap();
    recipe
}

fn models() -> [DraftModel; 4] {
    let named = |chat| DraftModel::Named { folder: "org/name".to_owned(), chat };
    [DraftModel::Random, named(Some(true)), named(Some(false)), named(None)]
}

#[test]
fn whatever_is_drafted_is_a_valid_recipe() {
    let rows = [
        json!({"question": "q", "answer": "1", "trace": "t"}),
        json!({"problem": "q", "gold": "1"}),
        json!({"question": "q", "answer": "a\n#### 1"}),
        json!({"conversations": []}),
        json!({"prompt": "p", "response": "z</think>y"}),
        json!({"task": "q", "test_cases": ["assert f(1) == 2"]}),
    ];
    for model in models() {
        let name = "r.toml".to_owned();
        for task in Task::ALL {
            let draft =
                Draft { name: name.clone(), model: model.clone(), questions: DraftQuestions::Task(task) };
            assert_eq!(read(&draft).questions.task, task.name());
        }
        for row in &rows {
            let train = look(row, &[], model == DraftModel::Random).unwrap();
            for test in [None, Some(QuestionFile { rows: 5000, ..train.clone() })] {
                let kind = train.kind.unwrap_or("math").to_owned();
                let questions = DraftQuestions::Files { train: train.clone(), test, kind };
                let draft = Draft { name: name.clone(), model: model.clone(), questions };
                if model == DraftModel::Random && !train.has_traces {
                    assert!(draft.text().unwrap_err().to_string().contains("has no traces"));
                    continue;
                }
                let recipe = read(&draft);
                assert_eq!(
                    (recipe.questions.train.as_str(), recipe.initial.train),
                    ("q.jsonl", train.has_traces)
                );
            }
        }
    }
}

#[test]
fn columns_are_recognised_by_what_others_call_them() {
    let file =
        look(&json!({"Problem": "q", "expected_answer": "1", "level": 3, "idx": 7}), &[], false).unwrap();
    let columns: Vec<(&str, &str)> =
        file.columns.iter().map(|(ours, theirs)| (ours.as_str(), theirs.as_str())).collect();
    assert_eq!(
        columns,
        [("answer", "expected_answer"), ("difficulty", "level"), ("id", "idx"), ("question", "Problem")]
    );
    assert_eq!((file.rows, file.has_traces, file.kind), (30, false, None));
    let code = look(&json!({"question": "q", "tests": "t"}), &[], false).unwrap();
    assert_eq!((code.kind, code.columns.len()), (Some("code"), 0));
    assert_eq!(
        look(&json!({"question": "q", "choices": [], "answer": "A"}), &[], false).unwrap().kind,
        Some("choice")
    );
    // Rows that say their kind leave nothing to ask.
    assert_eq!(
        look(&json!({"question": "q", "answer": "A", "kind": "text"}), &[], false).unwrap().kind,
        Some("math")
    );
    let own = look(&json!({"a": "q", "b": "1"}), &[("question", "a"), ("answer", "b")], false).unwrap();
    assert_eq!(own.columns["question"], "a");
}

#[test]
fn columns_that_are_not_recognised_are_listed() {
    let refused = |row: &Value| look(row, &[], false).unwrap_err().to_string();
    let question = refused(&json!({"frage": "q", "answer": "1"}));
    assert!(
        question.ends_with("q.jsonl: no column is known to hold the question; the rows have frage, answer"),
        "{question}"
    );
    assert!(refused(&json!({"question": "q", "zahl": "1"})).contains("to hold the answer"));
}

#[test]
fn worked_solutions_are_traces_or_hints() {
    let row = json!({"question": "q", "answer": "2 + 2 = 4\n#### 4"});
    let traces = look(&row, &[], true).unwrap();
    assert!(traces.has_traces && traces.columns.is_empty());
    let hints = look(&row, &[], false).unwrap();
    assert!(!hints.has_traces);
    assert_eq!(hints.columns["hint"], "{{ answer }}");
}

#[test]
fn files_are_named_from_the_recipes_folder() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    let file = folder.path().join("data/q.jsonl");
    fs::write(&file, "").unwrap();
    assert_eq!(name_from(folder.path(), &file), "data/q.jsonl");
    assert_eq!(name_from(&folder.path().join("data"), &file), "q.jsonl");
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(name_from(elsewhere.path(), &file), file.canonicalize().unwrap().display().to_string());
    assert_eq!(name_from(folder.path(), Path::new("org/name")), "org/name");
}
