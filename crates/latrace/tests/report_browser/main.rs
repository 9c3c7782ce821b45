//! The report in a real browser: what it draws, what it asks for, what it lets run. Without a Chromium these
//! tests say so and hold nothing.
#![allow(clippy::unwrap_used, reason = "helpers outside #[test] functions fail the test by panicking too")]

mod chromium;
mod fixture;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chromium::Browser;
use latrace_report::{LARGEST_PAGE, PageUse, ReportData, fit, page, page_of_several};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A browser with a report in it.
struct Opened {
    browser: Browser,
    address: String,
    _folder: TempDir,
}

/// The browser's program; where there is none, that is said.
fn program() -> Option<PathBuf> {
    let program = chromium::program();
    if program.is_none() {
        // Not through `eprintln!`, which the test harness would keep to itself.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: no Chromium is installed, so the report is not looked at (Debian package `chromium`)"
        );
    }
    program
}

/// Opens the report of `data`; nothing where there is no browser.
fn open(data: &ReportData) -> Option<Opened> {
    open_text(&page(data, PageUse::File).unwrap())
}

/// Opens a page; nothing where there is no browser.
fn open_text(text: &str) -> Option<Opened> {
    let program = program()?;
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("report.html");
    std::fs::write(&path, text).unwrap();
    let address = format!("file://{}", path.display());
    let mut browser = Browser::start(&program);
    browser.set_size(1280, 900);
    browser.open(&address);
    Some(Opened { browser, address, _folder: folder })
}

impl Opened {
    #[track_caller]
    fn check_calm(&mut self) {
        assert_eq!(self.browser.complaints(), Vec::<String>::new());
        let asked: Vec<String> =
            self.browser.requests().into_iter().filter(|address| !address.starts_with("data:")).collect();
        assert_eq!(asked, std::slice::from_ref(&self.address));
        assert_eq!(self.browser.evaluate("typeof window.hacked"), json!("undefined"));
    }

    /// The numbers of the marks of a figure, in their order.
    fn values(&mut self, figure: &str) -> Vec<f64> {
        let found = self.browser.evaluate(&format!("[...document.querySelectorAll('#{figure} .mark[data-value]')].map((mark) => Number(mark.dataset.value))"));
        found.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    }

    /// The cells of a figure's table, row by row.
    fn rows(&mut self, figure: &str, table: usize) -> Vec<Vec<String>> {
        let script = format!(
            "[...document.querySelectorAll('#{figure} table')[{table}].tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent))"
        );
        serde_json::from_value(self.browser.evaluate(&script)).unwrap()
    }

    /// Keeps what buttons save.
    fn record_saved(&mut self) {
        self.browser.evaluate(
            "{ window.saved = []; const make = URL.createObjectURL; URL.createObjectURL = (blob) => { blob.text().then((text) => saved.push(text)); return make(blob); }; 0 }",
        );
    }

    /// The texts of so many files that were saved.
    fn saved(&mut self, files: usize) -> Vec<String> {
        self.browser.wait_for(&format!("saved.length === {files}"));
        serde_json::from_value(self.browser.evaluate("saved")).unwrap()
    }

    fn text(&mut self, selector: &str) -> String {
        self.browser
            .evaluate(&format!("document.querySelector({}).textContent", json!(selector)))
            .as_str()
            .unwrap()
            .to_owned()
    }
}

#[track_caller]
fn check_equal(got: &[f64], expected: impl IntoIterator<Item = f64>) {
    assert_eq!(got, expected.into_iter().collect::<Vec<f64>>());
}

fn percent(share: f64) -> String {
    format!("{:.1}\u{a0}%", (share * 100.0 * 10.0).round() / 10.0)
}

