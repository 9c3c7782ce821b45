//! Names of variants: one list for each enum, from which `ALL`, `name`, `from_name` and its serialised form
//! are generated.

use std::fmt;

use serde::de::{EnumAccess, Error as _, VariantAccess, Visitor};

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
                const NAMES: &[&str] = &[$($name),+];
                // As an enum, not as a text: a reader of settings can then say what the choices are.
                deserializer.deserialize_enum($kind, NAMES, $crate::names::Choice(NAMES, Self::from_name))
            }
        }
    };
}

pub(crate) use named;

/// Reads one of some names.
pub(crate) struct Choice<T>(pub(crate) &'static [&'static str], pub(crate) fn(&str) -> Result<T>);

impl<'de, T> Visitor<'de> for Choice<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "one of {}", self.0.join(", "))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> std::result::Result<T, A::Error> {
        let (name, rest) = data.variant::<String>()?;
        rest.unit_variant()?;
        (self.1)(&name).map_err(|_| A::Error::unknown_variant(&name, self.0))
    }
}

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
