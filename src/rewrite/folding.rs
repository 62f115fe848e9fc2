//! Traditional characters for a model that knows simplified ones alone: folded before it reads,
//! put back in what it copies.

use std::collections::HashMap;

use super::conversation::Conversation;
use super::text::to_simplified;

/// Which traditional character each simplified one stood for.
pub struct Folding {
    originals: HashMap<char, char>,
}

impl Folding {
    /// None where nothing of a conversation is traditional.
    pub fn of(conversation: &Conversation) -> Option<Self> {
        let texts = conversation.turns.iter().map(|turn| turn.text.as_str());
        let originals: HashMap<char, char> = texts
            .chain([conversation.query.as_str()])
            .flat_map(str::chars)
            .filter_map(|char| {
                let folded = to_simplified(char);
                (folded != char).then_some((folded, char))
            })
            .collect();
        (!originals.is_empty()).then_some(Self { originals })
    }

    /// The conversation in simplified characters.
    pub fn fold(&self, conversation: &Conversation) -> Conversation {
        let mut folded = conversation.clone();
        folded.query = self.folded(&folded.query);
        for turn in &mut folded.turns {
            turn.text = self.folded(&turn.text);
        }
        folded
    }

    /// A text in simplified characters.
    pub fn folded(&self, text: &str) -> String {
        text.chars().map(to_simplified).collect()
    }

    /// What a model copied, in the characters that were folded.
    pub fn unfold(&self, text: &str) -> String {
        text.chars().map(|char| self.originals.get(&char).copied().unwrap_or(char)).collect()
    }
}
