//! Responses to a sample of the test questions: those of the model that the run starts from, of the initial and of the
//! final one.

use std::collections::{BTreeMap, HashMap};

use anyhow::Result;
use latrace_core::{Markers, Tokenizer};
use latrace_io::table::Table;
use latrace_objective::Rng;
use latrace_run::pipeline::records::{QuestionRecord, ResponseRecord};
use latrace_run::pipeline::summary::evaluations;
use latrace_run::plan::{NodeId, Stage};
use latrace_run::recipe::run::RunRecipe;

use super::questions::reference_answer;
use super::stages::RunStages;
use super::words::{text_of, tokenizer};
use crate::data::{AnsweredQuestion, ResponseBrowser, ShownResponse};
use crate::text::shortened;

/// Maximum questions held for reading: more than fit into their part of the page.
const HELD: usize = 1000;
/// Maximum characters shown of a question, a thought or an answer.
const SHOWN_LETTERS: usize = 2000;

/// Reads the responses of the finished evaluations.
pub(super) fn read(recipe: &RunRecipe, stages: &RunStages) -> Result<ResponseBrowser> {
    let Some(questions) = stages.done(Stage::Questions) else { return Ok(ResponseBrowser::default()) };
    let evaluated = evaluated(stages);
    if evaluated.is_empty() {
        return Ok(ResponseBrowser::default());
    }
    let questions = Table::<QuestionRecord>::open(questions);
    let asked = questions.records()?.filter(|question| {
        question.as_ref().map_or(true, |question| question.split == recipe.evaluation.split)
    });
    let (of, mut chosen) = chosen(asked, recipe.seed)?;
    let reading = Reading { tokenizer: tokenizer(stages)?, markers: recipe.prompts.markers()? };
    for (_, id) in &evaluated {
        add_model(&mut chosen, stages, *id, &reading)?;
    }
    let models = evaluated.into_iter().map(|(name, _)| name).collect();
    Ok(ResponseBrowser { of, seed: None, models, questions: chosen })
}

/// The finished evaluations of the run's own models, in the order in which these are made.
fn evaluated(stages: &RunStages) -> Vec<(String, NodeId)> {
    let all = evaluations(&stages.plan).into_iter();
    let own = all.filter(|(_, id)| stages.plan.nodes[*id].method.is_none());
    own.filter(|(_, id)| stages.done_node(*id).is_some()).collect()
}

/// How many questions there are, and those with the lowest random keys, in order.
fn chosen(
    asked: impl Iterator<Item = Result<QuestionRecord>>,
    seed: u64,
) -> Result<(usize, Vec<AnsweredQuestion>)> {
    let (mut of, mut kept) = (0, BTreeMap::new());
    for question in asked {
        let key = Rng::at(seed, &[12, of]).next_u64();
        kept.insert((key, of), answered(question?));
        of += 1;
        if kept.len() > HELD {
            kept.pop_last();
        }
    }
    let in_order: BTreeMap<u64, AnsweredQuestion> =
        kept.into_iter().map(|((_, place), question)| (place, question)).collect();
    Ok((of as usize, in_order.into_values().collect()))
}

fn answered(question: QuestionRecord) -> AnsweredQuestion {
    let answer = reference_answer(&question.reference);
    AnsweredQuestion {
        id: question.id,
        question: shortened(question.question, SHOWN_LETTERS),
        answer: answer.map(|answer| shortened(answer, SHOWN_LETTERS)),
        difficulty: question.difficulty,
        responses: Vec::new(),
    }
}

/// What token ids are read with.
struct Reading {
    tokenizer: Option<Tokenizer>,
    markers: Markers,
}

