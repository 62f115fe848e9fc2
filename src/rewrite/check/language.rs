//! Whether a candidate asks in the query's language and script. Names keep their own.

use super::Violation;
use crate::rewrite::conversation::{Conversation, Edit, Role};
use crate::rewrite::evidence::Addition;
use crate::rewrite::language::{self, Language};
use crate::rewrite::text::{
    Script, Unit, UnitKind, is_function_unit, normalise, script_of, significant_units,
};

/// English words that make a sentence rather than a title.
const FRAME: &[&str] = &[
    "are", "can", "could", "did", "do", "does", "had", "has", "have", "how", "i", "is", "it", "me",
    "please", "should", "they", "was", "we", "were", "what", "when", "where", "which", "who",
    "why", "will", "would", "you", "your",
];
/// Chinese characters that do, in simplified form.
const HAN_FRAME: &str = "的是吗呢了吧啊么怎";
/// Names may bring this many words of another language with them.
const NAME_WORDS: usize = 8;

pub(super) fn check(
    conversation: &Conversation,
    standalone: &str,
    edits: &[Edit],
    additions: &[Addition],
) -> Result<(), Violation> {
    let query = significant_units(&conversation.query);
    let units = significant_units(standalone);
    let fits = match language_of(conversation, &query) {
        Some(Language::Chinese) => is_chinese(&query, &units),
        Some(Language::English) => is_english(&query, &units),
        Some(Language::Other) => is_other(&query, &units),
        None => true,
    };
    if !fits {
        return Err(Violation::WrongLanguage);
    }
    match flips_script(conversation, standalone, edits, additions) {
        true => Err(Violation::WrongScript),
        false => Ok(()),
    }
}

/// The language that the query asks in; none when it is a bare name, which says nothing,
/// in a conversation that is not English.
fn language_of(conversation: &Conversation, query: &[Unit]) -> Option<Language> {
    let language = language::of(&normalise(&conversation.query));
    let has_sentence = query.iter().any(is_function_unit);
    if language != Language::English || has_sentence {
        return Some(language);
    }
    let mut spoken = user_texts(conversation).map(|text| language::of(&normalise(text)));
    spoken.all(|spoken| spoken == Language::English).then_some(Language::English)
}

fn user_texts(conversation: &Conversation) -> impl Iterator<Item = &str> {
    let turns = conversation.turns.iter().rev();
    turns.filter(|turn| turn.role == Role::User).map(|turn| turn.text.as_str())
}

fn is_chinese(query: &[Unit], units: &[Unit]) -> bool {
    let han = units.iter().filter(|unit| unit.kind == UnitKind::Han).count();
    let gained = || gained(query, units).filter(|unit| unit.kind == UnitKind::Word);
    let frame = gained().filter(|unit| FRAME.contains(&unit.text.to_lowercase().as_str())).count();
    let words = gained().count();
    han > 0 && words <= NAME_WORDS + 2 * han && !(frame >= 2 && han < 2 * words)
}

fn is_english(query: &[Unit], units: &[Unit]) -> bool {
    let words = |units: &[Unit]| units.iter().filter(|unit| unit.kind == UnitKind::Word).count();
    let gained: Vec<&Unit> =
        gained(query, units).filter(|unit| unit.kind == UnitKind::Han).collect();
    if gained.is_empty() {
        return words(units) > 0 || words(query) == 0;
    }
    let frame = gained.iter().filter(|unit| HAN_FRAME.contains(unit.key.as_str())).count();
    let kept = query
        .iter()
        .filter(|unit| unit.kind == UnitKind::Word)
        .filter(|unit| units.iter().any(|other| other.key == unit.key))
        .count();
    frame < 2 && 2 * kept >= words(query) && gained.len() <= NAME_WORDS + 2 * kept
}

/// Of a query in a third language, some of its letters must remain.
fn is_other(query: &[Unit], units: &[Unit]) -> bool {
    let is_foreign =
        |unit: &&Unit| unit.kind == UnitKind::Word && !unit.key.chars().any(language::is_latin);
    let asked = query.iter().filter(is_foreign).count();
    asked == 0 || 2 * units.iter().filter(is_foreign).count() >= asked
}

fn gained<'a>(query: &'a [Unit], units: &'a [Unit]) -> impl Iterator<Item = &'a Unit> {
    units.iter().filter(|unit| query.iter().all(|other| other.key != unit.key))
}

/// Whether a character stands in the other script than the query's, although neither the
/// query nor the source it was taken from writes it so.
fn flips_script(
    conversation: &Conversation,
    standalone: &str,
    edits: &[Edit],
    additions: &[Addition],
) -> bool {
    let mut texts = std::iter::once(conversation.query.as_str()).chain(user_texts(conversation));
    let Some(wanted) = texts.find_map(script_of_text) else { return false };
    standalone.chars().enumerate().any(|(place, character)| {
        let flipped = script_of(character).is_some_and(|script| script != wanted);
        if !flipped || conversation.query.contains(character) {
            return false;
        }
        let covering = additions
            .iter()
            .find(|addition| (addition.span.start..addition.span.end).contains(&place));
        let quoted = covering.and_then(|addition| addition.evidence.as_ref());
        !quoted.is_some_and(|evidence| evidence.text.contains(character))
            && !edits.iter().any(|edit| edit.replacement.contains(character))
    })
}

/// The script that most telling characters of a text are in.
fn script_of_text(text: &str) -> Option<Script> {
    let count = |wanted: Script| {
        text.chars().filter(|&character| script_of(character) == Some(wanted)).count()
    };
    let (simplified, traditional) = (count(Script::Simplified), count(Script::Traditional));
    match simplified.cmp(&traditional) {
        std::cmp::Ordering::Greater => Some(Script::Simplified),
        std::cmp::Ordering::Less => Some(Script::Traditional),
        std::cmp::Ordering::Equal => None,
    }
}
