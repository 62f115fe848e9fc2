//! Which sense of an ambiguous term is meant, by the company it keeps (Lesk 1986): the words
//! of each sense's definition are looked for in the conversation. A draw is asked about, not
//! guessed.

use std::collections::HashSet;

use super::mentions;
use crate::rewrite::conversation::{
    Clarification, Conversation, Edit, Evidence, IssueKind, Role, Source, Span, Term,
};
use crate::rewrite::language::{self, Language, Text, english, is_han};

/// What the conversation says about the ambiguous terms of the query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SenseChoice {
    /// Terms whose sense the conversation decides, with the sense spelt out.
    pub edits: Vec<Edit>,
    /// The first term that nothing decides.
    pub open: Option<OpenSense>,
}

/// A term that has to be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSense {
    pub span: Span,
    pub term_id: String,
    /// The labels of its senses, in the glossary's order.
    pub options: Vec<String>,
}

/// Decides every ambiguous term of the query that can be decided.
///
/// A query that decides a term by its own words gets no edit: it is clear as it stands.
pub fn choose_senses(conversation: &Conversation) -> SenseChoice {
    let mut choice = SenseChoice::default();
    let terms = &conversation.glossary.terms;
    if terms.iter().all(|term| term.senses.len() < 2) {
        return choice;
    }
    for mention in mentions(&conversation.query, &conversation.glossary) {
        let term = &terms[mention.term_idx];
        if term.senses.len() < 2 || names_a_label(&conversation.query, term) {
            continue;
        }
        match decide(conversation, term, &mention.span) {
            Decision::ByQuery => {}
            Decision::ByContext(sense_idx, confidence) => {
                choice.edits.push(spelt_out(
                    &conversation.query,
                    term,
                    sense_idx,
                    &mention.span,
                    confidence,
                ));
            }
            Decision::Open if choice.open.is_none() => {
                choice.open = Some(OpenSense {
                    span: mention.span,
                    term_id: term.id.clone(),
                    options: term.senses.iter().map(|sense| sense.label.clone()).collect(),
                });
            }
            Decision::Open => {}
        }
    }
    choice
}

/// The question that settles an open term, in the language of the query.
pub fn clarification(open: &OpenSense, language: Language) -> Clarification {
    let term = &open.span.text;
    let question = match language {
        Language::Chinese => format!("您说的“{term}”指的是哪一个？"),
        Language::English | Language::Other => format!("Which “{term}” do you mean?"),
    };
    Clarification { question, options: open.options.clone() }
}

enum Decision {
    ByQuery,
    /// Index of the sense, and 0 to 1.
    ByContext(usize, f32),
    Open,
}

fn decide(conversation: &Conversation, term: &Term, mention: &Span) -> Decision {
    let marks = distinctive_words(term);
    let rest = without(&conversation.query, mention);
    let query_scores = scores(&marks, &rest);
    if let Some((_, _)) = winner(&query_scores) {
        return Decision::ByQuery;
    }
    let mut totals = query_scores;
    let mut weight = 1.0;
    for turn in conversation.turns.iter().rev().filter(|turn| turn.role != Role::System) {
        let head: String = turn.text.chars().take(TURN_LIMIT).collect();
        add(&mut totals, &scores(&marks, &head), weight);
        add(&mut totals, &label_scores(term, &head), weight);
        weight *= RECENCY;
        if weight < 0.1 {
            break;
        }
    }
    for value in conversation.facts.values() {
        add(&mut totals, &scores(&marks, value), 1.0);
        add(&mut totals, &label_scores(term, value), 1.0);
    }
    match winner(&totals) {
        Some((sense_idx, confidence)) => Decision::ByContext(sense_idx, confidence),
        // Weaker than anything that was said: it is looked at last.
        None => match conversation.held_senses.get(&term.id) {
            Some(&sense_idx) if sense_idx < term.senses.len() => {
                Decision::ByContext(sense_idx, HELD_CONFIDENCE)
            }
            _ => Decision::Open,
        },
    }
}

/// The sense that is clearly ahead, with a confidence of 0.6 to 0.95.
fn winner(scores: &[f32]) -> Option<(usize, f32)> {
    let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]))?;
    let others = (0..scores.len()).filter(|&idx| idx != best).map(|idx| scores[idx]);
    let second = others.fold(0.0_f32, f32::max);
    let ahead = scores[best] - second;
    (scores[best] >= 0.5 && ahead >= 0.3 && scores[best] >= 1.5 * second)
        .then(|| (best, (0.6 + 0.1 * ahead).min(0.95)))
}

