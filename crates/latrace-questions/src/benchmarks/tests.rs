use serde_json::{Value, json};

use super::*;
use crate::tasks::tests::sentences;
use latrace_io::rows::Row;

fn named(name: &str) -> Benchmark {
    Benchmark::find(name).unwrap()
}

fn row(value: Value) -> Row {
    value.as_object().unwrap().clone()
}

/// The question of a row with the published columns.
#[track_caller]
fn item(name: &str, value: Value) -> Item {
    let benchmark = named(name);
    benchmark.item(&row(value), &benchmark.template().unwrap()).unwrap().unwrap()
}

#[track_caller]
fn refused(name: &str, value: Value) -> String {
    let benchmark = named(name);
    benchmark.item(&row(value), &benchmark.template().unwrap()).unwrap_err().to_string()
}

fn answers(item: &Item) -> Vec<String> {
    match &item.reference {
        ItemReference::Answers(golds) => golds.clone(),
        other => panic!("expected answers, got {other:?}"),
    }
}

#[test]
fn every_benchmark_says_what_it_asks_in_two_sentences() {
    for benchmark in BUILT_IN.map(|(name, _)| named(name)) {
        let about = benchmark.about();
        assert!(sentences(about) <= 2 && about.ends_with('.'), "{}: {about}", benchmark.name);
        // A task's benchmark has the task's words, every other one its own.
        assert_eq!(benchmark.about.is_empty(), benchmark.kind.task().is_some(), "{}", benchmark.name);
    }
}

#[test]
fn the_protocol_is_the_papers() {
    for benchmark in
        BUILT_IN.map(|(name, _)| named(name)).into_iter().filter(|benchmark| benchmark.kind.task().is_none())
    {
        let name = &benchmark.name;
        let SamplingParams { temperature, top_p, top_k, min_p, max_new_tokens } = benchmark.sampling;
        assert_eq!((temperature, top_p, top_k, min_p, max_new_tokens), (0.7, 1.0, 0, 0.0, 38_912), "{name}");
        assert!(benchmark.source.dataset.is_some() && !benchmark.source.files.is_empty(), "{name}");
    }
    let samples = [
        ("math500", 2),
        ("aime24", 32),
        ("aime25", 32),
        ("amc23", 32),
        ("olympiadbench", 2),
        ("gpqa_diamond", 8),
        ("livecodebench", 8),
        ("mmlu_pro", 1),
    ];
    for (name, k) in samples {
        assert_eq!(named(name).k, k, "{name}");
    }
}

#[test]
fn names_are_found_in_any_spelling() {
    assert_eq!(named("GPQA-Diamond").name, "gpqa_diamond");
    assert_eq!(named("MATH500").title, "MATH500");
    let error = Benchmark::find("math600").unwrap_err();
    assert!(error.to_string().contains("--bench math600: no such benchmark, and no such file"));
}