fn add_model(
    questions: &mut [AnsweredQuestion],
    stages: &RunStages,
    id: NodeId,
    reading: &Reading,
) -> Result<()> {
    let mut places = HashMap::new();
    for (place, question) in questions.iter_mut().enumerate() {
        question.responses.push(Vec::new());
        places.insert(question.id.clone(), place);
    }
    let Some(folder) = stages.done_node(id) else { return Ok(()) };
    for response in Table::<ResponseRecord>::open(folder).records()? {
        let response = response?;
        if let Some(&place) = places.get(&response.id)
            && let Some(of_model) = questions[place].responses.last_mut()
        {
            add(of_model, reading.shown(response));
        }
    }
    Ok(())
}

/// Merges equal responses, in order of first occurrence.
fn add(of_model: &mut Vec<ShownResponse>, new: ShownResponse) {
    match of_model.iter_mut().find(|known| is_same(known, &new)) {
        Some(known) => known.times += 1,
        None => of_model.push(new),
    }
}

fn is_same(a: &ShownResponse, b: &ShownResponse) -> bool {
    (&a.thought, &a.answer, a.reason, a.truncated) == (&b.thought, &b.answer, b.reason, b.truncated)
}

impl Reading {
    fn shown(&self, response: ResponseRecord) -> ShownResponse {
        let text = text_of(self.tokenizer.as_ref(), &response.token_ids);
        let thought = self.markers.split(&text).map_or(text.trim(), |(thought, _)| thought);
        // Without a thought the whole response is the answer, and is not shown twice.
        let thought =
            if response.without_thought == Some(true) && response.text.is_some() { "" } else { thought };
        ShownResponse {
            thought: shortened(thought.to_owned(), SHOWN_LETTERS),
            answer: response.text.map(|text| shortened(text, SHOWN_LETTERS)),
            reason: response.reason,
            truncated: response.truncated,
            times: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use latrace_core::{Reason, Split};

    use super::*;

    fn question(place: usize) -> Result<QuestionRecord> {
        Ok(QuestionRecord {
            id: format!("q{place:04}"),
            split: Split::Test,
            question: "36 97".to_owned(),
            hint: None,
            difficulty: None,
            kind: "walk".to_owned(),
            reference: r#"{"gold": "+7"}"#.to_owned(),
            prompt_ids: Vec::new(),
            posterior_prompt_ids: None,
            trace_ids: None,
            answer_ids: None,
        })
    }

    #[test]
    fn so_many_questions_are_drawn_by_the_seed_and_stay_in_order() {
        let ids = |seed| {
            let (of, kept) = chosen((0..2000).map(question), seed).unwrap();
            assert_eq!((of, kept.len(), kept[0].answer.as_deref()), (2000, HELD, Some("+7")));
            kept.into_iter().map(|question| question.id).collect::<Vec<_>>()
        };
        assert!(ids(1).is_sorted() && ids(1) == ids(1) && ids(1) != ids(2));
        assert_eq!(chosen((0..9).map(question), 1).unwrap().1.len(), 9);
    }

    #[test]
    fn equal_responses_are_merged_if_their_verdicts_are_equal_too() {
        let reading = Reading { tokenizer: None, markers: Markers::named("think").unwrap() };
        let response = |ids: &[u32], reason| ResponseRecord {
            id: "a".to_owned(),
            sample: 0,
            difficulty: None,
            token_ids: ids.to_vec(),
            text: Some("4".to_owned()),
            reason,
            truncated: false,
            without_thought: None,
        };
        let mut shown = Vec::new();
        for (ids, reason) in [
            (&[1, 2][..], Reason::Equal),
            (&[1, 3], Reason::Equal),
            (&[1, 2], Reason::Equal),
            (&[1, 2], Reason::Different),
        ] {
            add(&mut shown, reading.shown(response(ids, reason)));
        }
        let told: Vec<(&str, u64)> = shown.iter().map(|of| (of.thought.as_str(), of.times)).collect();
        assert_eq!(told, [("1 2", 2), ("1 3", 1), ("1 2", 1)]);
        let at_once = ResponseRecord { without_thought: Some(true), ..response(&[1], Reason::Equal) };
        assert_eq!(reading.shown(at_once).thought, "");
    }
}