#[test]
fn every_chart_has_its_data() {
    let data = fixture::finished_run(40);
    let Some(mut opened) = open(&data) else { return };
    let of = |counts: &[u64]| counts.iter().map(|&count| count as f64).collect::<Vec<f64>>();
    check_equal(&opened.values("accuracy"), data.models.iter().map(|model| model.overall.accuracy));
    check_equal(
        &opened.values("difficulty"),
        data.models.iter().flat_map(|model| model.by_difficulty.iter().map(|entry| entry.accuracy.accuracy)),
    );
    check_equal(
        &opened.values("pass-at-k"),
        data.models.iter().flat_map(|model| model.pass_at.iter().map(|pass| pass.mean)),
    );
    let last = |pick: fn(&latrace_report::TrainingPoint) -> f64| {
        data.training.iter().map(move |training| pick(training.points.last().unwrap()))
    };
    check_equal(&opened.values("training"), last(|point| point.loss).chain(last(|point| point.grad_norm)));
    check_equal(&opened.values("funnel"), data.funnel.iter().map(|step| step.count as f64));
    let weights = data.weights.as_ref().unwrap();
    check_equal(&opened.values("weights"), [of(&weights.rho.counts), of(&weights.effective.counts)].concat());
    check_equal(
        &opened.values("bounds"),
        data.bounds.as_ref().unwrap().points.iter().map(|point| point.mean.unwrap()),
    );
    let lengths = data.lengths.as_ref().unwrap();
    let cells = |density: &latrace_report::Density| {
        of(&density.counts.concat()).into_iter().filter(|&count| count > 0.0).collect::<Vec<f64>>()
    };
    check_equal(&opened.values("lengths"), [cells(&lengths.summed), cells(&lengths.mean)].concat());
    check_equal(&opened.values("emphasis"), of(&data.emphasis.as_ref().unwrap().accuracies.counts));
    let drawn = opened.values("time");
    let all: f64 = data.stages.iter().map(|stage| stage.seconds.unwrap()).sum();
    let (by_method, by_kind) = drawn.split_at(2);
    for group in [by_method, by_kind] {
        let sum: f64 = group.iter().sum();
        assert!((sum - all).abs() < 1e-9, "{drawn:?} of {all}");
    }
    let curves = opened.browser.evaluate(
        "[...document.querySelectorAll('#emphasis .mark[data-points]')].map((mark) => mark.dataset.series)",
    );
    assert_eq!(curves, json!(["variational", "rft", "binary-rl", "grpo"]));
    opened.check_calm();
}

#[test]
fn tables_hold_the_exact_numbers() {
    let data = fixture::finished_run(2);
    let Some(mut opened) = open(&data) else { return };
    let accuracy = opened.rows("accuracy", 0);
    let expected = data.models.iter().map(|model| {
        [percent(model.overall.accuracy), percent(model.overall.low), percent(model.overall.high)]
    });
    assert_eq!(
        accuracy.iter().map(|row| row[1..4].to_vec()).collect::<Vec<_>>(),
        expected.map(|row| row.to_vec()).collect::<Vec<_>>()
    );
    assert_eq!(
        accuracy.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(),
        ["Initial", "Posterior", "Final", "RFT", "Uniform weights"]
    );
    assert_eq!(opened.rows("bounds", 0).len(), 8);
    assert_eq!(opened.rows("weights", 0).len(), 20);
    assert_eq!(opened.rows("funnel", 0)[1][1..3], ["20,212".to_owned(), percent(20_212.0 / 20_800.0)]);
    assert_eq!(opened.rows("emphasis", 0)[1], ["RFT", "8.0\u{a0}%", "29.0\u{a0}%", "63.0\u{a0}%"]);
    assert_eq!(opened.rows("time", 0).len(), data.stages.len());
    let methods = opened.rows("methods", 0);
    assert_eq!(methods[1][0], "RFT");
    assert_eq!(methods[1][1], percent(data.models[3].overall.accuracy));
    assert_eq!(methods[1][4..], ["51\u{a0}s", "1,100,020", "2,205,710"]);
    // Without a cost that is known.
    assert_eq!(methods[2][4..], ["–", "–", "–"]);
    let glossary = opened.text("#methods .glossary");
    assert!(
        glossary.contains("Rejection-sampling fine-tuning: does something. Here with rounds = 2"),
        "{glossary}"
    );
    let origin = opened.text("#recipe .facts");
    for fact in ["2026-03-07 21:05 UTC", "Quick 9000, 8 cores", "latrace run recipes/quickstart.toml", "f32"]
    {
        assert!(origin.contains(fact), "{origin}");
    }
    let difficulty = opened.text("#difficulty .foot");
    assert!(
        difficulty.contains("counts the fewest moves") && difficulty.contains("90 of 1, 180 of 2"),
        "{difficulty}"
    );
    assert_eq!(opened.text("h1"), data.findings.headline);
    for remark in &data.findings.remarks {
        assert!(opened.text(".remarks").contains(&remark.text), "{remark:?}");
    }
}

