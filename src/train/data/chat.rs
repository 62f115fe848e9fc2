//! From the messages of one chat to training rows: the rules on whose turn it is, and which
//! answers are learnt. Every form of chat ends here.
//!
//! A chat with several answers gives one [`Completion`] for each, whose prompt is all that came
//! before: the same loss as one long row in which every answer counts (LLaMA-Factory's
//! `mask_history: false`).

use std::sync::Arc;

use super::ReadOptions;
use super::rows::{Completion, Judged, Preference, Prompt, Role, Row, RowSource, Turn};

/// Most turns of a chat: the prompts of a chat's answers grow with the square of their number.
const MAX_TURNS: usize = 1000;

/// Who says a message, before the two kinds of answer become one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    System,
    User,
    /// The result of a function.
    Observation,
    Assistant,
    /// A call of a function.
    Function,
}

/// One message of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub speaker: Speaker,
    pub text: String,
    /// Whether an answer is learnt; some data marks answers that are only context.
    pub is_learned: bool,
}

/// A chat whose leading system message stands apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chat {
    pub system: Option<String>,
    pub messages: Vec<Message>,
}

impl Speaker {
    fn is_answer(self) -> bool {
        matches!(self, Self::Assistant | Self::Function)
    }

    fn role(self) -> Role {
        match self {
            Self::System => Role::System,
            Self::User => Role::User,
            Self::Observation => Role::Tool,
            Self::Assistant | Self::Function => Role::Assistant,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::System => "a system message",
            Self::User => "the user's",
            Self::Observation => "a tool's",
            Self::Assistant => "the assistant's",
            Self::Function => "a function call",
        }
    }
}

impl Message {
    pub fn new(speaker: Speaker, text: impl Into<String>) -> Self {
        Self { speaker, text: text.into(), is_learned: true }
    }
}

/// One row for every answer that is learnt.
pub fn completions(
    chat: Chat,
    source: &RowSource,
    options: &ReadOptions,
) -> Result<Vec<Row>, String> {
    check(&chat.messages, true, options)?;
    let turns = turns(&chat);
    let n_before = turns.len() - chat.messages.len();
    let last = chat.messages.len() - 1;
    let is_wanted = |idx: usize, message: &Message| {
        message.speaker.is_answer() && message.is_learned && (idx == last || !options.mask_history)
    };
    let mut rows = Vec::new();
    for (idx, message) in chat.messages.iter().enumerate().filter(|(i, m)| is_wanted(*i, m)) {
        let prompt = Prompt::Chat(turns[..n_before + idx].to_vec());
        let answer = filled(&message.text, "the answer")?;
        rows.push(Row::Completion(Completion { prompt, answer, source: source.clone() }));
    }
    if rows.is_empty() { Err("none of its answers is to be learnt".to_owned()) } else { Ok(rows) }
}

/// The last answer with the verdict on it.
pub fn judged(
    mut chat: Chat,
    desirable: bool,
    source: &RowSource,
    options: &ReadOptions,
) -> Result<Vec<Row>, String> {
    check(&chat.messages, true, options)?;
    let answer = chat.messages.pop().map(|message| message.text).unwrap_or_default();
    let answer = filled(&answer, "the answer")?;
    let prompt = Prompt::Chat(turns(&chat));
    Ok(vec![Row::Judged(Judged { prompt, answer, desirable, source: source.clone() })])
}

/// A chat that waits for an answer, with the better and the worse one.
pub fn preference(
    chat: Chat,
    chosen: Message,
    rejected: Message,
    source: &RowSource,
    options: &ReadOptions,
) -> Result<Vec<Row>, String> {
    check(&chat.messages, false, options)?;
    for (message, name) in [(&chosen, "chosen"), (&rejected, "rejected")] {
        if !message.speaker.is_answer() {
            return Err(format!("the {name} answer is {}", message.speaker.name()));
        }
    }
    let prompt = Prompt::Chat(turns(&chat));
    Ok(vec![ranked(prompt, &chosen.text, &rejected.text, source)?])
}

/// A preference whose answers can be told apart.
pub fn ranked(
    prompt: Prompt,
    chosen: &str,
    rejected: &str,
    source: &RowSource,
) -> Result<Row, String> {
    let chosen = filled(chosen, "the chosen answer")?;
    let rejected = filled(rejected, "the rejected answer")?;
    if chosen == rejected {
        return Err("the chosen and the rejected answer are equal".to_owned());
    }
    Ok(Row::Preference(Preference { prompt, chosen, rejected, source: source.clone() }))
}

/// The text, unless it is white space.
pub fn filled(text: &str, name: &str) -> Result<String, String> {
    if text.trim().is_empty() { Err(format!("{name} is empty")) } else { Ok(text.to_owned()) }
}

