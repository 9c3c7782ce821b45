//! Names of variants: one list for each enum, from which `ALL`, `name`, `from_name` and its serialised form
//! are generated.

use crate::error::{Error, Result};

/// Gives an enum its registry: `ALL`, `name`, `from_name`, and serde by name. A parameter is not part of the
/// name: it is a setting of its own, and the list holds its default.
macro_rules! named {
    ($type:ident, $kind:literal, { $($variant:ident $(($($parameter:expr),+))? = $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every variant, those with parameters at their defaults.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$variant $(($($parameter),+))?),+];

            /// The name in recipes, on the command line and in reports.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $name),+
                }
            }

            /// The variant of a name, its parameters at their defaults.
            ///
            /// # Errors
            /// Unknown names, with the list of those there are.
            pub fn from_name(name: &str) -> $crate::Result<Self> {
                $crate::names::find($kind, name, Self::ALL, Self::name)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                let name = <String as serde::Deserialize>::deserialize(deserializer)?;
                Self::from_name(&name).map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use named;

/// The variant that has `name`.
pub(crate) fn find<T, const N: usize>(
    kind: &'static str,
    name: &str,
    all: [T; N],
    name_of: fn(&T) -> &'static str,
) -> Result<T> {
    // Built before `all` is consumed; a dozen names cost nothing.
    let known = || all.iter().map(name_of).collect::<Vec<_>>().join(", ");
    let unknown = Error::UnknownName { kind, name: name.to_owned(), known: known() };
    all.into_iter().find(|variant| name_of(variant) == name).ok_or(unknown)
}
