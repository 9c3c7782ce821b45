//! What a verifier of the user's own wrote, as judgements.

use std::collections::HashMap;

use latrace_core::Reason;
use serde::Deserialize;

use super::{BatchVerdicts, last_lines};
use crate::code::supervisor::{Ending, Run};
use crate::judgement::Judgement;

/// The judgements on rows by their ids.
pub(super) fn judgements(ids: &[String], run: &Run, time_limit_s: f64) -> BatchVerdicts {
    match failure(run, time_limit_s) {
        None => read(ids, &run.stdout),
        // What it wrote before is not used: a program that failed does not stand by it.
        Some((reason, said)) => {
            let judgement = Judgement::new(reason, None).with_note(said.clone());
            BatchVerdicts { judgements: vec![judgement; ids.len()], problem: Some(said) }
        }
    }
}

/// Why nothing that the program wrote counts, if it does not.
fn failure(run: &Run, time_limit_s: f64) -> Option<(Reason, String)> {
    let (reason, how) = match run.ending {
        Ending::Exited(0) => return None,
        Ending::TimeLimit => {
            (Reason::VerifierTimeLimit, format!("the verifier did not end within {time_limit_s} s"))
        }
        Ending::Exited(code) => {
            (Reason::VerifierFailed, format!("the verifier failed with exit code {code}"))
        }
        Ending::MemoryLimit => (Reason::VerifierFailed, "the verifier exceeded its memory limit".to_owned()),
        Ending::OutputLimit => (Reason::VerifierFailed, "the verifier wrote too much".to_owned()),
        Ending::Blocked | Ending::NotStarted => {
            (Reason::VerifierFailed, "the verifier was ended by the sandbox".to_owned())
        }
    };
    let said = last_lines(&run.last_errors);
    Some((reason, if said.is_empty() { how } else { format!("{how}: {said}") }))
}

/// What a line says about one row.
#[derive(Debug, Deserialize)]
struct Line {
    verdict: Stated,
    #[serde(default)]
    reason: Option<String>,
    #[serde(default)]
    extracted: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stated {
    Correct,
    Wrong,
    Undetermined,
}

/// The row that a line is about.
#[derive(Debug, Deserialize)]
struct Named {
    id: String,
}

/// The verdicts in an output, row by row; a line that is about no row counts for none.
fn read(ids: &[String], stdout: &[u8]) -> BatchVerdicts {
    let places: HashMap<&str, usize> =
        ids.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
    let mut lines: Vec<Vec<Result<Line, String>>> = ids.iter().map(|_| Vec::new()).collect();
    let mut strays = Vec::new();
    for line in stdout.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let named = serde_json::from_slice::<Named>(line);
        match named.map(|Named { id }| places.get(id.as_str()).copied().ok_or(id)) {
            Ok(Ok(place)) => {
                lines[place].push(serde_json::from_slice(line).map_err(|error| error.to_string()))
            }
            Ok(Err(id)) => strays.push(format!("no row has the id {id:?}")),
            Err(error) => strays.push(error.to_string()),
        }
    }
    let problem = strays.first().map(|first| {
        format!("{} lines of the verifier are about no row, the first because {first}", strays.len())
    });
    BatchVerdicts { judgements: lines.into_iter().map(judgement).collect(), problem }
}

