use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    Short,
    LongWay,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Inner {
    rate: f64,
    way: Way,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner { rate: 0.0, way: Way::Short }
    }
}

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "only whether it is read counts")]
struct Flat {
    count: u64,
    #[serde(default)]
    tries: u32,
    #[serde(flatten)]
    inner: Inner,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only whether it is read counts")]
struct Outer {
    name: String,
    #[serde(default)]
    flag: bool,
    #[serde(default)]
    inner: Inner,
    flat: Option<Flat>,
    #[serde(default)]
    lists: BTreeMap<String, Vec<String>>,
}

#[track_caller]
fn check(text: &str, expected: Result<(), &str>) {
    let outcome =
        typed::<Outer>(toml::from_str(text).unwrap()).map(drop).map_err(|refused| refused.to_string());
    assert_eq!(outcome.as_ref().map_err(String::as_str).copied(), expected);
}

#[test]
fn wrong_types_are_said_in_plain_words_with_the_whole_key() {
    check("name = \"a\"\ninner = { rate = 1, way = \"long-way\" }\nflat = { count = 3, rate = 0.5 }", Ok(()));
    check("name = 3", Err("name: expected a text, got 3"));
    check("name = \"a\"\nflag = \"yes\"", Err("flag: expected true or false, got \"yes\""));
    check("name = \"a\"\ninner = 3", Err("inner: expected a table of settings, got 3"));
    check("name = \"a\"\ninner.rate = [1]", Err("inner.rate: expected a number, got a list"));
    check("name = \"a\"\nflat.count = \"many\"", Err("flat.count: expected a whole number, got \"many\""));
    check("name = \"a\"\nflat.count = 1.5", Err("flat.count: expected a whole number, got 1.5"));
    check("name = \"a\"\nflat.count = -1", Err("flat.count: expected a whole number of at least 0, got -1"));
    check(
        "name = \"a\"\nflat = { count = 1, tries = 5000000000 }",
        Err("flat.tries: expected a whole number of at most 4294967295, got 5000000000"),
    );
    check("name = \"a\"\nlists.b = \"c\"", Err("lists.b: expected a list, got \"c\""));
    // serde reads what is flattened as a whole, and names the table alone.
    check("name = \"a\"\nflat = { count = 1, rate = \"x\" }", Err("flat: expected a number, got \"x\""));
}

#[test]
fn choices_are_listed_with_the_nearest() {
    check(
        "name = \"a\"\ninner.way = \"long\"",
        Err("inner.way: expected one of short, long-way, got \"long\"; the nearest is \"short\""),
    );
    check("name = \"a\"\ninner.way = 3", Err("inner.way: expected one of short, long-way, got 3"));
    check(
        "name = \"a\"\nflat = { count = 1, way = \"lon-way\" }",
        Err("flat: expected one of short, long-way, got \"lon-way\"; the nearest is \"long-way\""),
    );
}

#[test]
fn keys_that_are_unknown_or_missing_are_named_in_full() {
    check("name = \"a\"\ninner.rat = 1", Err("unknown key \"inner.rat\"; the nearest known key is \"rate\""));
    check("nam = \"a\"", Err("unknown key \"nam\"; the nearest known key is \"name\""));
    check("flag = true", Err("name: expected a value, got nothing"));
}

#[test]
fn what_is_not_toml_is_placed() {
    let check = |text: &str, expected: &str| {
        let error = parse_table(text, "r.toml").unwrap_err();
        assert!(error.is::<Failure>() && error.to_string().starts_with(expected), "{error}");
    };
    check("a = 1\nb = \n", "r.toml line 2, column 5: not valid TOML: ");
    check("a = 1\n[ab", "r.toml line 2, column 4: not valid TOML: ");
    check("a = 1\na = 2", "r.toml line 2, column 1: not valid TOML: duplicate key");
    check("a = 1\nb = \"é\" x", "r.toml line 2, column 9: not valid TOML: ");
}
