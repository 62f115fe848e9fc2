//! Holds a candidate to the contract, whatever the model wrote: a rewrite that breaks one
//! guarantee is refused, and the person's own words are used.

use super::conversation::{Conversation, Edit, Span};
use super::evidence::{Addition, lost_content, trace};
use super::text::{Protected, ProtectedKind, normalise, protected};

mod clean;
mod form;
mod language;
#[cfg(test)]
mod tests;

pub use clean::clean;

/// No standalone question is longer, in chars.
pub const LONGEST_STANDALONE_CHARS: usize = 2_000;
/// A rewrite may be this many times as long as the query with [`ROOM_CHARS`] more.
const LARGEST_GROWTH: usize = 4;
const ROOM_CHARS: usize = 200;

/// Why a candidate is refused. What it names is for the log; clients get [`Self::code`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    Empty,
    TooLong,
    /// It is not in the language that the query asks in.
    WrongLanguage,
    /// Simplified Chinese where the query is traditional, or the other way round.
    WrongScript,
    /// Control tokens of a chat template.
    TemplateToken,
    /// The model's deliberation, not its answer.
    ThinkingText,
    /// Markdown, HTML or line breaks that the query does not have.
    Markup,
    /// Zero-width, bidirectional, control or replacement characters that it does not have.
    HiddenCharacter,
    /// An order to the next model that the query does not give.
    Instruction,
    Repetition,
    LostNumber(String),
    LostQuote(String),
    LostCode(String),
    LostUrl(String),
    LostFileName(String),
    LostTerm(String),
    /// A word of the query that is neither kept nor replaced on good grounds.
    LostContent(String),
    /// Words that no message, fact, glossary entry or rule says.
    Unsupported(String),
}

impl Violation {
    /// The name of the violation in `degraded`; stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Empty => "rewrite_empty",
            Self::TooLong => "rewrite_too_long",
            Self::WrongLanguage => "rewrite_wrong_language",
            Self::WrongScript => "rewrite_wrong_script",
            Self::TemplateToken => "rewrite_template_token",
            Self::ThinkingText => "rewrite_thinking_text",
            Self::Markup => "rewrite_markup",
            Self::HiddenCharacter => "rewrite_hidden_character",
            Self::Instruction => "rewrite_instruction",
            Self::Repetition => "rewrite_repetition",
            Self::LostNumber(_) => "rewrite_lost_number",
            Self::LostQuote(_) => "rewrite_lost_quote",
            Self::LostCode(_) => "rewrite_lost_code",
            Self::LostUrl(_) => "rewrite_lost_url",
            Self::LostFileName(_) => "rewrite_lost_file_name",
            Self::LostTerm(_) => "rewrite_lost_term",
            Self::LostContent(_) => "rewrite_lost_content",
            Self::Unsupported(_) => "rewrite_unsupported",
        }
    }
}

/// Checks every guarantee on `standalone`, the cheapest first; `edits` are the
/// replacements that rules have worked out. The query itself always passes, unless it is
/// blank or longer than a standalone question may be.
pub fn check(
    conversation: &Conversation,
    standalone: &str,
    edits: &[Edit],
) -> Result<(), Violation> {
    let query = &conversation.query;
    check_size(query, standalone)?;
    if standalone == query {
        return Ok(());
    }
    form::check(query, standalone)?;
    if let Some(lost) = lost_pieces(conversation, standalone, edits).into_iter().next() {
        return Err(lost_piece(lost));
    }
    let additions = trace(conversation, standalone, edits);
    language::check(conversation, standalone, edits, &additions)?;
    if let Some(lost) = lost_content(conversation, standalone, edits, &additions).into_iter().next()
    {
        return Err(Violation::LostContent(lost.text));
    }
    match additions.into_iter().find(|addition| addition.evidence.is_none()) {
        Some(invention) => Err(Violation::Unsupported(invention.span.text)),
        None => Ok(()),
    }
}

/// Checks only what is wrong on its face: thinking text, template tokens, markup, hidden
/// characters, orders and loops.
pub fn check_form(query: &str, standalone: &str) -> Result<(), Violation> {
    form::check(query, standalone)
}

/// Checks only the language and the script; `additions` are those that [`trace`] gives.
pub fn check_language(
    conversation: &Conversation,
    standalone: &str,
    edits: &[Edit],
    additions: &[Addition],
) -> Result<(), Violation> {
    language::check(conversation, standalone, edits, additions)
}