#[test]
fn charts_tell_their_values_to_mouse_and_keyboard() {
    let data = fixture::finished_run(2);
    let Some(mut opened) = open(&data) else { return };
    opened.browser.hover("#accuracy .mark[data-series='final']");
    let shown = opened.text("#accuracy .tip");
    assert!(shown.contains("Final") && shown.contains(&percent(data.models[2].overall.accuracy)), "{shown}");
    opened.browser.evaluate("document.querySelector('#bounds .chart').focus()");
    for _ in 0..3 {
        opened.browser.press("ArrowRight");
    }
    assert!(
        opened.text("#bounds [role='status']").starts_with("L with k = 3"),
        "{}",
        opened.text("#bounds [role='status']")
    );
    assert_eq!(opened.browser.evaluate("document.querySelectorAll('#bounds .ring').length"), json!(1));
    opened.browser.press("Escape");
    assert_eq!(opened.browser.evaluate("document.querySelectorAll('#bounds .ring').length"), json!(0));
    opened.check_calm();
}

#[test]
fn traces_are_browsed_by_mouse_and_keyboard() {
    let data = fixture::finished_run(40);
    let Some(mut opened) = open(&data) else { return };
    assert!(opened.text("#browser .lead").contains("40 of 2,600 questions"));
    assert_eq!(opened.text("#browser .steps p"), "Question 1 of 40");
    // By mouse: the third question of the list, then the next one.
    opened.browser.click("#browser .list li:nth-child(3) button");
    check_question(&mut opened, &data, 2, "3 of 40");
    opened.browser.click("#browser .step:last-child");
    check_question(&mut opened, &data, 3, "4 of 40");
    // By keyboard: back with the focused button, then search, list, Enter.
    opened.browser.evaluate("document.querySelector('#browser .step').focus()");
    opened.browser.press("Enter");
    check_question(&mut opened, &data, 2, "3 of 40");
    opened.browser.evaluate("document.querySelector('#traces-search').focus()");
    opened.browser.type_text("walk-001");
    assert_eq!(opened.text("#browser .found"), "10 of 40 questions");
    opened.browser.press("ArrowDown");
    opened.browser.press("ArrowDown");
    opened.browser.press("Enter");
    check_question(&mut opened, &data, 11, "2 of 10");
    // Tokens tell their log-ratio to the arrow keys.
    let first = best_trace(&data, 11);
    opened.browser.evaluate("document.querySelector('.tokens').focus()");
    opened.browser.press("ArrowRight");
    let said = opened.text(".tokens [role='status']");
    let expected = format!("{:.2}", f64::from(first.centinats[0]) / 100.0).replace('-', "−");
    assert!(said.ends_with(&format!("= {}", if expected == "−0.00" { "0.00" } else { &expected })), "{said}");
    opened.check_calm();
}

