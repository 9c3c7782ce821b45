//! Tests of programs, in the forms of APPS/TACO, of LiveCodeBench and of HumanEval.

use super::json::Json;
use super::pickle;

/// One test.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// The program reads `input` and prints `output`.
    Printing {
        /// What it reads.
        input: String,
        /// What it should print.
        output: String,
    },
    /// A function is called.
    Returning {
        /// Its name; without one, the only public method of `Solution`.
        function: Option<String>,
        /// Its arguments.
        arguments: Vec<Json>,
        /// What it should return.
        expected: Json,
        /// Whether `expected` may be a list of the one value to return, as APPS writes it.
        unwrapped: bool,
    },
    /// A function is handed to a check, which asserts what it returns.
    Checking(Check),
}

/// A check of a function, as HumanEval writes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The beginning of the program, which responses complete or repeat.
    pub prompt: String,
    /// Python that defines `check(candidate)`.
    pub test: String,
    /// The name of the function.
    pub function: String,
}

impl Check {
    /// The program that a response's block completes: the block behind the prompt, or, where it defines the
    /// function itself, behind what precedes the function there.
    pub(crate) fn completed(&self, block: &str) -> String {
        let given = if block.contains(&self.definition()) { self.helpers() } else { &self.prompt };
        format!("{given}{block}")
    }

    /// What precedes the function in the prompt: imports, and functions that its check may use.
    pub(crate) fn helpers(&self) -> &str {
        // Without the unfinished definition, which the program repeats and completes.
        self.prompt.find(&self.definition()).map_or(&self.prompt, |at| &self.prompt[..at])
    }

    fn definition(&self) -> String {
        format!("def {}(", self.function)
    }
}

/// The tests of one program; at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Tests(Vec<Test>);

impl Tests {
    /// Reads `inputs`/`outputs`/`fn_name`, a list of `input`/`output`/`testtype`, an object of public and
    /// private lists, `prompt`/`test`/`entry_point`, or any of these as a JSON text.
    ///
    /// # Errors
    /// Says what is expected and what is there.
    pub fn read(value: &Json) -> Result<Tests, String> {
        let tests = match value {
            // Data sets hold tests as JSON within JSON, sometimes twice.
            Json::Text(text) => return Tests::read(&parsed(text)?),
            Json::List(tests) => all_listed(tests, None)?,
            _ if value.has("inputs") => paired(value)?,
            _ if value.has("public_test_cases") || value.has("private_test_cases") => {
                public_and_private(value)?
            }
            _ if value.has("entry_point") => vec![Test::Checking(check(value)?)],
            _ => return Err(NO_TESTS.to_owned()),
        };
        if tests.is_empty() { Err("expected at least one test".to_owned()) } else { Ok(Tests(tests)) }
    }

    /// The tests in order.
    pub fn iter(&self) -> impl Iterator<Item = &Test> {
        self.0.iter()
    }
}

const NO_TESTS: &str = "expected tests: an object with inputs and outputs, or a list of tests";

fn parsed(text: &str) -> Result<Json, String> {
    Json::read(text).map_err(|error| format!("expected tests as JSON: {error}"))
}

/// Tests in the form of APPS.
fn paired(value: &Json) -> Result<Vec<Test>, String> {
    let (inputs, outputs) = (list(value, "inputs")?, list(value, "outputs")?);
    if inputs.len() != outputs.len() {
        let (got, wanted) = (outputs.len(), inputs.len());
        return Err(format!("expected as many outputs as inputs, got {got} and {wanted}"));
    }
    let pairs = inputs.iter().zip(outputs);
    match value.field("fn_name").text() {
        // An empty name, like none, means that programs print.
        None | Some("") => Ok(pairs.map(|(input, output)| printing(input, output)).collect()),
        Some(function) => {
            let unwrapped = outputs.iter().all(is_list_of_one);
            pairs.map(|(input, output)| returning(function, input, output, unwrapped)).collect()
        }
    }
}

fn list<'a>(value: &'a Json, name: &str) -> Result<&'a [Json], String> {
    value.field(name).list().ok_or_else(|| format!("expected a list in {name}"))
}

fn printing(input: &Json, output: &Json) -> Test {
    Test::Printing { input: lines(input), output: lines(output) }
}

fn returning(function: &str, input: &Json, output: &Json, unwrapped: bool) -> Result<Test, String> {
    let arguments = input.list().ok_or("expected a list of arguments in inputs")?.to_vec();
    Ok(Test::Returning {
        function: Some(function.to_owned()),
        arguments,
        expected: output.clone(),
        unwrapped,
    })
}

/// Only if all outputs are lists of one can the list be that of APPS and not the program's.
fn is_list_of_one(output: &Json) -> bool {
    output.list().is_some_and(|inner| inner.len() == 1)
}

/// A text, or a list of lines.
fn lines(value: &Json) -> String {
    match value {
        Json::Text(text) => text.clone(),
        Json::List(lines) => lines.iter().map(self::lines).collect::<Vec<_>>().join("\n"),
        other => other.to_string(),
    }
}

/// A check in the form of HumanEval.
fn check(value: &Json) -> Result<Check, String> {
    let text = |name: &str| text(value, name).map(str::to_owned);
    Ok(Check { prompt: text("prompt")?, test: text("test")?, function: text("entry_point")? })
}

/// Tests in the form of LiveCodeBench.
fn public_and_private(value: &Json) -> Result<Vec<Test>, String> {
    let function = function_named(value);
    let mut tests = Vec::new();
    for name in ["public_test_cases", "private_test_cases"] {
        let list = unpacked(value.field(name))?;
        let list = list.list().ok_or_else(|| format!("expected a list in {name}"))?;
        tests.extend(all_listed(list, function.as_deref())?);
    }
    Ok(tests)
}

