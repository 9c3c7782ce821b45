//! Names of functions, as commands, in text commands and as plain words.

use super::syntax::Function;

/// A function, and its names.
#[rustfmt::skip]
const FUNCTIONS: [(Function, &[&str]); 31] = [
    (Function::Sine, &["sin"]),
    (Function::Cosine, &["cos"]),
    (Function::Tangent, &["tan", "tg"]),
    (Function::Cotangent, &["cot", "ctg", "cotg"]),
    (Function::Secant, &["sec"]),
    (Function::Cosecant, &["csc", "cosec"]),
    (Function::ArcSine, &["arcsin", "asin"]),
    (Function::ArcCosine, &["arccos", "acos"]),
    (Function::ArcTangent, &["arctan", "atan", "arctg", "artg"]),
    (Function::ArcCotangent, &["arccot", "acot", "arcctg", "arccotg"]),
    (Function::ArcSecant, &["arcsec", "asec"]),
    (Function::ArcCosecant, &["arccsc", "acsc", "arccosec"]),
    (Function::HyperbolicSine, &["sinh", "sh"]),
    (Function::HyperbolicCosine, &["cosh", "ch"]),
    (Function::HyperbolicTangent, &["tanh", "th", "tgh"]),
    (Function::HyperbolicCotangent, &["coth", "cth", "ctgh"]),
    (Function::HyperbolicSecant, &["sech"]),
    (Function::HyperbolicCosecant, &["csch", "cosech"]),
    (Function::AreaSine, &["arsinh", "arcsinh", "asinh", "argsinh", "arsh", "argsh"]),
    (Function::AreaCosine, &["arcosh", "arccosh", "acosh", "argcosh", "arch", "argch"]),
    (Function::AreaTangent, &["artanh", "arctanh", "atanh", "argtanh", "arth", "argth"]),
    (Function::AreaCotangent, &["arcoth", "arccoth", "acoth", "argcoth"]),
    (Function::AreaSecant, &["arsech", "arcsech", "asech", "argsech"]),
    (Function::AreaCosecant, &["arcsch", "arccsch", "acsch", "argcsch"]),
    (Function::Logarithm, &["ln"]),
    (Function::Minimum, &["min"]),
    (Function::Maximum, &["max"]),
    (Function::GreatestDivisor, &["gcd"]),
    (Function::LeastMultiple, &["lcm"]),
    (Function::Determinant, &["det"]),
    (Function::Absolute, &["abs"]),
];

/// Names that are functions as commands alone: as plain words they are as likely products or words.
const COMMANDS_ONLY: [&str; 8] = ["tg", "sh", "ch", "th", "cth", "arsh", "arch", "arth"];

/// Other plain words that commands write too.
const PLAIN_COMMANDS: [&str; 9] = ["sqrt", "log", "lg", "exp", "pi", "infinity", "infty", "mod", "inf"];

/// The function of a command.
pub(super) fn function_named(name: &str) -> Option<Function> {
    FUNCTIONS.iter().find(|(_, names)| names.contains(&name)).map(|(function, _)| *function)
}

/// Whether a word without a backslash is a command all the same.
pub(super) fn is_plain_command(word: &str) -> bool {
    PLAIN_COMMANDS.contains(&word) || (function_named(word).is_some() && !COMMANDS_ONLY.contains(&word))
}

/// The function `f` of \(f^{-1}\), and its inverse.
const INVERSES: [(Function, Function); 12] = [
    (Function::Sine, Function::ArcSine),
    (Function::Cosine, Function::ArcCosine),
    (Function::Tangent, Function::ArcTangent),
    (Function::Cotangent, Function::ArcCotangent),
    (Function::Secant, Function::ArcSecant),
    (Function::Cosecant, Function::ArcCosecant),
    (Function::HyperbolicSine, Function::AreaSine),
    (Function::HyperbolicCosine, Function::AreaCosine),
    (Function::HyperbolicTangent, Function::AreaTangent),
    (Function::HyperbolicCotangent, Function::AreaCotangent),
    (Function::HyperbolicSecant, Function::AreaSecant),
    (Function::HyperbolicCosecant, Function::AreaCosecant),
];

/// The inverse of a function that has one by this notation.
pub(super) fn inverse_of(function: Function) -> Option<Function> {
    INVERSES.iter().find(|(known, _)| *known == function).map(|(_, inverse)| *inverse)
}