fn judgement(mut lines: Vec<Result<Line, String>>) -> Judgement {
    let bad = |note: String| Judgement::new(Reason::BadVerdict, None).with_note(note);
    match (lines.len(), lines.pop()) {
        (1, Some(Ok(Line { verdict, reason, extracted }))) => {
            let of = match verdict {
                Stated::Correct => Reason::Equal,
                Stated::Wrong => Reason::Different,
                Stated::Undetermined => Reason::Undecided,
            };
            Judgement::new(of, extracted).with_note(reason)
        }
        (1, Some(Err(error))) => bad(format!("a malformed verdict: {error}")),
        (0, _) | (_, None) => Judgement::new(Reason::NoVerdict, None),
        (count, _) => bad(format!("{count} verdicts")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(ending: Ending, stdout: &str) -> Run {
        let errors = b"Traceback:\n  ValueError\n".to_vec();
        Run { ending, stdout: stdout.as_bytes().to_vec(), stderr: errors.clone(), last_errors: errors }
    }

    #[track_caller]
    fn check(stdout: &str, expected: Reason) {
        let ids = ["a".to_owned()];
        let verdicts = judgements(&ids, &run(Ending::Exited(0), stdout), 1.0);
        assert_eq!(
            verdicts.judgements.iter().map(|of| of.reason).collect::<Vec<_>>(),
            [expected],
            "{stdout}"
        );
    }

    #[test]
    fn a_verdict_counts_if_it_is_the_only_one_and_whole() {
        check("{\"id\": \"a\", \"verdict\": \"correct\"}\n", Reason::Equal);
        check("\n {\"id\": \"a\", \"verdict\": \"wrong\", \"score\": 0.5} \r\n\n", Reason::Different);
        check("{\"verdict\": \"undetermined\", \"id\": \"a\"}", Reason::Undecided);
        check("", Reason::NoVerdict);
        check("{\"id\": \"b\", \"verdict\": \"correct\"}", Reason::NoVerdict);
        check("{\"id\": \"a\", \"verdict\": \"cor", Reason::NoVerdict);
        check("correct", Reason::NoVerdict);
        check("[\"a\", \"correct\"]", Reason::NoVerdict);
        check("{\"id\": [\"a\"], \"verdict\": \"correct\"}", Reason::NoVerdict);
        check("{\"id\": \"a\"}", Reason::BadVerdict);
        for verdict in
            ["\"Correct\"", "true", "1", "null", "[\"correct\"]", "\"correct\", \"verdict\": \"correct\""]
        {
            check(&format!("{{\"id\": \"a\", \"verdict\": {verdict}}}"), Reason::BadVerdict);
        }
        check("{\"id\": \"a\", \"verdict\": \"correct\", \"extracted\": 5}", Reason::BadVerdict);
        check("{\"id\": \"a\", \"id\": \"a\", \"verdict\": \"correct\"}", Reason::NoVerdict);
        let once = "{\"id\": \"a\", \"verdict\": \"correct\"}\n";
        check(&once.repeat(2), Reason::BadVerdict);
        check(&format!("{once}{{\"id\": \"a\"}}\n"), Reason::BadVerdict);
        check(&format!("{once}noise\n"), Reason::Equal);
    }

    #[test]
    fn what_it_says_besides_is_kept_and_strays_are_told() {
        let ids = ["a", "b"].map(str::to_owned);
        let line =
            "{\"id\": \"b\", \"verdict\": \"wrong\", \"reason\": \"sign\", \"extracted\": \"-1\"}\nx\ny\n";
        let verdicts = judgements(&ids, &run(Ending::Exited(0), line), 1.0);
        let wrong = Judgement::new(Reason::Different, "-1".to_owned()).with_note("sign".to_owned());
        assert_eq!(verdicts.judgements, [Judgement::new(Reason::NoVerdict, None), wrong]);
        let problem = verdicts.problem.unwrap();
        assert!(problem.starts_with("2 lines of the verifier are about no row"), "{problem}");
    }

    #[test]
    fn nothing_counts_of_a_program_that_failed_or_was_late() {
        let ids = ["a".to_owned()];
        let failed = |ending| {
            let run = run(ending, "{\"id\": \"a\", \"verdict\": \"correct\"}\n");
            let verdicts = judgements(&ids, &run, 2.5);
            (verdicts.judgements[0].reason, verdicts.problem.unwrap())
        };
        let told = |how: &str| format!("{how}: Traceback:\n  ValueError");
        let late = "the verifier did not end within 2.5 s";
        assert_eq!(failed(Ending::TimeLimit), (Reason::VerifierTimeLimit, told(late)));
        let code = "the verifier failed with exit code 1";
        assert_eq!(failed(Ending::Exited(1)), (Reason::VerifierFailed, told(code)));
        for ending in [Ending::MemoryLimit, Ending::OutputLimit, Ending::Blocked] {
            assert_eq!(failed(ending).0, Reason::VerifierFailed);
        }
    }
}
