//! The English words around a date: whether it stands in a sentence, a title or a URL, and
//! which preposition it needs. `sales last month` becomes `sales in June 2024`, `last month
//! sales` becomes `June 2024 sales`, and `since yesterday` keeps its own `since`.

use super::calendar::Period;
use super::cursor::Cursor;
use super::{english, wording};

/// How far the words around are looked at; more would make hostile text slow.
const REACH: usize = 120;

/// Words after which a date stands bare: prepositions, and verbs that take it as object.
const BARE_AFTER: &str = "since from until till by of for before after in on during at to through throughout over \
     within between than as about regarding versus vs into toward towards around with per past \
     across against under compare comparing show me see view get list give check day quarter \
     half the h1 h2 covering";

/// Words that show that a date before them is an adverb and not part of a name.
const OPENERS: &str = "i we you he she it they my our your his her their its the a an there did do does can could \
     what how who why when where which please that this these those someone everyone nobody \
     people should would is was are were has have had will all no any some every";

/// Words that close what a date belongs to: prepositions, conjunctions, adverbs.
const CLOSERS: &str = "and or but to in at on for from by with without vs versus compared because if so then than \
     as about after before until till through via per over under between against using when \
     while where instead again already only too not relative";

/// What stands directly before a place, spaces aside.
pub enum Neighbour {
    /// The start of the text.
    Nothing,
    /// A word, in lower case.
    Word(String),
    /// Anything else.
    Char(char),
}

impl Neighbour {
    /// The word, or an empty string.
    pub fn word(&self) -> &str {
        match self {
            Self::Word(word) => word,
            _ => "",
        }
    }

    pub fn is_clause_start(&self) -> bool {
        matches!(self, Self::Nothing | Self::Char(',' | '.' | ';' | '?' | '!' | '\n' | '，' | '。'))
    }

    /// `the last week`, `his last year`, `every last month`: the last one of something.
    pub fn owns_what_follows(&self) -> bool {
        is_listed("the a an my your his her its our their every each", self.word())
    }

    /// `two or three days ago`, `2-3 days ago`, `over a year ago`, `half a year ago`.
    pub fn makes_number_inexact(&self) -> bool {
        let loose = "or to about around than over nearly almost roughly least approximately \
                     some half and under most within couple few";
        match self {
            Self::Word(word) => {
                is_listed(loose, word) || word.chars().all(|char| char.is_ascii_digit())
            }
            Self::Char(char) => {
                matches!(char, '-' | '–' | '~' | '.' | '/' | '<' | '>' | '≥' | '$' | '¥')
            }
            Self::Nothing => false,
        }
    }
}

/// Where the edit begins, what replaces the expression, and the date alone. An `in` that
/// fitted the words but not the date (`in the last 7 days`) is replaced with them.
/// `previous_end` is where the edit before this one ends.
pub fn place(
    chars: &[char],
    start: usize,
    end: usize,
    period: Period,
    previous_end: Option<usize>,
) -> (usize, String, String) {
    let date = wording::english(period);
    let before = word_before(chars, start);
    let preposition = wording::english_preposition(period);
    let next = next_word(chars, end);
    if is_possessive(chars, end) || next.is_attributive(&before) {
        let noun = wording::english_before_noun(period);
        return (start, noun, date);
    }
    if before.word() == "in" && preposition != "in" {
        let in_start = word_start(chars, start);
        let preposition = with_case_of(chars, in_start, preposition);
        return (in_start, format!("{preposition} {date}"), date);
    }
    // The words of `in 3 days` had a preposition of their own.
    let had_preposition = Cursor { chars, at: start }.looking_at("in ");
    if !had_preposition && is_bare(chars, start, &before, &next, previous_end) {
        return (start, date.clone(), date);
    }
    let preposition = with_case_of(chars, start, preposition);
    (start, format!("{preposition} {date}"), date)
}

/// Whether a word runs across the place: between two letters or digits, or across a hyphen,
/// an underscore or the dot of a name. Chinese next to English is a boundary.
pub fn is_inside_word(chars: &[char], at: usize) -> bool {
    let behind = at.checked_sub(1).and_then(|behind| chars.get(behind)).copied();
    let ahead = chars.get(at).copied();
    let second = chars.get(at + 1).copied();
    let third = at.checked_sub(2).and_then(|behind| chars.get(behind)).copied();
    match (behind, ahead) {
        (Some(behind), Some(ahead)) if is_letter(behind) && is_letter(ahead) => true,
        (Some('-' | '_' | '@' | '#' | '\'' | '’' | '\\'), Some(ahead)) => is_letter(ahead),
        (Some('.' | ','), Some(ahead)) if is_letter(ahead) => third.is_some_and(is_letter),
        (Some(behind), Some('-' | '_' | '@' | '\\')) => {
            is_letter(behind) && second.is_some_and(is_letter)
        }
        (Some(behind), Some('.')) => is_letter(behind) && second.is_some_and(is_letter),
        (Some(behind), Some('\'' | '’')) => {
            is_letter(behind) && second.is_some_and(is_letter) && !is_possessive(chars, at)
        }
        _ => false,
    }
}

