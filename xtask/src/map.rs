//! `cargo xtask map`: where the method pays, drawn from the summaries of runs.
//!
//! A point is a setting, the mean over its runs: pi_theta0's accuracy on the questions that it learns from less that on
//! held-out ones (its gap) to the right, the posterior's lift upwards, and what the final model has over RFT as a number.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 480.0;
/// Room for the axes' labels.
const MARGIN: f64 = 60.0;

/// What is drawn of a run, or the mean of several.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Signs {
    gap: f64,
    lift: f64,
    gain: f64,
}

/// Draws the runs in folders named `SETTING/SEED` into an SVG file.
pub fn draw(out: &str, runs: &[&str]) -> Result<()> {
    let mut settings: BTreeMap<String, Vec<Signs>> = BTreeMap::new();
    for run in runs.iter().map(Path::new) {
        let setting =
            run.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let path = run.join("summary.json");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let signs = signs(&serde_json::from_str(&text)?);
        let missing = || format!("{} has no lift, or no baseline rft", path.display());
        settings.entry(setting).or_default().push(signs.with_context(missing)?);
    }
    let points: Vec<(String, Signs)> =
        settings.into_iter().map(|(setting, of)| (setting, mean(&of))).collect();
    fs::write(out, svg(&points)).with_context(|| format!("cannot write {out}"))
}

fn signs(summary: &Value) -> Option<Signs> {
    let diagnostics = &summary["diagnostics"];
    let accuracy = |of: &Value| of["accuracy"].as_f64();
    let model = |name: &str| accuracy(&summary["models"][name]);
    Some(Signs {
        gap: accuracy(&diagnostics["initial_on_traced"])? - accuracy(&diagnostics["initial_on_held_out"])?,
        lift: diagnostics["lift"]["difference"]["mean"].as_f64()?,
        gain: model("final")? - model("rft")?,
    })
}

fn mean(of: &[Signs]) -> Signs {
    let mean = |value: fn(&Signs) -> f64| of.iter().map(value).sum::<f64>() / of.len() as f64;
    Signs { gap: mean(|signs| signs.gap), lift: mean(|signs| signs.lift), gain: mean(|signs| signs.gain) }
}

/// Where an accuracy difference is on an axis: from -40 to +100 points.
fn along(value: f64, length: f64) -> f64 {
    MARGIN + (value + 0.4) / 1.4 * (length - 2.0 * MARGIN)
}

fn svg(points: &[(String, Signs)]) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        text += &grid_line(tick);
    }
    let (middle, bottom) = (WIDTH / 2.0, HEIGHT - 12.0);
    let _ = writeln!(
        text,
        "<text x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">gap of the initial model: questions it learns from less \
         held-out ones, points</text>\n<text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">lift of the \
         posterior, points</text>",
        HEIGHT / 2.0
    );
    points.iter().for_each(|(setting, signs)| text += &point(setting, *signs));
    text + "</svg>\n"
}

fn grid_line(tick: f64) -> String {
    let (x, y) = (along(tick, WIDTH), HEIGHT - along(tick, HEIGHT));
    let (left, right, top, bottom) = (MARGIN, WIDTH - MARGIN, MARGIN, HEIGHT - MARGIN);
    let points = tick * 100.0;
    format!(
        "<path d=\"M{x:.1} {top}V{bottom}M{left} {y:.1}H{right}\" stroke=\"#ddd\"/>\n\
         <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{points:.0}</text>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{points:.0}</text>\n",
        bottom + 16.0,
        left - 6.0,
        y + 4.0
    )
}

fn point(setting: &str, signs: Signs) -> String {
    let (x, y) = (along(signs.gap, WIDTH), HEIGHT - along(signs.lift, HEIGHT));
    let colour = if signs.gain > 0.0 { "#1b6ca8" } else { "#c8553d" };
    format!(
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{colour}\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{setting} {:+.1}</text>\n",
        x + 8.0,
        y + 4.0,
        signs.gain * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_point_is_where_its_signs_are() {
        let accuracy = |accuracy: f64| json!({ "accuracy": accuracy });
        let summary = json!({
            "models": { "final": accuracy(0.75), "rft": accuracy(0.5) },
            "diagnostics": {
                "initial_on_traced": accuracy(1.0),
                "initial_on_held_out": accuracy(0.25),
                "lift": { "difference": { "mean": 0.5 } },
            },
        });
        let signs = signs(&summary).unwrap();
        assert_eq!(signs, Signs { gap: 0.75, lift: 0.5, gain: 0.25 });
        assert_eq!(super::signs(&json!({ "models": {} })), None);
        // 115 / 140 of 600 behind the margin, and 90 / 140 of 360 above it.
        assert!(svg(&[("walk-900".to_owned(), signs)]).contains("cx=\"552.9\" cy=\"188.6\""));
        assert!(svg(&[("walk-900".to_owned(), signs)]).contains("walk-900 +25.0"));
        assert_eq!(mean(&[signs, Signs { gap: 0.25, ..signs }]).gap, 0.5);
    }
}
