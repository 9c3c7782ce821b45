//! Flags that look like settings: `latrace run recipe.toml --seed 3`, where `seed=3` is meant.

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use latrace_run::recipe::keys_called;

/// Adds the setting that was meant to the error of an unknown flag.
pub fn with_meant_setting(mut error: Error, arguments: &[String]) -> Error {
    if let Some(tip) = tip(&error, arguments) {
        // In place of clap's own: that the flag may be passed on as a value, or is like another one.
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

fn tip(error: &Error, arguments: &[String]) -> Option<String> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else { return None };
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let keys = meant(verb(arguments)?, flag.strip_prefix("--")?);
    if keys.is_empty() {
        return None;
    }
    let value = value(flag, arguments).unwrap_or("VALUE");
    let settings: Vec<String> = keys.iter().map(|key| format!("{key}={value}")).collect();
    Some(format!("settings are written without dashes: {}", settings.join(", or ")))
}

/// The verb, if it is one that takes settings.
fn verb(arguments: &[String]) -> Option<&str> {
    arguments.iter().map(String::as_str).find(|argument| ["run", "recipe", "train"].contains(argument))
}

fn meant(verb: &str, name: &str) -> Vec<String> {
    let keys = keys_called(name).into_iter();
    if verb != "train" {
        return keys.collect();
    }
    // Settings of a training stand alone there.
    keys.filter_map(|key| key.strip_prefix("final.").map(str::to_owned)).collect()
}

/// The value of a flag, behind an equals sign or as the next argument.
fn value<'a>(flag: &str, arguments: &'a [String]) -> Option<&'a str> {
    let behind = arguments.iter().find_map(|argument| argument.strip_prefix(flag)?.strip_prefix('='));
    let next = || arguments.iter().skip_while(|argument| *argument != flag).nth(1).map(String::as_str);
    behind.or_else(|| next().filter(|next| !next.starts_with("--")))
}
