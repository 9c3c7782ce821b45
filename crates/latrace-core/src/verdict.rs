//! Verdicts with their reasons, as computed and as stated in rows.

use std::fmt;

pub use latrace_objective::Verdict;
use thiserror::Error;

/// The reason for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Answer and reference are equal; a program passes every test.
    Equal,
    /// They differ; a program's output is wrong.
    Different,
    /// The response contains no answer.
    NoAnswer,
    /// The answer cannot be parsed.
    Unreadable,
    /// The reference cannot be parsed.
    BadGold,
    /// The question has no verifier: a program without tests.
    NoVerifier,
    /// A program exceeded its time limit.
    TimeLimit,
    /// A program exceeded its memory limit.
    MemoryLimit,
    /// A program exceeded its output limit.
    OutputLimit,
    /// A program failed.
    Crashed,
    /// A program made a forbidden system call.
    Blocked,
    /// There is no working sandbox, so the program was not run.
    NoSandbox,
    /// The verifier itself failed on this row.
    VerifierFailed,
    /// A verifier of the user's own cannot tell.
    Undecided,
    /// A verifier of the user's own gave no verdict on this row.
    NoVerdict,
    /// A verifier of the user's own gave a malformed verdict on this row, or several.
    BadVerdict,
    /// A verifier of the user's own did not end in time.
    VerifierTimeLimit,
}

impl Reason {
    /// Every reason, in the order of the enum.
    pub const ALL: [Reason; 17] = [
        Reason::Equal,
        Reason::Different,
        Reason::NoAnswer,
        Reason::Unreadable,
        Reason::BadGold,
        Reason::NoVerifier,
        Reason::TimeLimit,
        Reason::MemoryLimit,
        Reason::OutputLimit,
        Reason::Crashed,
        Reason::Blocked,
        Reason::NoSandbox,
        Reason::VerifierFailed,
        Reason::Undecided,
        Reason::NoVerdict,
        Reason::BadVerdict,
        Reason::VerifierTimeLimit,
    ];

    /// The code in files.
    pub fn code(self) -> &'static str {
        match self {
            Reason::Equal => "equal",
            Reason::Different => "different",
            Reason::NoAnswer => "no_answer",
            Reason::Unreadable => "unreadable",
            Reason::BadGold => "bad_gold",
            Reason::NoVerifier => "no_verifier",
            Reason::TimeLimit => "time_limit",
            Reason::MemoryLimit => "memory_limit",
            Reason::OutputLimit => "output_limit",
            Reason::Crashed => "crashed",
            Reason::Blocked => "blocked",
            Reason::NoSandbox => "no_sandbox",
            Reason::VerifierFailed => "verifier_failed",
            Reason::Undecided => "undecided",
            Reason::NoVerdict => "no_verdict",
            Reason::BadVerdict => "bad_verdict",
            Reason::VerifierTimeLimit => "verifier_time_limit",
        }
    }

    /// The reason with this code; `None` if there is none.
    pub fn from_code(code: &str) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// The verdict that follows from the reason.
    pub fn verdict(self) -> Verdict {
        match self {
            Reason::Equal => Verdict::Correct,
            // Only a missing answer is malformed. An answer that cannot be parsed is still in the requested
            // format, and so is a program that does not run.
            Reason::NoAnswer => Verdict::Malformed,
            Reason::BadGold
            | Reason::NoVerifier
            | Reason::NoSandbox
            | Reason::VerifierFailed
            | Reason::Undecided
            | Reason::NoVerdict
            | Reason::BadVerdict
            | Reason::VerifierTimeLimit => Verdict::Undetermined,
            Reason::Different
            | Reason::Unreadable
            | Reason::TimeLimit
            | Reason::MemoryLimit
            | Reason::OutputLimit
            | Reason::Crashed
            | Reason::Blocked => Verdict::Wrong,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A row states an unknown verdict.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected {}, got {name:?}", UnknownVerdict::EXPECTED)]
pub struct UnknownVerdict {
    /// The stated name.
    pub name: String,
}

impl UnknownVerdict {
    /// The valid names, for messages.
    pub const EXPECTED: &str = "\"correct\", \"wrong\" or \"undetermined\"";
}

/// The verdict that a row states by its name and an optional reason code.
///
/// The inverse of [`Verdict::name`]; the reason distinguishes [`Verdict::Malformed`] from [`Verdict::Wrong`].
/// Rows from other tools may have no reason or an unknown one, and count as ordinary wrong answers.
///
/// # Errors
/// No verdict has this name. It is not treated as [`Verdict::Undetermined`], because that would disguise a
/// corrupt file as low accuracy.
pub fn stated_verdict(name: &str, reason: Option<&str>) -> Result<Verdict, UnknownVerdict> {
    match name {
        "correct" => Ok(Verdict::Correct),
        "wrong" if reason == Some(Reason::NoAnswer.code()) => Ok(Verdict::Malformed),
        "wrong" => Ok(Verdict::Wrong),
        "undetermined" => Ok(Verdict::Undetermined),
        _ => Err(UnknownVerdict { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, reason: Option<&str>, expected: Verdict) {
        assert_eq!(stated_verdict(name, reason), Ok(expected), "{name} {reason:?}");
    }

    #[test]
    fn a_row_states_the_verdict_of_its_reason() {
        for reason in Reason::ALL {
            check(reason.verdict().name(), Some(reason.code()), reason.verdict());
        }
    }

    #[test]
    fn a_row_need_not_have_a_reason_of_ours() {
        for reason in [None, Some(""), Some("too long")] {
            check("correct", reason, Verdict::Correct);
            check("wrong", reason, Verdict::Wrong);
            check("undetermined", reason, Verdict::Undetermined);
        }
    }

    #[test]
    fn an_unknown_verdict_is_an_error_that_says_what_is_expected() {
        for name in ["", "Correct", "malformed", "no_answer"] {
            assert_eq!(stated_verdict(name, Some("equal")), Err(UnknownVerdict { name: name.to_owned() }));
        }
        assert_eq!(
            stated_verdict("right", None).unwrap_err().to_string(),
            "expected \"correct\", \"wrong\" or \"undetermined\", got \"right\""
        );
    }

    #[test]
    fn every_reason_has_its_verdict_and_its_own_code() {
        let of = |verdict: Verdict| Reason::ALL.into_iter().filter(|r| r.verdict() == verdict).count();
        let counts = [Verdict::Correct, Verdict::Wrong, Verdict::Malformed, Verdict::Undetermined].map(of);
        assert_eq!(counts, [1, 7, 1, 8]);
        assert_eq!(Reason::NoAnswer.verdict(), Verdict::Malformed);
        assert_eq!(Reason::Unreadable.verdict(), Verdict::Wrong);
        assert_eq!(Reason::NoSandbox.verdict(), Verdict::Undetermined);
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
        }
        assert_eq!(Reason::from_code("right"), None);
    }
}
