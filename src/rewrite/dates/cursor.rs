//! A reading position in the chars of a text. The scanners look both ways from it: the
//! chars behind decide whether 天 in 昆明天气 begins a date as much as those ahead do.

/// A position in a text; copying one is how a scanner tries something and goes back.
#[derive(Debug, Clone, Copy)]
pub struct Cursor<'a> {
    pub chars: &'a [char],
    pub at: usize,
}

impl Cursor<'_> {
    pub fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    /// The char `distance` places behind the position; 1 is the nearest.
    pub fn behind(&self, distance: usize) -> Option<char> {
        self.chars.get(self.at.checked_sub(distance)?).copied()
    }

    /// Whether the next char is one of `set`.
    pub fn next_in(&self, set: &str) -> bool {
        self.peek().is_some_and(|next| set.contains(next))
    }

    /// Whether the char after the next one is one of `set`.
    pub fn second_in(&self, set: &str) -> bool {
        self.chars.get(self.at + 1).is_some_and(|second| set.contains(*second))
    }

    /// Whether the char `distance` places behind is one of `set`.
    pub fn behind_in(&self, distance: usize, set: &str) -> bool {
        self.behind(distance).is_some_and(|char| set.contains(char))
    }

    pub fn looking_at(&self, word: &str) -> bool {
        let mut rest = self.chars.get(self.at..).unwrap_or_default().iter();
        word.chars().all(|char| rest.next() == Some(&char))
    }

    pub fn looking_at_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.looking_at(word))
    }

    /// Whether the text behind the position ends in `word`.
    pub fn follows(&self, word: &str) -> bool {
        let mut rest = self.chars.get(..self.at).unwrap_or_default().iter().rev();
        word.chars().rev().all(|char| rest.next() == Some(&char))
    }

    pub fn follows_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.follows(word))
    }

    /// Moves past `word` if it stands here.
    pub fn eat(&mut self, word: &str) -> bool {
        let found = self.looking_at(word);
        if found {
            self.at += word.chars().count();
        }
        found
    }

    /// Moves past the first of `words` that stands here: list the longer ones first.
    pub fn eat_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.eat(word))
    }

    /// Moves past the first listed word that stands here and returns what belongs to it.
    pub fn eat_entry<T: Copy>(&mut self, table: &[(&str, T)]) -> Option<T> {
        table.iter().find(|(word, _)| self.eat(word)).map(|(_, value)| *value)
    }

    /// Moves past one space, as in `3 天前`.
    pub fn skip_space(&mut self) {
        if self.peek() == Some(' ') {
            self.at += 1;
        }
    }
}