#[test]
fn questions_are_filtered_and_sorted() {
    let data = fixture::finished_run(40);
    let Some(mut opened) = open(&data) else { return };
    let choose = |opened: &mut Opened, select: &str, value: &str| {
        opened.browser.evaluate(&format!(
            "{{ const s = document.querySelector('#{select}'); s.value = '{value}'; s.dispatchEvent(new Event('change')); 0 }}"
        ));
    };
    let listed = |opened: &mut Opened, section: &str| {
        let ids = opened.browser.evaluate(&format!(
            "[...document.querySelectorAll('#{section} .list button')].map((button) => button.dataset.id)"
        ));
        serde_json::from_value::<Vec<String>>(ids).unwrap()
    };
    choose(&mut opened, "traces-difficulty", "2");
    let of = |wanted: &str| {
        let questions = data.traces.questions.iter();
        let found = questions.filter(|question| question.difficulty.as_deref() == Some(wanted));
        found.map(|question| question.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(listed(&mut opened, "browser"), of("2"));
    choose(&mut opened, "traces-difficulty", "");
    choose(&mut opened, "traces-sort", "low");
    let right = |id: &str| {
        let question = data.traces.questions.iter().find(|question| question.id == id).unwrap();
        let answers = question.traces.iter().flat_map(|trace| &trace.answers);
        answers.filter(|answer| answer.reason == Some(latrace_core::Reason::Equal)).count()
    };
    let rights: Vec<usize> = listed(&mut opened, "browser").iter().map(|id| right(id)).collect();
    assert!(rights.len() == 40 && rights.is_sorted() && rights[0] < rights[39], "{rights:?}");
    // Of every twelve questions, the initial model is right on 0, 3, 6 and 9, and the final one, in three of four
    // responses, on all but 0, 4 and 8.
    choose(&mut opened, "answers-change", "worse");
    let worse: Vec<String> = (0..100).step_by(3).map(|q| format!("walk-test-{q:04}")).collect();
    assert_eq!(listed(&mut opened, "responses"), worse);
    choose(&mut opened, "answers-verdict", "mixed");
    let both: Vec<String> =
        (0..100).step_by(3).filter(|q| q % 4 > 0).map(|q| format!("walk-test-{q:04}")).collect();
    assert_eq!(listed(&mut opened, "responses"), both);
    opened.check_calm();
}

#[test]
fn responses_before_and_after_stand_side_by_side() {
    let data = fixture::finished_run(2);
    let Some(mut opened) = open(&data) else { return };
    assert!(opened.text("#responses .lead").contains("100 of 300 questions"));
    opened.browser.click("#responses .list li:nth-child(2) button");
    let question = &data.responses.questions[1];
    assert_eq!(opened.text("#responses .asked dd:nth-of-type(2)"), question.question);
    assert_eq!(opened.text("#responses .asked dd:nth-of-type(3)"), "+7 *2 -3");
    let shown = opened.browser.evaluate(
        "[...document.querySelectorAll('#responses .model')].map((m) => [m.querySelector('h3').textContent, m.querySelector('header span').textContent, m.querySelectorAll('.responses li').length])",
    );
    assert_eq!(shown, json!([["Initial model", "0 of 4 right", 1], ["Final model", "3 of 4 right", 2]]));
    let said = opened
        .browser
        .evaluate("[...document.querySelectorAll('#responses .why')].map((why) => why.textContent)");
    let no_answer = "wrong, no answer, cut at the most tokens allowed";
    assert_eq!(said, json!([format!("{no_answer}, 4 times"), "right, 3 times", no_answer]));
    assert!(opened.text("#responses .lead").contains("A trace writes the value after each move."));
    // What would run if it became markup is a text.
    assert_eq!(opened.text("#responses .model:nth-child(2) .thought"), fixture::HOSTILE[1]);
    assert_eq!(
        opened.browser.evaluate("document.querySelectorAll('main img, main script').length"),
        json!(0)
    );
    opened.check_calm();
}

#[test]
fn charts_are_saved_as_svg_and_their_data_as_csv() {
    let data = fixture::finished_run(2);
    let Some(mut opened) = open(&data) else { return };
    opened.record_saved();
    opened.browser.click("#accuracy .save:nth-child(1)");
    opened.browser.click("#accuracy .save:nth-child(2)");
    let saved = opened.saved(2);
    assert!(
        saved[0].starts_with("<svg ") && saved[0].contains(" xmlns=\"http://www.w3.org/2000/svg\""),
        "{}",
        saved[0]
    );
    // Nothing in it needs the page's style.
    assert!(
        !saved[0].contains("var(") && !saved[0].contains("class=") && saved[0].contains("Final"),
        "{}",
        saved[0]
    );
    let lines: Vec<&str> = saved[1].lines().collect();
    assert_eq!(lines[0], "Model,Right,Low,High,Questions,Responses,Cut short,Undetermined,Mean tokens");
    let accuracy = data.models[0].overall.accuracy;
    assert!(lines[1].starts_with(&format!("Initial,{accuracy},")), "{}", lines[1]);
    assert_eq!(lines.len(), data.models.len() + 1);
    let charts =
        "[...document.querySelectorAll('.charted')].every((c) => c.querySelectorAll('.save').length === 2)";
    assert_eq!(opened.browser.evaluate(charts), json!(true));
    assert_eq!(opened.browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_chart_without_values_says_so() {
    let mut data = fixture::finished_run(2);
    data.funnel.clear();
    let Some(mut opened) = open(&data) else { return };
    let hidden = |figure: &str| format!("document.querySelector('#{figure} .chart .absent').hidden");
    assert_eq!(opened.browser.evaluate(&hidden("funnel")), json!(false));
    assert_eq!(opened.browser.evaluate(&hidden("accuracy")), json!(true));
    opened.check_calm();
}

#[test]
fn several_runs_are_drawn_over_each_other() {
    let data = fixture::several_runs();
    let Some(mut opened) = open_text(&page_of_several(&data).unwrap()) else { return };
    assert_eq!(opened.text("h1"), data.headline);
    let expected = data.models.iter().flat_map(|model| {
        let by_run = model.by_run.iter().flatten().map(|accuracy| accuracy.accuracy);
        std::iter::once(model.pooled.unwrap().accuracy).chain(by_run).collect::<Vec<f64>>()
    });
    check_equal(&opened.values("accuracy"), expected);
    let accuracy = opened.rows("accuracy", 0);
    assert_eq!(accuracy[2][0], "Final");
    assert_eq!(accuracy[2][2], "–");
    assert_eq!(accuracy[2][4], percent(data.models[2].pooled.unwrap().accuracy));
    let lines = opened.browser.evaluate(
        "[...document.querySelectorAll('#training .chart')].map((c) => c.querySelectorAll('.mark').length)",
    );
    assert_eq!(lines, json!(vec![3; 6]));
    let differing = opened.rows("recipe", 0);
    assert_eq!(differing, [["seed", "0", "–", "2"]]);
    // Sections of one run are not there, and nothing of a name is markup.
    let shown = opened.browser.evaluate("[...document.querySelectorAll('main > section')].map((s) => s.id)");
    assert_eq!(shown, json!(["summary", "results", "learning", "recipe"]));
    for width in [320, 390] {
        opened.browser.set_size(width, 844);
        let wide = opened.browser.evaluate("document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= u64::from(width), "{wide} at {width}");
    }
    for theme in ["light", "dark"] {
        opened.browser.set_theme(theme);
        assert_eq!(opened.browser.evaluate(CONTRASTS), json!([]), "{theme}");
    }
    opened.check_calm();
}

#[test]
fn runs_that_are_not_pooled_are_told_apart_and_have_their_own_intervals() {
    let data = fixture::apart_runs();
    let Some(mut opened) = open_text(&page_of_several(&data).unwrap()) else { return };
    assert_eq!(opened.text("#summary .lead"), data.not_pooled.clone().unwrap());
    let expected =
        data.models.iter().flat_map(|model| model.by_run.iter().flatten().map(|accuracy| accuracy.accuracy));
    check_equal(&opened.values("accuracy"), expected);
    let looks = opened.browser.evaluate(
        "new Set([...document.querySelectorAll('#accuracy .runs .mark')].map((m) => `${m.tagName} ${m.getAttribute('fill')}`)).size",
    );
    assert_eq!(looks, json!(8));
    let heads = opened.browser.evaluate(
        "[...document.querySelectorAll('#accuracy table')].map((t) => [...t.tHead.rows[0].cells].map((c) => c.textContent))",
    );
    assert_eq!(heads[0].as_array().unwrap().len(), 9, "nothing pooled: {heads}");
    assert_eq!(heads[1], json!(["Model", "Run", "Right", "Low", "High", "Questions", "Responses"]));
    let first = data.models[0].by_run[0].unwrap();
    assert_eq!(
        opened.rows("accuracy", 1)[0][1..5],
        ["seed-0".to_owned(), percent(first.accuracy), percent(first.low), percent(first.high)]
    );
    assert!(opened.text("#methods .glossary").contains("Rejection-sampling"));
    // The name with a comma and quotes is one cell of the file.
    opened.record_saved();
    opened.browser.click("#accuracy .save:nth-child(1)");
    opened.browser.click("#accuracy .save:nth-child(2)");
    let saved = opened.saved(2);
    assert!(saved[0].starts_with("<svg ") && !saved[0].contains("var("), "{}", saved[0]);
    let head = saved[1].lines().next().unwrap();
    assert!(head.ends_with("seed-6,\"a long name, \"\"quoted\"\", of a run\""), "{head}");
    // On a narrow screen a short value stays on its line, and on paper nothing is cut.
    opened.browser.set_size(360, 844);
    let broken = "[...document.querySelectorAll('figure > .scroll td')].filter((td) => td.textContent.length < 8 && td.dataset.column.length < 12 && td.clientHeight > 34).length";
    assert_eq!(opened.browser.evaluate(broken), json!(0));
    opened.browser.set_size(720, 900);
    opened.browser.call("Emulation.setEmulatedMedia", json!({"media": "print"}));
    let cut = "[...document.querySelectorAll('figure > .scroll')].filter((t) => t.scrollWidth > t.clientWidth).map((t) => t.getAttribute('aria-label'))";
    assert_eq!(opened.browser.evaluate(cut), json!([]));
    opened.check_calm();
}

#[test]
fn figures_say_what_a_stranger_would_stumble_over() {
    let mut data = fixture::finished_run(2);
    data.bounds.as_mut().unwrap().no_bounds = None;
    let Some(mut opened) = open(&data) else { return };
    // The accuracy beside bounds is that of the same questions, and its logarithm is that of the accuracy.
    let bounds = opened.text("#bounds .foot");
    assert!(
        bounds.contains("right in 24.1\u{a0}% of its own responses") && bounds.contains("is −1.4."),
        "{bounds}"
    );
    let weights = opened.text("#weights .foot");
    let mean = data.weights.as_ref().unwrap().mean_effective;
    let both = [
        format!("the mean is {mean:.2}"),
        "6.2 are different on average".to_owned(),
        "size is 3.4".to_owned(),
    ];
    both.iter().for_each(|expected| assert!(weights.contains(expected), "{weights}"));
    // Many kinds of work become the longest and the rest.
    let kinds = opened.text("#time");
    assert!(kinds.contains("5 others") && kinds.contains("The run’s own method"), "{kinds}");
    assert!(!opened.text("#fit .foot").contains("cut at its limit"), "no ratio is");
}

#[test]
fn no_number_of_an_axis_sticks_out_of_its_drawing() {
    let mut data = fixture::finished_run(2);
    data.weights.as_mut().unwrap().rho.counts[0] = 1_500_000;
    let Some(mut opened) = open(&data) else { return };
    let out = "[...document.querySelectorAll('.chart svg')].flatMap((svg) => [...svg.querySelectorAll('.axis text')].filter((t) => t.getBoundingClientRect().left < svg.getBoundingClientRect().left - 1).map((t) => t.textContent))";
    assert_eq!(opened.browser.evaluate(out), json!([]));
}

#[test]
fn numbers_along_an_axis_are_those_of_its_lines() {
    let mut data = fixture::finished_run(2);
    // Lines at 0.025, 0.05 and 0.075.
    data.training[0].points.iter_mut().for_each(|point| point.loss = 0.07);
    let Some(mut opened) = open(&data) else { return };
    let labels = opened.browser.evaluate(
        "[...document.querySelectorAll('#training .chart')[0].querySelectorAll('.axis:first-child text')].map((t) => t.textContent)",
    );
    assert_eq!(labels, json!(["0.000", "0.025", "0.050", "0.075"]));
}

#[test]
fn on_paper_there_are_no_controls() {
    let Some(mut opened) = open(&fixture::finished_run(2)) else { return };
    opened.browser.call("Emulation.setEmulatedMedia", json!({"media": "print"}));
    let shown = opened.browser.evaluate(
        "[...document.querySelectorAll('button, input, select, nav')].filter((e) => e.checkVisibility()).length",
    );
    assert_eq!(shown, json!(0));
    let paper = opened.browser.evaluate("getComputedStyle(document.body).backgroundColor");
    assert_eq!(paper, json!("rgb(255, 255, 255)"));
}

fn best_trace(data: &ReportData, question: usize) -> &latrace_report::BrowsedTrace {
    let traces = &data.traces.questions[question].traces;
    traces.iter().rev().max_by(|a, b| a.weight.unwrap_or(-1.0).total_cmp(&b.weight.unwrap_or(-1.0))).unwrap()
}

#[track_caller]
fn check_question(opened: &mut Opened, data: &ReportData, at: usize, place: &str) {
    let question = &data.traces.questions[at];
    assert_eq!(opened.text("#browser .steps p"), format!("Question {place}"));
    assert_eq!(opened.text("#browser .list button[aria-current] .id"), question.id);
    assert_eq!(opened.text("#browser .asked dd"), question.id);
    assert!(opened.text("#browser .asked").contains(question.hint.as_ref().unwrap()));
    let shown = opened
        .browser
        .evaluate("[...document.querySelectorAll('.trace')].map((t) => [t.querySelectorAll('.t').length, t.querySelectorAll('.answers li').length])");
    let mut traces: Vec<_> = question.traces.iter().collect();
    traces.sort_by(|a, b| b.weight.unwrap_or(-1.0).total_cmp(&a.weight.unwrap_or(-1.0)));
    assert_eq!(
        shown,
        json!(traces.iter().map(|trace| [trace.tokens.len(), trace.answers.len()]).collect::<Vec<_>>())
    );
    let words = |trace: &latrace_report::BrowsedTrace| {
        trace.tokens.iter().map(|&token| data.traces.vocabulary[token as usize].as_str()).collect::<String>()
    };
    let text =
        opened.browser.evaluate("[...document.querySelectorAll('.trace .tokens')[0].querySelectorAll('.t:not(.void)')].map((t) => t.textContent).join('')");
    assert_eq!(text, json!(words(traces[0])));
}

#[test]
fn what_a_model_wrote_never_runs() {
    let data = fixture::finished_run(3);
    let Some(mut opened) = open(&data) else { return };
    opened.browser.click("#browser .list li:nth-child(2) button");
    let text = opened.text("#browser .reader");
    for hostile in fixture::HOSTILE {
        assert!(text.contains(hostile), "{text}");
    }
    opened.browser.hover(".tokens .t:nth-last-child(5)");
    assert_eq!(
        opened
            .browser
            .evaluate("document.querySelectorAll('main img, main script, main svg[onload]').length"),
        json!(0)
    );
    assert_eq!(opened.browser.evaluate("document.scripts.length"), json!(2));
    opened.check_calm();
}

#[test]
fn the_policy_stops_what_would_become_markup_all_the_same() {
    let Some(mut opened) = open(&fixture::finished_run(1)) else { return };
    opened.browser.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked = 1\"><img src=\"http://127.0.0.1:9/\">')");
    opened.browser.evaluate("{ const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s); 0 }");
    opened.browser.settle();
    assert_eq!(opened.browser.evaluate("typeof window.hacked"), json!("undefined"));
    assert!(!opened.browser.complaints().is_empty());
}

#[test]
fn a_large_run_becomes_a_page_of_bounded_size() {
    let data = fit(fixture::finished_run(2600), LARGEST_PAGE).unwrap();
    let length = page(&data, PageUse::File).unwrap().len();
    assert!(
        data.traces.questions.len() < 2600 && length <= LARGEST_PAGE && length > LARGEST_PAGE * 9 / 10,
        "{} questions, {length}",
        data.traces.questions.len()
    );
    let Some(mut opened) = open(&data) else { return };
    assert_eq!(
        opened.browser.evaluate("document.querySelectorAll('#browser .list button').length"),
        json!(data.traces.questions.len())
    );
    opened.check_calm();
}

#[test]
fn a_narrow_screen_never_scrolls_sideways() {
    for data in [fixture::finished_run(4), fixture::begun_run()] {
        let Some(mut opened) = open(&data) else { return };
        for width in [320, 390, 768] {
            opened.browser.set_size(width, 844);
            let wide = opened.browser.evaluate("document.documentElement.scrollWidth");
            assert!(wide.as_u64().unwrap() <= u64::from(width), "{wide} at {width}");
            let beyond = opened.browser.evaluate("[...document.querySelectorAll('main svg text')].filter((t) => { const r = t.getBoundingClientRect(); return r.right > innerWidth || r.left < 0; }).map((t) => t.textContent)");
            assert_eq!(beyond, json!([]), "at {width}");
            // Tables that are always there show all of their numbers.
            let cut = "[...document.querySelectorAll('figure > .scroll')].filter((t) => t.scrollWidth > t.clientWidth).length";
            assert!(width > 500 || opened.browser.evaluate(cut) == json!(0), "at {width}");
        }
        opened.check_calm();
    }
}

#[test]
fn an_unfinished_run_says_what_is_missing() {
    let data = fixture::begun_run();
    let Some(mut opened) = open(&data) else { return };
    assert_eq!(opened.text("#accuracy .absent"), data.missing["accuracy"]);
    assert_eq!(
        opened.browser.evaluate("document.querySelectorAll('.absent:not([hidden])').length"),
        json!(data.missing.len())
    );
    assert!(opened.text("#progress").contains("12 of 65 parts"));
    assert_eq!(opened.browser.evaluate("document.querySelector('#progress progress').value"), json!(12));
    opened.check_calm();
}

#[test]
fn themes_have_contrast_and_the_button_changes_them() {
    let Some(mut opened) = open(&fixture::finished_run(3)) else { return };
    for theme in ["light", "dark"] {
        opened.browser.set_theme(theme);
        let low = opened.browser.evaluate(CONTRASTS);
        assert_eq!(low, json!([]), "{theme}");
    }
    opened.browser.set_theme("light");
    let paper = "getComputedStyle(document.body).backgroundColor";
    let light = opened.browser.evaluate(paper);
    opened.browser.click("#theme");
    assert_ne!(opened.browser.evaluate(paper), light);
    opened.browser.click("#theme");
    assert_eq!(opened.browser.evaluate(paper), light);
    opened.check_calm();
}

/// Texts whose contrast with what is behind them is below 4.5, and marks below 3.
const CONTRASTS: &str = r"(() => {
    const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
    const known = new Map();
    const rgba = (colour) => { if (!known.has(colour)) known.set(colour, read(colour)); return known.get(colour); };
    const read = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); const d = canvas.getImageData(0, 0, 1, 1).data; return [d[0], d[1], d[2], d[3] / 255]; };
    const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
    const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
    const behind = (e) => { const layers = []; for (let n = e; n; n = n.parentElement) layers.push(rgba(getComputedStyle(n).backgroundColor)); return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255]); };
    const low = [];
    for (const e of document.querySelectorAll('main *, header *, footer *')) {
        const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
        const style = getComputedStyle(e);
        if (e.closest('[disabled], .visually-hidden, [hidden]')) continue;
        if (own) {
            const colour = e.closest('svg') ? style.fill : style.color;
            const got = contrast(over(rgba(colour), behind(e)), behind(e));
            if (got < 4.5) low.push([e.className.baseVal ?? e.className, e.textContent.slice(0, 30), got]);
        } else if (e.matches('svg .mark') && !e.hasAttribute('fill-opacity')) {
            const colour = style.fill === 'none' ? style.stroke : style.fill;
            const got = contrast(over(rgba(colour), behind(e)), behind(e));
            if (got < 3) low.push(['mark', e.closest('figure').id, got]);
        }
    }
    return low;
})()";

