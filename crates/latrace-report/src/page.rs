//! Renders the page: one HTML file that contains its style, script and data, and makes no network requests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::data::ReportData;
use super::several::SeveralRuns;

/// Maximum size of a page (bytes).
pub const LARGEST_PAGE: usize = 2_000_000;

const TEMPLATE: &str = include_str!("assets/page.html");
const STYLE: &str = include_str!("assets/page.css");
/// The script's files, in order of concatenation.
const SCRIPTS: [&str; 21] = [
    include_str!("assets/dom.js"),
    include_str!("assets/format.js"),
    include_str!("assets/scale.js"),
    include_str!("assets/table.js"),
    include_str!("assets/chart.js"),
    include_str!("assets/models.js"),
    include_str!("assets/summary.js"),
    include_str!("assets/methods.js"),
    include_str!("assets/results.js"),
    include_str!("assets/browse.js"),
    include_str!("assets/responses.js"),
    include_str!("assets/signs.js"),
    include_str!("assets/training.js"),
    include_str!("assets/weighing.js"),
    include_str!("assets/lengths.js"),
    include_str!("assets/emphasis.js"),
    include_str!("assets/browser.js"),
    include_str!("assets/costs.js"),
    include_str!("assets/several.js"),
    include_str!("assets/live.js"),
    include_str!("assets/main.js"),
];

/// How a page is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageUse {
    /// As a file, which never changes.
    File,
    /// From the server, which it polls for newer data.
    Served,
}

/// The page of a run. [`super::fit`] keeps it within [`LARGEST_PAGE`].
///
/// # Errors
/// Data that cannot be serialised as JSON.
pub fn page(data: &ReportData, used: PageUse) -> serde_json::Result<String> {
    page_with(&data.run.name, data, used)
}

/// The page of several runs.
///
/// # Errors
/// Data that cannot be serialised as JSON.
pub fn page_of_several(data: &SeveralRuns) -> serde_json::Result<String> {
    page_with(&format!("{} runs", data.runs.len()), data, PageUse::File)
}

fn page_with(name: &str, data: &impl Serialize, used: PageUse) -> serde_json::Result<String> {
    let data_text = embeddable(&serde_json::to_string(data)?);
    Ok(fill(TEMPLATE, |part| match part {
        "live" => if used == PageUse::Served { " data-live" } else { "" }.to_owned(),
        "policy" => policy(used),
        "title" => html(&title(name)),
        "style" => STYLE.to_owned(),
        "script" => script(),
        "data" => data_text.clone(),
        other => unreachable!("the template has no {other}"),
    }))
}

fn title(run: &str) -> String {
    if run.is_empty() { "latrace".to_owned() } else { format!("{run} · latrace") }
}

/// The content security policy: the page may run its own script, use its own style, and, if served, query its
/// server. The browser refuses anything else, so even text that became markup by mistake could do nothing.
pub fn policy(used: PageUse) -> String {
    // A data URL is the page's empty icon, without which browsers ask the server for one.
    let connections = if used == PageUse::Served { "; connect-src 'self'" } else { "" };
    let (script, style) = (hash(&script()), hash(STYLE));
    format!(
        "default-src 'none'; script-src {script}; style-src {style}; img-src data:{connections}; base-uri 'none'; form-action 'none'"
    )
}

/// All scripts as one function, so that their names are no properties of the window.
fn script() -> String {
    format!("(() => {{\n\"use strict\";\n{}}})();\n", SCRIPTS.concat())
}

fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

/// JSON that is safe inside a script element: characters that could close the element or open a comment are
/// escaped.
pub(super) fn embeddable(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    json.chars().for_each(|letter| push_escaped(&mut text, letter));
    text
}

fn push_escaped(text: &mut String, letter: char) {
    // U+2028 and U+2029 end a line in scripts, though not in JSON.
    match letter {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text.push_str(&format!("\\u{:04x}", letter as u32)),
        other => text.push(other),
    }
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Replaces each `{{name}}` of the template in one pass, so that inserted text is never expanded itself.
fn fill(template: &str, value_of: impl Fn(&str) -> String) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        text.push_str(before);
        text.push_str(&value_of(name));
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> ReportData {
        let mut data = ReportData::default();
        data.run.name = name.to_owned();
        data
    }

    #[track_caller]
    fn check(name: &str) {
        let text = page(&named(name), PageUse::File).unwrap();
        let json = text.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
        assert_eq!(serde_json::from_str::<ReportData>(json).unwrap().run.name, name);
        assert!(!json.contains(['<', '>', '&', '\u{2028}']), "{json}");
        // Nothing of the name is markup: as many elements as without it.
        let elements = |text: &str| text.matches('<').count();
        assert_eq!(elements(&text), elements(&page(&named("plain"), PageUse::File).unwrap()));
    }

    #[test]
    fn texts_come_back_from_the_page_and_are_never_markup() {
        check("</script><script>alert(1)</script>");
        check("<!-- <script> ]]> &lt; \u{2028} \u{2029} \\u003c \\\" \u{0}");
        check("{{script}} {{data}} {{nobody}}");
        check("\"><img src=x onerror=alert(1)>");
    }

    #[test]
    fn the_policy_names_what_is_in_the_page() {
        let text = page(&named("a"), PageUse::File).unwrap();
        let inner = |open: &str, close: &str| {
            text.rsplit_once(open).unwrap().1.split_once(close).unwrap().0.to_owned()
        };
        let policy = policy(PageUse::File);
        assert!(policy.contains(&hash(&inner("<script>", "</script>"))));
        assert!(policy.contains(&hash(&inner("<style>", "</style>"))));
        assert!(!policy.contains("-inline") && !policy.contains("-eval") && !policy.contains("connect-src"));
    }

    #[test]
    fn scripts_never_make_markup_from_text() {
        for forbidden in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
            "</script",
            "http:",
            "https:",
        ] {
            let text = script().replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains(forbidden), "{forbidden}");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains("</style"));
    }

    #[test]
    fn every_script_is_in_the_page() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/assets");
        let files = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|end| end == "js"));
        let texts: Vec<String> = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert_eq!(texts.len(), SCRIPTS.len());
        assert!(texts.iter().all(|text| SCRIPTS.contains(&text.as_str())));
    }
}