/// What stands before a place.
pub fn word_before(chars: &[char], at: usize) -> Neighbour {
    let Some(last) = last_visible(chars, at) else { return Neighbour::Nothing };
    let char = chars[last];
    if !is_letter(char) {
        return Neighbour::Char(char);
    }
    let word: String = chars[word_start(chars, at)..=last].iter().collect();
    Neighbour::Word(word.to_lowercase())
}

/// The words of the sentence before a place, in lower case, the nearest ones only.
pub fn words_behind(chars: &[char], at: usize) -> Vec<String> {
    let behind: String = chars[at.saturating_sub(REACH)..at].iter().collect();
    let sentence = behind.rsplit(". ").next().and_then(|rest| rest.rsplit(['?', '!', '\n']).next());
    sentence
        .unwrap_or_default()
        .split(|char: char| !char.is_alphanumeric())
        .map(str::to_lowercase)
        .collect()
}

/// Whether the word begins a clause, so that a date before it is an adverb.
pub fn opens_clause(word: &str) -> bool {
    is_listed(OPENERS, word)
}

/// A capital in the middle of a text that is not all capitals is part of a name: `USA
/// Today`, the song `Today`. A capital `Last Month` needs a capital before it too, since
/// people capitalise those for emphasis.
pub fn is_title(chars: &[char], start: usize) -> bool {
    if !chars.get(start).is_some_and(char::is_ascii_uppercase) {
        return false;
    }
    let Neighbour::Word(_) = word_before(chars, start) else { return false };
    let is_single = ["Today", "Tomorrow", "Tonight", "Yesterday"]
        .iter()
        .any(|name| Cursor { chars, at: start }.looking_at(name));
    let window = &chars[start.saturating_sub(REACH)..chars.len().min(start + REACH)];
    let has_lower_word = (0..window.len())
        .any(|at| window[at].is_lowercase() && (at == 0 || !window[at - 1].is_alphanumeric()));
    has_lower_word && (is_single || chars[word_start(chars, start)].is_uppercase())
}

/// `as of 2018`, `as of May 30, 2019`: the text counts from a day of its own. Such a note
/// stands near an end, so only the first and last words are looked at.
pub fn has_own_clock(chars: &[char]) -> bool {
    let tail: String = chars[chars.len().saturating_sub(REACH)..].iter().collect();
    let head: String = chars[..chars.len().min(REACH)].iter().collect();
    [head, tail].iter().any(|piece| {
        let piece = piece.to_ascii_lowercase();
        piece.split("as of ").skip(1).any(|rest| {
            let near = rest.split_whitespace().take(3);
            near.into_iter().any(|word| {
                word.len() >= 4 && word.chars().take(4).all(|char| char.is_ascii_digit())
            })
        })
    })
}

/// Whether the expression is part of a URL, path, address or assignment.
pub fn is_code(chars: &[char], start: usize, end: usize) -> bool {
    let is_token = |char: &&char| char.is_ascii_graphic();
    let behind = chars[..start].iter().rev().take(REACH).take_while(is_token).count();
    let ahead = chars[end..].iter().take(REACH).take_while(is_token).count();
    let token: String = chars[start - behind..end + ahead].iter().collect();
    let before: String = chars[start - behind..start].iter().collect();
    let named = before.char_indices().any(|(at, char)| {
        char == '.' && before[at + 1..].starts_with(|next: char| next.is_ascii_alphanumeric())
    });
    token.contains("://")
        || token.contains('@')
        || token.contains('=')
        || token.contains('\\')
        || before.starts_with(['/', '~', '.'])
        || named
}

/// `today's date`, `the date today`: the answer, not the question, holds the date.
pub fn asks_for_the_date(chars: &[char], start: usize, end: usize) -> bool {
    let behind = words_behind(chars, start);
    let asked =
        behind.iter().rev().filter(|word| !word.is_empty()).take(3).any(|word| word == "date");
    let names_date = possession(chars, end) == "date";
    names_date || (asked && next_word(chars, end).word.is_empty())
}

/// The word after the possessive at `end` (`world` in `today's world`), or an empty string.
pub fn possession(chars: &[char], end: usize) -> String {
    if is_possessive(chars, end) { next_word(chars, end + 2).word } else { String::new() }
}

/// Whether the word is one of a list parted by spaces.
pub fn is_listed(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word && !word.is_empty())
}