#[test]
fn mathematics_as_it_is_published() {
    let math = item(
        "math500",
        json!({"problem": "p", "solution": "s", "answer": "\\frac{1}{2}", "subject": "Algebra", "level": 3, "unique_id": "test/a/1.json"}),
    );
    assert_eq!(
        (math.id.as_deref(), math.subset.as_deref(), math.asked.as_str()),
        (Some("test/a/1.json"), Some("3"), "p")
    );
    assert_eq!(answers(&math), ["\\frac{1}{2}"]);
    let hub = item(
        "aime24",
        json!({"id": 60, "problem": "p", "solution": "s", "answer": "204", "url": "u", "year": "2024"}),
    );
    assert_eq!((hub.id.as_deref(), answers(&hub).as_slice()), (Some("60"), &["204".to_owned()][..]));
    assert_eq!(answers(&item("aime25", json!({"problem": "p", "answer": "70", "id": "0"}))), ["70"]);
    assert_eq!(
        answers(&item(
            "amc23",
            json!({"id": 0, "problem": "p", "answer": 27.0, "url": "u", "question": "p"})
        )),
        ["27.0"]
    );
    let gsm = item("gsm8k", json!({"question": "q", "answer": "16 - 3 = <<16-3=13>>13\n#### 1,018"}));
    assert_eq!((gsm.id.clone(), answers(&gsm)), (None, vec!["1,018".to_owned()]));
    assert!(
        refused("gsm8k", json!({"question": "q", "answer": "13"}))
            .contains("field \"answer\": expected an answer behind \"####\"")
    );
    assert_eq!(answers(&item("minervamath", json!({"question": "q", "answer": "4.5e33"}))), ["4.5e33"]);
    let olympiad = json!({"id": 1, "subfield": "Geometry", "context": "A map.", "question": "How far?", "final_answer": ["2,3"], "is_multiple_answer": true, "unit": "km"});
    let olympiad = item("olympiadbench", olympiad);
    assert_eq!(
        olympiad.asked,
        "A map.\n\nHow far?\n\nThere is more than one answer: give all of them, with commas between.\n\nThe answer is measured in km."
    );
    assert_eq!(
        (olympiad.subset.as_deref(), answers(&olympiad).as_slice()),
        (Some("Geometry"), &["2,3".to_owned()][..])
    );
    let plain = item(
        "olympiadbench",
        json!({"id": 1, "question": "How far?", "final_answer": ["2"], "is_multiple_answer": false, "context": null, "unit": null}),
    );
    assert_eq!(plain.asked, "How far?");
}

#[test]
fn choices_as_they_are_published() {
    let right = |item: &Item| match &item.reference {
        ItemReference::Choice(choices) => choices.options[(choices.right as u8 - b'A') as usize].clone(),
        other => panic!("expected a choice, got {other:?}"),
    };
    let gpqa = json!({"Record ID": "r1", "Question": "Which?", "Correct Answer": "yes\n", "Incorrect Answer 1": "no", "Incorrect Answer 2": "maybe", "Incorrect Answer 3": 7,
        "High-level domain": "Physics"});
    let gpqa = item("gpqa_diamond", gpqa);
    assert_eq!(
        (right(&gpqa).as_str(), gpqa.subset.as_deref(), gpqa.reference.options().map(<[_]>::len)),
        ("yes", Some("Physics"), Some(4))
    );
    assert!(
        gpqa.asked.starts_with("Which?\n\nA. ")
            && gpqa.asked.contains("\nD. ")
            && gpqa.asked.ends_with("The answer is its letter."),
        "{}",
        gpqa.asked
    );
    let pro = json!({"question_id": 70, "question": "q", "options": ["a", "b", "c"], "answer": "B", "answer_index": 1, "category": "law"});
    assert_eq!(right(&item("mmlu_pro", pro)), "b");
    assert_eq!(
        right(&item(
            "mmlu_stem",
            json!({"question": "q", "subject": "astronomy", "choices": ["a", "b", "c", "d"], "answer": 2})
        )),
        "c"
    );
    assert_eq!(
        right(&item(
            "mmlu_stem",
            json!({"question": "q", "type": "astronomy", "choices": ["a", "b"], "answer": "A"})
        )),
        "a"
    );
    assert!(
        refused(
            "mmlu_stem",
            json!({"question": "q", "type": "astronomy", "choices": ["a", "b"], "answer": 2})
        )
        .contains("field \"answer\": expected a number below 2")
    );
    let benchmark = named("mmlu_stem");
    let other = row(json!({"question": "q", "subject": "philosophy", "choices": ["a", "b"], "answer": 0}));
    assert_eq!(benchmark.item(&other, &benchmark.template().unwrap()).unwrap(), None);
}