/// The protected pieces of the query that `standalone` neither keeps nor replaces by an edit, in
/// order of appearance.
pub fn lost_pieces(
    conversation: &Conversation,
    standalone: &str,
    edits: &[Edit],
) -> Vec<Protected> {
    let mut pieces = protected(&conversation.query, &conversation.glossary);
    pieces.retain(|item| !is_kept(item, standalone) && !is_replaced(item, standalone, edits));
    pieces
}

/// Checks only that there are words, and not too many of them.
pub fn check_size(query: &str, standalone: &str) -> Result<(), Violation> {
    if !standalone.chars().any(char::is_alphanumeric) && standalone != query
        || standalone.trim().is_empty()
    {
        return Err(Violation::Empty);
    }
    check_length(query, standalone)
}

fn check_length(query: &str, standalone: &str) -> Result<(), Violation> {
    let length = standalone.chars().count();
    let room = LARGEST_GROWTH * (query.chars().count() + ROOM_CHARS);
    let fits = length <= LONGEST_STANDALONE_CHARS && length <= room;
    if fits { Ok(()) } else { Err(Violation::TooLong) }
}

fn lost_piece(item: Protected) -> Violation {
    let text = item.span.text;
    match item.kind {
        ProtectedKind::Quote => Violation::LostQuote(text),
        ProtectedKind::Number => Violation::LostNumber(text),
        ProtectedKind::Code => Violation::LostCode(text),
        ProtectedKind::Url => Violation::LostUrl(text),
        ProtectedKind::FileName => Violation::LostFileName(text),
        ProtectedKind::Term => Violation::LostTerm(text),
    }
}

/// Whether a protected piece stands in `standalone` as it is: not as a part of a longer
/// number or word, and with no regard to width, case and spacing.
fn is_kept(item: &Protected, standalone: &str) -> bool {
    let ungrouped = |text: &str| match item.kind {
        ProtectedKind::Number => text.replace(',', ""),
        _ => text.to_owned(),
    };
    let wanted = ungrouped(&normalise(&item.span.text));
    let found = ungrouped(&normalise(standalone));
    let squeezed = |text: &str| text.replace(' ', "");
    stands_alone(&found, &wanted) || stands_alone(&squeezed(&found), &squeezed(&wanted))
}

/// Whether `wanted` occurs in `text` without a letter, digit or numeral running on.
fn stands_alone(text: &str, wanted: &str) -> bool {
    let (first, last) = (wanted.chars().next(), wanted.chars().next_back());
    text.match_indices(wanted).any(|(start, _)| {
        let mut before = text[..start].chars().rev();
        let mut after = text[start + wanted.len()..].chars();
        let (left, right) = (before.next(), after.next());
        let fraction = |edge, dot: Option<char>, beyond| {
            is_digit(edge) && dot == Some('.') && is_digit(beyond)
        };
        !runs_on(first, left)
            && !runs_on(last, right)
            && !fraction(first, left, before.next())
            && !fraction(last, right, after.next())
    })
}

/// Whether a number or word that has `inner` at its edge goes on with `outer`.
fn runs_on(inner: Option<char>, outer: Option<char>) -> bool {
    let numeral =
        |edge: Option<char>| edge.is_some_and(|edge| "一二三四五六七八九十百千万".contains(edge));
    let letter = |edge: Option<char>| edge.is_some_and(|edge| edge.is_ascii_alphabetic());
    (is_digit(inner) && is_digit(outer))
        || (letter(inner) && (letter(outer) || is_digit(outer)))
        || (numeral(inner) && numeral(outer))
}

fn is_digit(character: Option<char>) -> bool {
    character.is_some_and(|character| character.is_ascii_digit())
}

/// Whether a rule replaced the piece and the standalone question says what it put there:
/// 3天前 became a date, a term its canonical name. Quoted text and codes have no other form.
fn is_replaced(item: &Protected, standalone: &str, edits: &[Edit]) -> bool {
    let replaceable = matches!(item.kind, ProtectedKind::Number | ProtectedKind::Term);
    let covers = |span: &Span| span.overlaps(&item.span);
    let says = |text: &str| {
        let wanted = normalise(text);
        !wanted.is_empty() && normalise(standalone).contains(&wanted)
    };
    replaceable && edits.iter().any(|edit| covers(&edit.span) && says(&edit.replacement))
}