/// What follows a date.
struct Next {
    /// In lower case; empty where no word follows.
    word: String,
    is_chinese: bool,
    is_comma: bool,
}

impl Next {
    /// Whether the date stands before a noun that it belongs to: `last month sales`.
    fn is_attributive(&self, before: &Neighbour) -> bool {
        let word = self.word.as_str();
        if word.is_empty() {
            return false;
        }
        let is_adverb = is_listed(OPENERS, word) || is_listed(CLOSERS, word);
        let is_after_question = before.is_clause_start() && word.ends_with("ing");
        !is_adverb && !is_after_question
    }
}

fn next_word(chars: &[char], end: usize) -> Next {
    let rest = chars.get(end..).unwrap_or_default();
    let gap = rest.iter().take(3).take_while(|char| **char == ' ').count();
    let word: String =
        rest[gap..].iter().take(24).take_while(|char| char.is_ascii_alphanumeric()).collect();
    let is_chinese = rest.get(gap).is_some_and(|char| is_cjk(*char));
    let is_comma = rest.first() == Some(&',') && rest.len() > 1;
    Next { word: word.to_ascii_lowercase(), is_chinese, is_comma }
}

fn is_bare(
    chars: &[char],
    start: usize,
    before: &Neighbour,
    next: &Next,
    previous_end: Option<usize>,
) -> bool {
    if next.is_chinese {
        return true;
    }
    let is_apart = start.checked_sub(1).and_then(|behind| chars.get(behind)) == Some(&' ');
    match before {
        // A closing quote or bracket is the end of a name, and an adverb follows.
        Neighbour::Char('"' | '”' | '\'' | '’' | ')' | ']') if is_apart => false,
        Neighbour::Word(word) if matches!(word.as_str(), "and" | "or") => {
            // `on July 1, 2024 and July 2, 2024`: one preposition serves both.
            let and_start = word_start(chars, start);
            last_visible(chars, and_start).map(|last| last + 1) == previous_end
        }
        // `what day is tomorrow` and `is today a holiday`, but not `the meeting is tomorrow`.
        Neighbour::Word(word) if matches!(word.as_str(), "is" | "was") => {
            let before = word_before(chars, word_start(chars, start));
            before.is_clause_start() || matches!(before.word(), "what" | "day" | "how")
        }
        Neighbour::Word(_) if is_stranded(chars, start) => false,
        Neighbour::Word(word) => {
            is_listed(BARE_AFTER, word) || english::month(word).is_some() || is_quarter(word)
        }
        // A name or a heading, or a subject: `last month vs this month`, `today is`.
        before if before.is_clause_start() => {
            let word = next.word.as_str();
            let is_verb = matches!(word, "is" | "was" | "are" | "were" | "has" | "had" | "will");
            !next.is_comma && (!opens_clause(word) || is_verb)
        }
        _ => true,
    }
}

/// `who did we lose to last year`, `help you with today`: the preposition before the date
/// belongs to the verb.
fn is_stranded(chars: &[char], start: usize) -> bool {
    let preposition_start = word_start(chars, start);
    let preposition = word_before(chars, start);
    if !matches!(preposition.word(), "to" | "with" | "for" | "about") {
        return false;
    }
    let verbs = "lose lost listen talk go went deal sell pay ask asked happened \
                 you we i they he she me us them him her";
    is_listed(verbs, word_before(chars, preposition_start).word())
}

fn is_quarter(word: &str) -> bool {
    matches!(word, "q1" | "q2" | "q3" | "q4")
}

fn is_possessive(chars: &[char], end: usize) -> bool {
    matches!(chars.get(end), Some('\'' | '’'))
        && matches!(chars.get(end + 1), Some('s' | 'S'))
        && !chars.get(end + 2).is_some_and(|next| is_letter(*next))
}

fn with_case_of(chars: &[char], start: usize, word: &str) -> String {
    if !chars.get(start).is_some_and(char::is_ascii_uppercase) {
        return word.to_owned();
    }
    let mut letters = word.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

/// The last char before a place that is not a space.
fn last_visible(chars: &[char], at: usize) -> Option<usize> {
    let spaces = chars[..at].iter().rev().take(REACH).take_while(|char| **char == ' ').count();
    (at - spaces).checked_sub(1)
}

/// Where the word before a place begins.
fn word_start(chars: &[char], at: usize) -> usize {
    let Some(last) = last_visible(chars, at) else { return at };
    let length = chars[..=last].iter().rev().take(24).take_while(|char| is_letter(**char)).count();
    last + 1 - length
}

fn is_letter(char: char) -> bool {
    char.is_alphanumeric() && !is_cjk(char)
}

fn is_cjk(char: char) -> bool {
    matches!(char, '\u{2E80}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FFEF}' | '\u{20000}'..='\u{3FFFF}')
}