/// Whether the turns come in an order that can be learnt from. Positions are counted without
/// system messages: even ones belong to the user or a tool, odd ones are answers.
fn check(
    messages: &[Message],
    ends_with_answer: bool,
    options: &ReadOptions,
) -> Result<(), String> {
    if messages.len() > MAX_TURNS {
        return Err(format!("it has {} turns, more than {MAX_TURNS}", messages.len()));
    }
    let mut position = 0;
    for (idx, message) in messages.iter().enumerate() {
        check_text(message, idx)?;
        if message.speaker != Speaker::System {
            check_turn(message, idx, position, options)?;
            position += 1;
        } else if !options.several_systems {
            return Err(format!(
                "turn {} is a system message in mid-chat (`several_systems` accepts it)",
                idx + 1
            ));
        }
    }
    check_end(messages, ends_with_answer)
}

fn check_text(message: &Message, idx: usize) -> Result<(), String> {
    // A function may well return nothing, and answers are looked at when they are learnt.
    match message.speaker {
        Speaker::User if message.text.trim().is_empty() => {
            Err(format!("turn {}, the user's, is empty", idx + 1))
        }
        _ => Ok(()),
    }
}

fn check_turn(
    message: &Message,
    idx: usize,
    position: usize,
    options: &ReadOptions,
) -> Result<(), String> {
    let is_due = position % 2 == 1;
    if message.speaker.is_answer() == is_due || (options.consecutive_roles && position > 0) {
        return Ok(());
    }
    let due = if is_due { "an answer" } else { "the user's or a tool's" };
    let hint = if position > 0 { " (`consecutive_roles` accepts it)" } else { "" };
    Err(format!("turn {} is {}, where {due} is due{hint}", idx + 1, message.speaker.name()))
}

fn check_end(messages: &[Message], ends_with_answer: bool) -> Result<(), String> {
    match messages.last() {
        None => Err("it has no turns".to_owned()),
        Some(last) if last.speaker.is_answer() == ends_with_answer => Ok(()),
        Some(_) if ends_with_answer => Err("its last turn is no answer".to_owned()),
        Some(_) => Err("its prompt ends with an answer".to_owned()),
    }
}

/// The turns of a chat, led by the system message unless that is empty.
fn turns(chat: &Chat) -> Vec<Turn> {
    let system = chat.system.iter().filter(|text| !text.trim().is_empty());
    let system = system.map(|text| turn(Role::System, text));
    let rest = chat.messages.iter().map(|message| turn(message.speaker.role(), &message.text));
    system.chain(rest).collect()
}

