//! Prompts of the reasoner and of the posterior, from templates.

use minijinja::value::Serde;
use minijinja::{Environment, Error as TemplateError, UndefinedBehavior, context};
use serde::Serialize;

use crate::chat::{call_method, describe};
use crate::error::{Error, Result};
use crate::markers::Markers;

/// The built-in templates by name.
const BUILT_IN: [(&str, &str); 5] = [
    ("reasoner", include_str!("prompts/reasoner.jinja")),
    ("posterior_a", include_str!("prompts/posterior_a.jinja")),
    ("posterior_b", include_str!("prompts/posterior_b.jinja")),
    ("plain", include_str!("prompts/plain.jinja")),
    ("plain_posterior", include_str!("prompts/plain_posterior.jinja")),
];

const NAME: &str = "prompt";

/// A compiled prompt template. Its variables are `question`, `hint` (if there is one), `open` (the marker
/// that opens the trace) and `boxed` (whether the final answer should be boxed); any other is an error.
#[derive(Debug)]
pub struct PromptTemplate {
    environment: Environment<'static>,
}

impl PromptTemplate {
    /// The source of a built-in template.
    pub fn built_in(name: &str) -> Option<&'static str> {
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, source)| *source)
    }

    /// Names of the built-in templates.
    pub fn names() -> String {
        BUILT_IN.map(|(name, _)| name).join(", ")
    }

    /// Compiles `source`.
    ///
    /// # Errors
    /// The source is not a valid template.
    pub fn new(source: &str) -> Result<PromptTemplate> {
        let mut environment = Environment::new();
        // A template that needs a hint must not render without one.
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_unknown_method_callback(call_method);
        let compiled = environment.add_template_owned(NAME, source.to_owned());
        compiled.map_err(|error| Error::BadTemplate { reason: describe(&error) })?;
        Ok(PromptTemplate { environment })
    }

    /// The prompt of a question.
    ///
    /// # Errors
    /// The template uses an undefined variable, such as a missing hint.
    pub fn render(
        &self,
        question: &str,
        hint: Option<&str>,
        boxed: bool,
        markers: &Markers,
    ) -> Result<String> {
        let render = || -> std::result::Result<String, TemplateError> {
            let template = self.environment.get_template(NAME)?;
            // A missing hint is undefined, not none, so that using it is an error.
            match hint {
                Some(hint) => template.render(context! { question, hint, boxed, open => &markers.open }),
                None => template.render(context! { question, boxed, open => &markers.open }),
            }
        };
        render().map_err(|error| Error::RenderPrompt { reason: describe(&error) })
    }

    /// Renders the template with `values`, an object, as its variables.
    ///
    /// # Errors
    /// The template uses an undefined variable.
    pub fn fill(&self, values: &impl Serialize) -> Result<String> {
        let filled = self.environment.get_template(NAME).and_then(|template| template.render(Serde(values)));
        filled.map_err(|error| Error::RenderPrompt { reason: describe(&error) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_template_renders_and_ends_where_the_trace_begins() {
        for (name, source) in BUILT_IN {
            for family in Markers::NAMES {
                let markers = Markers::named(family).unwrap();
                let prompt = PromptTemplate::new(source)
                    .unwrap()
                    .render("How many?", Some("Three."), true, &markers)
                    .unwrap();
                assert!(
                    prompt.contains("How many?") && prompt.ends_with(&markers.open),
                    "{name}, {family}: {prompt}"
                );
                assert_eq!(prompt.contains("Three."), name.contains("posterior"), "{name}");
            }
        }
    }

    #[test]
    fn texts_have_the_methods_of_python() {
        let template =
            PromptTemplate::new("{{ formula.split('=')[0].strip() }} {{ formula | split('=') | last }}");
        let filled = template.unwrap().fill(&serde_json::json!({"formula": " 7+2 =9"})).unwrap();
        assert_eq!(filled, "7+2 9");
    }

    #[test]
    fn what_is_missing_is_an_error() {
        let markers = Markers::named("think").unwrap();
        let template = PromptTemplate::new(PromptTemplate::built_in("posterior_a").unwrap()).unwrap();
        assert!(template.render("q", None, false, &markers).unwrap_err().to_string().contains("undefined"));
        assert!(PromptTemplate::new("{{ open").is_err());
    }

    #[test]
    fn a_template_of_other_values() {
        let template =
            PromptTemplate::new("{{ row.a }}{% if row.b is defined %}{{ row.b }}{% endif %}").unwrap();
        assert_eq!(template.fill(&serde_json::json!({"row": {"a": "x"}})).unwrap(), "x");
        assert!(template.fill(&serde_json::json!({})).unwrap_err().to_string().contains("undefined"));
    }
}
