//! Settings with where they were written, so that a mistake is blamed on the file or the command line that made it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use latrace_io::failure::Failure;
use latrace_io::settings::read_table;
use toml::{Table, Value};

use super::Setting;
use super::beside::look_beside;
use super::table::{merge, set};

/// How errors call the settings that follow a recipe on the command line.
pub(super) const COMMAND_LINE: &str = "the command line";

/// Checks the keys of settings, whose source it is told.
type CheckKeys = fn(&Table, &str) -> Result<()>;

/// The settings of files, each over those before it, and those given beside them, over all.
#[derive(Debug)]
pub(super) struct Layers {
    check: CheckKeys,
    files: Vec<Layer>,
    given: Vec<Setting>,
    /// The same as a table.
    line: Layer,
    /// Recipes that were read: each has one base at most, so that one which comes twice leads to itself.
    recipes: Vec<PathBuf>,
}

#[derive(Debug)]
struct Layer {
    source: String,
    settings: Table,
}

impl Layers {
    /// Those of `key=value` settings alone, of which a later one replaces an earlier.
    ///
    /// # Errors
    /// A text that is no setting; a key that `check` refuses.
    pub(super) fn new(given: &[String], source: &str, check: CheckKeys) -> Result<Layers> {
        let given: Vec<Setting> = given.iter().map(|text| Setting::parse(text)).collect::<Result<_>>()?;
        let mut settings = Table::new();
        for Setting { key, value, .. } in &given {
            set(&mut settings, key, value.clone())
                .map_err(|failure| failure.preceded_by(&format!("{source}: ")))?;
        }
        check(&settings, source)?;
        let line = Layer { source: source.to_owned(), settings };
        Ok(Layers { check, files: Vec::new(), given, line, recipes: Vec::new() })
    }

    /// Adds the settings of a file, over those of other files.
    ///
    /// # Errors
    /// A file that cannot be read; a key that is refused.
    pub(super) fn add_file(&mut self, file: &Path) -> Result<()> {
        self.add_checked(file.display().to_string(), read_table(file)?)
    }

    fn add_checked(&mut self, source: String, settings: Table) -> Result<()> {
        (self.check)(&settings, &source)?;
        self.add(source, settings);
        Ok(())
    }

    /// Adds settings that need no check, over those of files.
    pub(super) fn add(&mut self, source: String, settings: Table) {
        self.files.push(Layer { source, settings });
    }

    /// Adds the settings of a recipe and, below them, those of the base that it names.
    ///
    /// # Errors
    /// A file that cannot be read; a base that is no name; a key that is refused.
    pub(super) fn add_recipe(&mut self, file: &Path) -> Result<()> {
        let path = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        if self.recipes.contains(&path) {
            let message = format!("base: {} is a base of itself, be it by way of others", file.display());
            return Err(Failure::usage(message).hint("a base stands alone, or on a base of its own").into());
        }
        self.recipes.push(path);
        self.add_recipe_of(file, read_table(file)?)
    }

    /// The same of a recipe that stands in `file`, or is to stand there.
    ///
    /// # Errors
    /// As [`Layers::add_recipe`].
    pub(super) fn add_recipe_of(&mut self, file: &Path, mut table: Table) -> Result<()> {
        let folder = file.parent().unwrap_or(Path::new(""));
        look_beside(&mut table, folder);
        // Removed, because it is no setting: the resolved recipe contains what the base says.
        if let Some(base) = table.remove("base") {
            let base = base.as_str().ok_or_else(|| not_a_name(file, &base))?;
            self.add_recipe(&folder.join(base)).with_context(|| format!("the base of {}", file.display()))?;
        }
        self.add_checked(file.display().to_string(), table)
    }

    /// Reads all settings together. A failure of `read` begins with a key, and then with where that key was set.
    ///
    /// # Errors
    /// Those of `read`.
    pub(super) fn read<T>(&self, read: impl Fn(&Table) -> Result<T>) -> Result<T> {
        let whole = self.merged(&|_| true)?;
        read(&whole).map_err(|error| {
            let source =
                self.at_fault(&error.to_string(), &|table| read(table).err().map(|error| error.to_string()));
            let broken = self.broken(&error.to_string()).filter(|_| source == self.line.source);
            match error.downcast::<Failure>() {
                Ok(failure) => match broken {
                    Some(broken) => failure.preceded_by(&format!("{source}: ")).hint(broken).into(),
                    None => failure.preceded_by(&format!("{source}: ")).into(),
                },
                Err(error) => error.context(source.to_owned()),
            }
        })
    }

    /// Why the value at fault is no TOML, if it was given and looks like some.
    fn broken(&self, message: &str) -> Option<&str> {
        let key = key_of(message);
        self.given.iter().rfind(|setting| setting.key == key)?.broken.as_deref()
    }

    fn layers(&self) -> impl DoubleEndedIterator<Item = &Layer> {
        self.files.iter().chain([&self.line])
    }

    /// The settings of the layers that are `wanted`.
    fn merged(&self, wanted: &dyn Fn(&Layer) -> bool) -> Result<Table> {
        let mut table = Table::new();
        self.files
            .iter()
            .filter(|layer| wanted(layer))
            .for_each(|layer| merge(&mut table, layer.settings.clone()));
        if wanted(&self.line) {
            // One by one: a table that is given replaces one of a file.
            self.given
                .iter()
                .try_for_each(|Setting { key, value, .. }| set(&mut table, key, value.clone()))
                .map_err(|failure| failure.preceded_by(&format!("{}: ", self.line.source)))?;
        }
        Ok(table)
    }