#[test]
fn everything_has_a_name_and_headings_descend() {
    let Some(mut opened) = open(&fixture::finished_run(3)) else { return };
    let levels = opened
        .browser
        .evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map((h) => Number(h.tagName[1]))");
    let levels: Vec<u64> = serde_json::from_value(levels).unwrap();
    assert_eq!(levels[0], 1);
    assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{levels:?}");
    let nameless = "[...document.querySelectorAll('button, input, select, [tabindex], [role=group]')].filter((e) => !(e.getAttribute('aria-label') || e.labels?.length || e.textContent.trim())).length";
    assert_eq!(opened.browser.evaluate(nameless), json!(0));
    let twice = "[...document.querySelectorAll('[id]')].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i)";
    assert_eq!(opened.browser.evaluate(twice), json!([]));
    // Tab reaches the skip link first, and what has the focus shows it.
    opened.browser.press("Tab");
    assert_eq!(opened.browser.evaluate("document.activeElement.className"), json!("skip"));
    opened.browser.press("Tab");
    let outline = opened.browser.evaluate("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, json!("solid"));
}

#[test]
fn a_served_page_follows_its_run() {
    let Some(program) = program() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("recipe.toml"), "[questions]\ntask = \"walk\"\n").unwrap();
    std::fs::write(folder.path().join("layout.json"), "{\"layout\": 3, \"version\": \"0.1.0\"}").unwrap();
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("latrace"));
    let mut server = command
        .arg("serve")
        .arg(folder.path())
        .args(["--port", "0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut address = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let address = address.trim().to_owned();
    let mut browser = Browser::start(&program);
    browser.open(&address);
    let headline =
        |start: &str| format!("document.querySelector('h1').textContent.startsWith({})", json!(start));
    assert_eq!(browser.evaluate(&headline("Not finished: 0 of ")), json!(true));
    let stage = folder.path().join("00-model");
    std::fs::create_dir(&stage).unwrap();
    let record = json!({"stage": "00-model", "key": {}, "done": true, "seconds": 1.5, "peak_memory_bytes": 0, "files": {}, "counts": null});
    std::fs::write(stage.join("stage.json"), record.to_string()).unwrap();
    browser.wait_for(&headline("Not finished: 1 of "));
    assert_eq!(browser.evaluate("document.querySelector('#live').className"), json!("live on"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
    let strangers: Vec<String> = browser
        .requests()
        .into_iter()
        .filter(|asked| !asked.starts_with(&address) && !asked.starts_with("data:"))
        .collect();
    assert_eq!(strangers, Vec::<String>::new());
    let _ = server.kill();
    let _ = server.wait();
}

/// Pictures for people, where `LATRACE_PICTURES` names a folder for them.
#[test]
fn pictures_can_be_taken() {
    let pictures = std::env::var_os("LATRACE_PICTURES").map(PathBuf::from);
    let sizes: &[(&str, &str, u32)] = if pictures.is_some() {
        &[("light", "light", 1280), ("dark", "dark", 1280), ("narrow", "light", 390)]
    } else {
        &[("narrow", "light", 390)]
    };
    let one = |data: ReportData| page(&data, PageUse::File).unwrap();
    let several = page_of_several(&fixture::several_runs()).unwrap();
    let apart = page_of_several(&fixture::apart_runs()).unwrap();
    let pages = [
        ("finished", one(fixture::finished_run(40))),
        ("begun", one(fixture::begun_run())),
        ("several", several),
        ("apart", apart),
    ];
    for (run, text) in pages {
        let Some(mut opened) = open_text(&text) else { return };
        for &(name, theme, width) in sizes {
            opened.browser.set_theme(theme);
            opened.browser.set_size(width, 900);
            opened.browser.settle();
            let picture = STANDARD.decode(opened.browser.picture()).unwrap();
            assert!(picture.len() > 10_000, "{} bytes", picture.len());
            if let Some(folder) = &pictures {
                write(folder, &format!("{run}-{name}.png"), &picture);
            }
        }
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join(name), bytes).unwrap();
}

#[test]
fn numbers_are_read_back_as_they_were_written() {
    let data = fixture::finished_run(1);
    let back: Value = serde_json::from_str(&serde_json::to_string(&data).unwrap()).unwrap();
    assert_eq!(serde_json::from_value::<ReportData>(back).unwrap(), data);
}
