//! What a verifier says: a verdict, a short reason, and what it judged.

use std::fmt;

/// Whether an answer is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// It is right.
    Correct,
    /// It is wrong, or there is none.
    Wrong,
    /// The verifier cannot say: the reference is unusable, or nothing may run.
    Undetermined,
}

impl Verdict {
    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Correct => "correct",
            Verdict::Wrong => "wrong",
            Verdict::Undetermined => "undetermined",
        }
    }
}

/// Why a verdict is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Answer and reference are the same; a program passes every test.
    Equal,
    /// They differ; a program's output is wrong.
    Different,
    /// The response holds no answer.
    NoAnswer,
    /// The answer cannot be read as one.
    Unreadable,
    /// The reference cannot be read.
    BadGold,
    /// A program took too long.
    TimeLimit,
    /// A program took too much memory.
    MemoryLimit,
    /// A program printed too much.
    OutputLimit,
    /// A program failed.
    Crashed,
    /// A program did what the sandbox kills for.
    Blocked,
    /// There is no working sandbox, so nothing ran.
    NoSandbox,
    /// The verifier itself failed on this row.
    VerifierFailed,
}

impl Reason {
    /// The code in files.
    pub fn code(self) -> &'static str {
        match self {
            Reason::Equal => "equal",
            Reason::Different => "different",
            Reason::NoAnswer => "no_answer",
            Reason::Unreadable => "unreadable",
            Reason::BadGold => "bad_gold",
            Reason::TimeLimit => "time_limit",
            Reason::MemoryLimit => "memory_limit",
            Reason::OutputLimit => "output_limit",
            Reason::Crashed => "crashed",
            Reason::Blocked => "blocked",
            Reason::NoSandbox => "no_sandbox",
            Reason::VerifierFailed => "verifier_failed",
        }
    }

    /// The reason of a code.
    pub fn from_code(code: &str) -> Option<Reason> {
        use Reason as R;
        let all = [
            R::Equal,
            R::Different,
            R::NoAnswer,
            R::Unreadable,
            R::BadGold,
            R::TimeLimit,
            R::MemoryLimit,
            R::OutputLimit,
            R::Crashed,
        ];
        all.into_iter()
            .chain([R::Blocked, R::NoSandbox, R::VerifierFailed])
            .find(|reason| reason.code() == code)
    }

    /// The verdict that goes with the reason.
    pub fn verdict(self) -> Verdict {
        match self {
            Reason::Equal => Verdict::Correct,
            Reason::BadGold | Reason::NoSandbox | Reason::VerifierFailed => Verdict::Undetermined,
            _ => Verdict::Wrong,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A verdict's reason and the answer that was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Why; the verdict follows from it.
    pub reason: Reason,
    /// The answer found in the response, as it stands there.
    pub extracted: Option<String>,
}

impl Judgement {
    /// A judgement of `extracted`.
    pub fn new(reason: Reason, extracted: impl Into<Option<String>>) -> Judgement {
        Judgement { reason, extracted: extracted.into() }
    }

    /// The verdict that goes with the reason.
    pub fn verdict(&self) -> Verdict {
        self.reason.verdict()
    }
}