#[test]
fn programs_as_they_are_published() {
    let called = json!({"question_title": "t", "question_content": "Add one.", "question_id": "c1", "starter_code": "class Solution:\n    def f(self):\n", "difficulty": "easy",
        "public_test_cases": "[{\"input\": \"1\", \"output\": \"2\", \"testtype\": \"functional\"}]", "private_test_cases": "", "metadata": "{\"func_name\": \"f\"}"});
    let item_of = item("livecodebench", called);
    assert!(
        item_of.asked.contains("Fill in the class")
            && item_of.asked.ends_with("class Solution:\n    def f(self):\n\n```"),
        "{}",
        item_of.asked
    );
    let row_of = item_of.reference.row(Kind::Code, None);
    assert!(latrace_verify::code::Tests::read(&latrace_verify::code::Json::from(&row_of["gold"])).is_ok());
    let printing = json!({"question_content": "Add one.", "question_id": "c2", "starter_code": "", "difficulty": "hard", "public_test_cases": "[]", "metadata": "{}"});
    let printing = item("livecodebench", printing);
    assert!(
        printing.asked.contains("reads from standard input") && !printing.asked.contains("Fill in"),
        "{}",
        printing.asked
    );
    assert!(
        refused("livecodebench", json!({"question_content": "q"}))
            .contains("field \"public_test_cases\": expected tests, got nothing")
    );
}

#[test]
fn a_check_is_handed_to_the_verifier_with_what_it_completes() {
    let start = "def add(a):\n    \"\"\"Adds.\"\"\"\n";
    let test = "def check(c):\n    assert c(1) == 2";
    let human = item(
        "humaneval",
        json!({"task_id": "H/0", "prompt": start, "entry_point": "add", "canonical_solution": "    return a + 1\n", "test": test}),
    );
    let row = human.reference.row(Kind::Code, None);
    let expected = json!({"prompt": start, "test": test, "entry_point": "add"});
    assert_eq!((&row["gold"], row.get("bare")), (&expected, None));
    let right = human.reference.right_response().unwrap();
    assert_eq!(right, format!("```python\n{start}    return a + 1\n\n```"));
}

#[test]
fn what_a_file_lacks_is_named() {
    let columns = "[columns]\nquestion = \"q\"\n";
    for (text, expected) in [
        (
            format!("title = \"t\"\nkind = \"math\"\nk = 1\n{columns}"),
            "columns.answer: expected the name of a column",
        ),
        (
            format!("title = \"t\"\nkind = \"choice\"\nk = 1\n{columns}"),
            "either options and answer, or right and wrong",
        ),
        (format!("title = \"t\"\nkind = \"code\"\nk = 1\n{columns}"), "tests: expected a table for programs"),
        (
            format!("title = \"t\"\nkind = \"math\"\nk = 0\n{columns}answer = \"a\"\n"),
            "k: expected at least 1",
        ),
        (
            format!("title = \"t\"\nkind = \"math\"\nk = 1\nprompt = \"{{{{\"\n{columns}answer = \"a\"\n"),
            "prompt: ",
        ),
        (
            format!("title = \"t\"\nkind = \"maths\"\nk = 1\n{columns}"),
            "kind: expected one of math, choice, code, text, command, walk, countdown, arithmetic, graph, latin, got \"maths\"; the nearest is \"math\"",
        ),
        (
            format!("title = \"t\"\nkind = \"walk\"\nk = 1\n{columns}answer = \"a\"\n"),
            "source.questions: expected how many",
        ),
        (
            format!("title = \"t\"\nkind = \"math\"\nk = 1\nsplit = 3\n{columns}"),
            "unknown key \"split\"; the nearest known key is",
        ),
        (
            format!("title = \"t\"\nkind = \"math\"\nk = \"few\"\n{columns}"),
            "k: expected a whole number, got \"few\"",
        ),
        (format!("kind = \"math\"\nk = 1\n{columns}"), "title: expected a value, got nothing"),
        (
            format!("title = \"t\"\nkind = \"math\"\nk = 1\n{columns}answr = \"a\"\n"),
            "unknown key \"columns.answr\"; the nearest known key is \"answer\"",
        ),
        (
            format!("title = \"t\"\nkind = \"math\"\nk = 1\n{columns}answer = 3\n"),
            "columns.answer: expected a text or a list of texts, got 3",
        ),
    ] {
        let error = Benchmark::parse("own", &text, "own.toml").unwrap_err().to_string();
        assert!(error.starts_with("own.toml is not a benchmark: ") && error.contains(expected), "{error}");
    }
}