fn spelt_out(query: &str, term: &Term, sense_idx: usize, mention: &Span, confidence: f32) -> Edit {
    let label = term.senses[sense_idx].label.trim();
    let folded = language::fold(label);
    let says_term =
        [&term.term, &mention.text].iter().any(|name| folded.contains(&language::fold(name)));
    let replacement = if says_term {
        label.to_owned()
    } else if language::of(query) == Language::Chinese {
        format!("{}（{label}）", mention.text)
    } else {
        format!("{} ({label})", mention.text)
    };
    Edit {
        span: mention.clone(),
        replacement,
        issue: IssueKind::AmbiguousReference,
        evidence: Evidence { source: Source::Glossary(term.id.clone()), text: label.to_owned() },
        confidence,
    }
}

/// Whether the query says one of the labels in full, and so needs no help.
fn names_a_label(query: &str, term: &Term) -> bool {
    let (query, name) = (language::fold(query), language::fold(&term.term));
    term.senses.iter().any(|sense| {
        let label = language::fold(sense.label.trim());
        !label.is_empty() && label != name && query.contains(&label)
    })
}

/// For each sense the words that speak for it and not for every other sense as well.
fn distinctive_words(term: &Term) -> Vec<HashSet<String>> {
    let of_term = features(&term.term);
    let mut all: Vec<HashSet<String>> = term
        .senses
        .iter()
        .map(|sense| {
            let id = sense.id.replace(['-', '_', '.', ':'], " ");
            features(&format!("{} {} {id}", sense.label, sense.definition))
        })
        .collect();
    let shared: HashSet<String> = all[0]
        .iter()
        .filter(|word| all.iter().all(|words| words.contains(*word)))
        .cloned()
        .collect();
    for words in &mut all {
        words.retain(|word| !shared.contains(word) && !of_term.contains(word));
    }
    all
}

/// Pairs of neighbouring Han characters, and Latin words in lower case without a plural `s`.
fn features(text: &str) -> HashSet<String> {
    let text = Text::new(text);
    let pairs = text.folded.windows(2).filter(|pair| {
        pair.iter().all(|&letter| is_han(letter) && !EMPTY_LETTERS.contains(letter))
    });
    let mut found: HashSet<String> = pairs.map(|pair| pair.iter().collect()).collect();
    for word in english::words(&text) {
        let is_latin = word.lower.chars().all(|letter| !is_han(letter));
        if is_latin && word.lower.chars().count() >= 3 && !english::is_function(&word.lower) {
            found.insert(word.bare().trim_end_matches('s').to_owned());
        }
        // Latin names inside Chinese text are glued to it: iPhone的.
        for part in word.lower.split(is_han).filter(|_| !is_latin) {
            if part.len() >= 3 {
                found.insert(part.to_owned());
            }
        }
    }
    found
}

fn scores(marks: &[HashSet<String>], text: &str) -> Vec<f32> {
    let said = features(text);
    marks.iter().map(|words| words.intersection(&said).count() as f32).collect()
}

/// A label said in full decides more than any single word of its definition.
fn label_scores(term: &Term, text: &str) -> Vec<f32> {
    let (text, name) = (language::fold(text), language::fold(&term.term));
    let says = |label: &str| {
        let label = language::fold(label.trim());
        !label.is_empty() && label != name && text.contains(&label)
    };
    term.senses.iter().map(|sense| if says(&sense.label) { 3.0 } else { 0.0 }).collect()
}

fn add(totals: &mut [f32], scores: &[f32], weight: f32) {
    for (total, score) in totals.iter_mut().zip(scores) {
        *total += weight * score;
    }
}

fn without(query: &str, mention: &Span) -> String {
    let letters = query.chars().enumerate();
    letters
        .map(
            |(index, letter)| {
                if (mention.start..mention.end).contains(&index) { ' ' } else { letter }
            },
        )
        .collect()
}

/// Of a sense that only the collection speaks for.
const HELD_CONFIDENCE: f32 = 0.6;

/// How much less a turn counts than the one after it.
const RECENCY: f32 = 0.7;

/// Longer turns are read up to here (chars); the gate has a millisecond, not more.
const TURN_LIMIT: usize = 1_000;

const EMPTY_LETTERS: &str =
    "的是一种在和了与或为等有个之其这那我你他她它吗呢吧不很也都就么什怎请问以及于由从到被把对";
