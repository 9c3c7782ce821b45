//! Serialises a judgement's reason for the page: its code, and the verdict that follows from it.

use latrace_core::Reason;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

#[derive(Serialize, Deserialize)]
struct Judged {
    verdict: Option<String>,
    reason: Option<String>,
}

pub(super) fn serialize<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    option::serialize(&Some(*reason), serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Reason, D::Error> {
    option::deserialize(deserializer)?.ok_or_else(|| D::Error::missing_field("reason"))
}

/// The same for an optional judgement: both are null if absent.
pub(super) mod option {
    use super::{Deserialize, Deserializer, Error, Judged, Reason, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        reason: &Option<Reason>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let verdict = reason.map(|reason| reason.verdict().name().to_owned());
        let reason = reason.map(|reason| reason.code().to_owned());
        Judged { verdict, reason }.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Reason>, D::Error> {
        let Some(code) = Judged::deserialize(deserializer)?.reason else { return Ok(None) };
        // The verdict is not read: it follows from the reason, and could only contradict it.
        let unknown = || D::Error::custom(format!("no judgement has the reason {code:?}"));
        Reason::from_code(&code).ok_or_else(unknown).map(Some)
    }
}