#[test]
fn questions_are_read_in_order_and_by_subset() {
    let folder = tempfile::tempdir().unwrap();
    let text = "title = \"Own\"\nkind = \"math\"\nk = 1\n[source]\nfiles = [\"one.jsonl\", \"two.jsonl\"]\n[columns]\nquestion = \"q\"\nanswer = \"a\"\nsubset = \"s\"\n";
    fs::write(folder.path().join("own.toml"), text).unwrap();
    fs::write(
        folder.path().join("one.jsonl"),
        "{\"q\": \"x\", \"a\": 1, \"s\": \"easy\"}\n{\"q\": \"y\", \"a\": 2, \"s\": \"hard\"}\n",
    )
    .unwrap();
    fs::write(folder.path().join("two.jsonl"), "{\"q\": \"z\", \"a\": 3, \"s\": \"easy\"}\n").unwrap();
    let benchmark = Benchmark::find(folder.path().join("own.toml").to_str().unwrap()).unwrap();
    let read = |subsets: &[&str], limit: Option<usize>| -> Result<Vec<(String, String)>> {
        let chosen = Chosen { subsets: subsets.iter().map(|name| (*name).to_owned()).collect(), limit };
        let mut read = Vec::new();
        for_each(&benchmark, &benchmark.files(folder.path())?, &chosen, |id, item| {
            read.push((id, item.question));
            Ok(())
        })?;
        Ok(read)
    };
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(id, question)| ((*id).to_owned(), (*question).to_owned())).collect::<Vec<_>>()
    };
    // An id is the question's place in all of the data, whatever is left out.
    assert_eq!(read(&[], None).unwrap(), pairs(&[("0", "x"), ("1", "y"), ("2", "z")]));
    assert_eq!(read(&["easy"], None).unwrap(), pairs(&[("0", "x"), ("2", "z")]));
    assert_eq!(read(&[], Some(2)).unwrap(), pairs(&[("0", "x"), ("1", "y")]));
    let error = read(&["medium"], None).unwrap_err().to_string();
    assert!(error.contains("--subset medium: Own has no such subset"), "{error}");
    fs::write(folder.path().join("two.jsonl"), "{\"q\": \"z\"}\n").unwrap();
    let error = read(&[], None).unwrap_err().to_string();
    assert!(error.ends_with("two.jsonl line 1: field \"a\": expected a value, got nothing"), "{error}");
}

#[test]
fn a_letter_names_the_option_at_its_place_before_one_with_that_text() {
    let row = json!({"question": "q", "type": "astronomy", "choices": ["B", "x", "y"], "answer": "B"});
    let ItemReference::Choice(choices) = item("mmlu_stem", row).reference else { panic!("a choice") };
    assert_eq!(choices.options[(choices.right as u8 - b'A') as usize], "x");
}

#[test]
fn a_subset_beyond_the_limit_is_not_missed() {
    let folder = tempfile::tempdir().unwrap();
    let text = "title = \"Own\"\nkind = \"math\"\nk = 1\n[source]\nfiles = [\"own.jsonl\"]\n[columns]\nquestion = \"q\"\nanswer = \"a\"\nsubset = \"s\"\n";
    fs::write(folder.path().join("own.toml"), text).unwrap();
    let rows = "{\"q\": \"x\", \"a\": 1, \"s\": \"easy\"}\n{\"q\": \"y\", \"a\": 2, \"s\": \"hard\"}\n";
    fs::write(folder.path().join("own.jsonl"), rows).unwrap();
    let benchmark = Benchmark::find(folder.path().join("own.toml").to_str().unwrap()).unwrap();
    let subsets = ["easy", "hard"].map(str::to_owned).to_vec();
    let read = |limit| {
        let mut ids = Vec::new();
        let chosen = Chosen { subsets: subsets.clone(), limit: Some(limit) };
        let files = benchmark.files(folder.path())?;
        for_each(&benchmark, &files, &chosen, |id, _| {
            ids.push(id);
            Ok(())
        })
        .map(|()| ids)
    };
    assert_eq!([read(1).unwrap(), read(2).unwrap()], [vec!["0"], vec!["0", "1"]]);
}