    /// Where the key at which `message` begins was set; of a message about several, whatever layer it needs.
    fn at_fault(&self, message: &str, fails: &dyn Fn(&Table) -> Option<String>) -> &str {
        let key = key_of(message);
        let sets = |layer: &&Layer| value_of(&layer.settings, key).is_some_and(|value| !value.is_table());
        let is_needed = |layer: &&Layer| {
            let others = self.merged(&|other| !std::ptr::eq(other, *layer));
            !layer.settings.is_empty() && others.is_ok_and(|table| fails(&table).as_deref() != Some(message))
        };
        let at_fault = self.layers().rev().find(sets).or_else(|| self.layers().rev().find(is_needed));
        let at_fault = at_fault.or(self.files.last());
        at_fault.map_or(self.line.source.as_str(), |layer| layer.source.as_str())
    }
}

fn not_a_name(file: &Path, base: &Value) -> Failure {
    let file = file.display();
    Failure::usage(format!("{file}: base: expected the name of a recipe in the same folder, got {base}"))
}

/// The key at which a message begins.
fn key_of(message: &str) -> &str {
    match message.strip_prefix("unknown key \"") {
        Some(rest) => rest.split('"').next().unwrap_or_default(),
        None => message.split(": ").next().unwrap_or_default(),
    }
}

fn value_of<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    let mut parts = key.split('.').map(|part| part.trim_matches('"'));
    let first = table.get(parts.next()?)?;
    parts.try_fold(first, |value, part| value.get(part))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::run::RunRecipe;

    /// The error of a recipe over a base, with settings of the command line.
    #[track_caller]
    fn check(recipe: &str, settings: &[&str], expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("base.toml", "rounds = 2\n[questions]\ntask = \"walk\"\n[prompts]\nmarkers = \"plain\"\n");
        write("r.toml", &format!("base = \"base.toml\"\n{recipe}"));
        let settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        let error = RunRecipe::read(&folder.path().join("r.toml"), &settings).unwrap_err();
        let (shown, folder) = (format!("{error:#}"), format!("{}/", folder.path().display()));
        assert_eq!(shown.replace(&folder, ""), expected);
    }

    #[test]
    fn a_mistake_is_blamed_on_who_made_it() {
        let many = "traces.n: expected a whole number, got \"many\"";
        check("traces.n = \"many\"", &["seed=3"], &format!("r.toml: {many}"));
        check("traces.n = 4", &["traces.n=many"], &format!("the command line: {many}"));
        check("traces.n = 0", &["seed=3"], "r.toml: traces.n: expected at least 1, got 0");
        check("traces.n = 4", &["traces.n=0"], "the command line: traces.n: expected at least 1, got 0");
        let unknown = "unknown key \"trace\"; the nearest known key is \"traces\"";
        check("trace = 4", &["seed=3"], &format!("r.toml: {unknown}"));
        check("", &["trace.n=4"], &format!("the command line: {unknown}"));
        check("", &["seed.n=4"], "the command line: seed: expected a whole number, got a table");
        check("", &["seed=3", "seed.n=4"], "the command line: seed.n: \"seed\" is a value, not a table");
    }

    #[test]
    fn a_list_that_is_not_closed_is_named_with_where() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r.toml");
        fs::write(&file, "[questions]\ntask = \"walk\"\n").unwrap();
        let hint = |setting: &str| {
            let error = RunRecipe::read(&file, &[setting.to_owned()]).unwrap_err();
            error
                .downcast_ref::<latrace_io::failure::Failure>()
                .unwrap()
                .its_hint()
                .unwrap_or_default()
                .to_owned()
        };
        let broken = hint("skip=[\"rft\",[]");
        assert!(
            broken.starts_with("[\"rft\",[] is read as a text, since it is not valid TOML at character 10: "),
            "{broken}"
        );
        assert!(
            hint("traces={ n = 4")
                .starts_with("{ n = 4 is read as a text, since it is not valid TOML at character")
        );
        assert!(!hint("skip=rft").contains("TOML"));
    }

    #[test]
    fn a_mistake_of_several_settings_is_blamed_on_the_last_that_it_needs() {
        let both = "questions: expected a task or a file to train on, got both";
        check("questions.train = \"a.jsonl\"", &["questions.limit=5"], &format!("r.toml: {both}"));
        check("", &["questions.train=a.jsonl"], &format!("the command line: {both}"));
        let two =
            "posterior.refine.n: expected at least 2, got 1: reverse-kl compares a trace with the others";
        check(
            "posterior.refine = { n = 1, objective = \"iwae-phi\" }",
            &["posterior.refine.objective=reverse-kl"],
            &format!("r.toml: {two}"),
        );
        let missing = "prompts.markers.close: expected a value, got nothing";
        check("", &["prompts.markers={open = \"<a>\"}"], &format!("the command line: {missing}"));
    }

    #[test]
    fn a_baselines_mistake_has_its_key_in_full() {
        let expected = "baselines.b.final.schedule: expected one of cosine, linear, constant, got \"cosin\"; the nearest is \"cosine\"";
        check("baselines.b.final.schedule = \"cosin\"", &[], &format!("r.toml: {expected}"));
        check(
            "baselines.b.method = \"rft\"",
            &["baselines.b.final.schedule=cosin"],
            &format!("the command line: {expected}"),
        );
        let range = "baselines.b.weights.draws: expected at least 1, got 0";
        check("baselines.b.weights.draws = 0", &["seed=1"], &format!("r.toml: {range}"));
    }
}