fn turn(role: Role, text: &str) -> Turn {
    Turn { role, text: Arc::from(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `s`ystem, `u`ser, `o`bservation, `a`ssistant, `f`unction; the text is the letter and its
    /// place.
    fn chat(speakers: &str) -> Chat {
        let message = |(idx, letter): (usize, char)| {
            let speaker = match letter {
                's' => Speaker::System,
                'u' => Speaker::User,
                'o' => Speaker::Observation,
                'a' => Speaker::Assistant,
                _ => Speaker::Function,
            };
            Message::new(speaker, format!("{letter}{idx}"))
        };
        Chat { system: None, messages: speakers.chars().enumerate().map(message).collect() }
    }

    fn source() -> RowSource {
        RowSource { file: "x".into(), line: 1 }
    }

    /// Each row as `prompt>answer`.
    fn learned(chat: Chat, options: &ReadOptions) -> Result<Vec<String>, String> {
        let rows = completions(chat, &source(), options)?;
        Ok(rows.iter().map(shown).collect())
    }

    fn shown(row: &Row) -> String {
        let (prompt, answer) = match row {
            Row::Completion(row) => (&row.prompt, row.answer.clone()),
            Row::Judged(row) => (&row.prompt, format!("{} {}", row.answer, row.desirable)),
            Row::Preference(row) => (&row.prompt, format!("{} {}", row.chosen, row.rejected)),
            Row::Pair(_) | Row::Asked(_) => unreachable!(),
        };
        let Prompt::Chat(turns) = prompt else { unreachable!() };
        let texts: Vec<&str> = turns.iter().map(|turn| &*turn.text).collect();
        format!("{}>{answer}", texts.join(" "))
    }

    #[test]
    fn every_answer_is_learnt_from_all_before_it() {
        let mut given = chat("uafoa");
        given.messages.remove(1);
        given.system = Some("S".to_owned());
        let rows = learned(given.clone(), &ReadOptions::default()).unwrap();
        assert_eq!(rows, ["S u0>f2", "S u0 f2 o3>a4"]);
        let last = ReadOptions { mask_history: true, ..ReadOptions::default() };
        assert_eq!(learned(given.clone(), &last).unwrap(), ["S u0 f2 o3>a4"]);
        given.messages[1].is_learned = false;
        given.system = Some(" ".to_owned());
        let rows = learned(given, &ReadOptions::default()).unwrap();
        assert_eq!(rows, ["u0 f2 o3>a4"]);
    }

    #[test]
    fn function_calls_are_answers_and_results_are_a_tools() {
        let rows = completions(chat("ufoa"), &source(), &ReadOptions::default()).unwrap();
        let Row::Completion(row) = &rows[1] else { unreachable!() };
        let Prompt::Chat(turns) = &row.prompt else { unreachable!() };
        let roles: Vec<Role> = turns.iter().map(|turn| turn.role).collect();
        assert_eq!(roles, [Role::User, Role::Assistant, Role::Tool]);
    }

    #[test]
    fn turns_alternate_unless_asked_otherwise() {
        let strict = ReadOptions::default();
        let cases = [
            ("", "it has no turns"),
            ("u", "its last turn is no answer"),
            ("uau", "its last turn is no answer"),
            ("au", "turn 1 is the assistant's, where the user's or a tool's is due"),
            ("uua", "turn 2 is the user's, where an answer is due"),
            ("uaa", "turn 3 is the assistant's, where the user's or a tool's is due"),
            ("uoa", "turn 2 is a tool's, where an answer is due"),
            ("suaua", "turn 1 is a system message in mid-chat"),
            ("uasua", "turn 3 is a system message in mid-chat"),
        ];
        for (speakers, expected) in cases {
            let reason = learned(chat(speakers), &strict).unwrap_err();
            assert!(reason.starts_with(expected), "{speakers}: {reason}");
        }
        let relaxed = ReadOptions { consecutive_roles: true, ..ReadOptions::default() };
        assert_eq!(learned(chat("uuaa"), &relaxed).unwrap(), ["u0 u1>a2", "u0 u1 a2>a3"]);
        for speakers in ["", "u", "uau", "aua", "uasua"] {
            assert!(learned(chat(speakers), &relaxed).is_err(), "{speakers}");
        }
        let systems = ReadOptions { several_systems: true, ..ReadOptions::default() };
        assert_eq!(learned(chat("uasua"), &systems).unwrap(), ["u0>a1", "u0 a1 s2 u3>a4"]);
        assert!(learned(chat("usua"), &systems).is_err());
    }

    #[test]
    fn empty_turns_are_refused_where_they_matter() {
        let mut given = chat("uaua");
        given.messages[1].text = " ".to_owned();
        let options = ReadOptions::default();
        assert_eq!(learned(given.clone(), &options).unwrap_err(), "the answer is empty");
        given.messages[1].is_learned = false;
        assert_eq!(learned(given.clone(), &options).unwrap(), ["u0   u2>a3"]);
        given.messages[2].text.clear();
        assert_eq!(learned(given, &options).unwrap_err(), "turn 3, the user's, is empty");
        let mut given = chat("ua");
        given.messages[1].is_learned = false;
        assert_eq!(learned(given, &options).unwrap_err(), "none of its answers is to be learnt");
    }

    #[test]
    fn long_chats_are_refused() {
        let options = ReadOptions::default();
        assert_eq!(learned(chat(&"ua".repeat(500)), &options).unwrap().len(), 500);
        let reason = learned(chat(&"ua".repeat(501)), &options).unwrap_err();
        assert_eq!(reason, "it has 1002 turns, more than 1000");
    }

    #[test]
    fn verdicts_are_on_the_last_answer_and_never_on_an_empty_one() {
        let options = ReadOptions::default();
        let rows = judged(chat("uaua"), false, &source(), &options).unwrap();
        assert_eq!(shown(&rows[0]), "u0 a1 u2>a3 false");
        let mut given = chat("ua");
        given.messages[1].text.clear();
        assert!(judged(given, true, &source(), &options).is_err());
        assert!(judged(chat("uau"), true, &source(), &options).is_err());
    }

    #[test]
    fn a_preference_needs_a_question_and_two_different_answers() {
        let options = ReadOptions::default();
        let answer = |text: &str| Message::new(Speaker::Assistant, text);
        let row = |speakers: &str, chosen, rejected| {
            preference(chat(speakers), chosen, rejected, &source(), &options)
                .map(|rows| shown(&rows[0]))
        };
        assert_eq!(row("uau", answer("x"), answer("y")).unwrap(), "u0 a1 u2>x y");
        let reason = row("u", answer("x"), answer("x")).unwrap_err();
        assert_eq!(reason, "the chosen and the rejected answer are equal");
        let reason = row("ua", answer("x"), answer("y")).unwrap_err();
        assert_eq!(reason, "its prompt ends with an answer");
        let reason = row("u", answer("x"), answer("")).unwrap_err();
        assert_eq!(reason, "the rejected answer is empty");
        let reason = row("u", Message::new(Speaker::User, "x"), answer("y")).unwrap_err();
        assert_eq!(reason, "the chosen answer is the user's");
    }
}