/// A list of tests, plain or as a text, which may be packed; `null` is an empty list.
fn unpacked(list: &Json) -> Result<Json, String> {
    match list {
        Json::Null => Ok(Json::List(Vec::new())),
        Json::Text(text) if text.is_empty() => Ok(Json::List(Vec::new())),
        // Base64 has neither bracket nor brace, so the first character decides.
        Json::Text(text) if text.trim_start().starts_with(['[', '{']) => parsed(text),
        Json::Text(packed) => parsed(&pickle::unpack(packed)?),
        list => Ok(list.clone()),
    }
}

fn all_listed(tests: &[Json], function: Option<&str>) -> Result<Vec<Test>, String> {
    tests.iter().map(|test| listed(test, function)).collect()
}

/// `fn_name` or `func_name`, on the value or in its `metadata`, which may be a JSON text.
fn function_named(value: &Json) -> Option<String> {
    // APPS and TACO name it `fn_name`, LiveCodeBench `func_name` in its metadata.
    let direct = value.field("fn_name").text().or_else(|| value.field("func_name").text());
    match direct.filter(|name| !name.is_empty()) {
        Some(name) => Some(name.to_owned()),
        None => match value.field("metadata") {
            Json::Text(text) => function_named(&Json::read(text).ok()?),
            Json::Null => None,
            metadata => function_named(metadata),
        },
    }
}

fn listed(test: &Json, function: Option<&str>) -> Result<Test, String> {
    let (input, output) = (text(test, "input")?, text(test, "output")?);
    if test.field("testtype").text() != Some("functional") {
        return Ok(Test::Printing { input: input.to_owned(), output: output.to_owned() });
    }
    // LiveCodeBench: one argument a line, each as JSON.
    let lines = input.lines().filter(|line| !line.trim().is_empty());
    let arguments = lines.map(argument).collect::<Result<Vec<Json>, _>>()?;
    let function = function_named(test).or_else(|| function.map(str::to_owned));
    Ok(Test::Returning { function, arguments, expected: argument(output)?, unwrapped: false })
}

fn text<'a>(test: &'a Json, name: &str) -> Result<&'a str, String> {
    test.field(name).text().ok_or_else(|| format!("expected a text in {name} of each test"))
}

fn argument(text: &str) -> Result<Json, String> {
    Json::read(text).map_err(|error| format!("expected JSON in a functional test: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(value: &Value) -> Result<Tests, String> {
        Tests::read(&Json::from(value))
    }

    #[test]
    fn every_form_is_read() {
        let printing =
            |input: &str, output: &str| Test::Printing { input: input.to_owned(), output: output.to_owned() };
        assert_eq!(
            read(&json!({"inputs": ["1\n"], "outputs": ["2\n"]})).unwrap().0,
            [printing("1\n", "2\n")]
        );
        assert_eq!(
            read(&json!(r#"{"inputs": [["1", "2"]], "outputs": ["3"]}"#)).unwrap().0,
            [printing("1\n2", "3")]
        );
        assert_eq!(
            read(&json!([{"input": "1", "output": "2", "testtype": "stdin"}])).unwrap().0,
            [printing("1", "2")]
        );
        let called = Test::Returning {
            function: Some("f".to_owned()),
            arguments: vec![Json::from(&json!(1)), Json::from(&json!([2]))],
            expected: Json::from(&json!(3)),
            unwrapped: false,
        };
        let tests = r#"[{"input": "1\n[2]", "output": "3", "testtype": "functional"}]"#;
        let listed = json!({"public_test_cases": tests, "metadata": r#"{"func_name": "f"}"#});
        assert_eq!(read(&listed).unwrap().0, [called]);
        let checked = json!({"prompt": "a", "test": "b", "entry_point": "c"});
        let [prompt, test, function] = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(read(&checked).unwrap().0, [Test::Checking(Check { prompt, test, function })]);
    }

    #[test]
    fn a_response_completes_a_prompt_or_repeats_its_function() {
        let prompt = "import math\n\ndef helper(x):\n    return x\n\ndef add(a):\n    \"\"\"Adds.\"\"\"\n";
        let texts = [prompt, "", "add"].map(str::to_owned);
        let [prompt, test, function] = texts;
        let check = Check { prompt, test, function };
        let whole = check.completed("def add(a):\n    return 2\n");
        assert_eq!(whole, "import math\n\ndef helper(x):\n    return x\n\ndef add(a):\n    return 2\n");
        assert_eq!(check.completed("    return 1\n"), format!("{}    return 1\n", check.prompt));
        let no_function = Check { prompt: "import math\n".to_owned(), ..check };
        assert_eq!(no_function.completed("def add(a): 1"), "import math\ndef add(a): 1");
    }

    #[test]
    fn integers_of_any_size_stay_what_they_are() {
        let big = "123456789012345678901234567890";
        let text = format!(r#"{{"fn_name": "f", "inputs": [[{big}]], "outputs": [{big}]}}"#);
        let tests = Tests::read(&Json::Text(text)).unwrap();
        let Test::Returning { arguments, expected, .. } = &tests.0[0] else {
            panic!("a function is called");
        };
        assert_eq!([arguments[0].to_string(), expected.to_string()], [big, big]);
    }

    #[test]
    fn tests_that_cannot_be_read_are_refused() {
        for value in [
            json!([]),
            json!({}),
            json!("no json"),
            json!({"inputs": [1], "outputs": []}),
            json!({"fn_name": "f", "inputs": [1], "outputs": [1]}),
            json!({"entry_point": "f", "prompt": ""}),
        ] {
            assert!(read(&value).is_err(), "{value}");
        }
    }
}
