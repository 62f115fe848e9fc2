//! What a rewrite starts from and what it ends with: the nouns of this room.

use std::collections::BTreeMap;
use std::sync::Arc;

use time::OffsetDateTime;

/// Who said a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    System,
    User,
    Assistant,
}

/// One earlier message of the conversation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Turn {
    pub role: Role,
    pub text: String,
}

/// One sense of a glossary term that has several: 苹果 the company, 苹果 the fruit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sense {
    pub id: String,
    /// Short name shown to the person, for example `Apple Inc.` or `苹果（水果）`.
    pub label: String,
    pub definition: String,
}

/// A glossary entry of a collection. No senses means that it has one meaning.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    pub id: String,
    pub term: String,
    pub aliases: Vec<String>,
    pub senses: Vec<Sense>,
}

/// A collection's terms, in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Glossary {
    pub terms: Vec<Term>,
}

/// The query in its surroundings: everything that a rewrite may draw on.
#[derive(Debug, Clone)]
pub struct Conversation {
    pub query: String,
    /// Oldest first; the query itself is not among them.
    pub turns: Vec<Turn>,
    /// The asker's clock, with the asker's zone. Without it no date is resolved.
    pub now: Option<OffsetDateTime>,
    /// BCP 47 tag, for example `zh-CN`.
    pub locale: Option<String>,
    /// Known facts of the session: `product`, `region`, `metric`, `unit`, `period`, …
    pub facts: BTreeMap<String, String>,
    pub glossary: Arc<Glossary>,
    /// Terms of which the collection's documents name exactly one sense: the term's id, and the
    /// sense as an index into [`Term::senses`]. Whoever knows the collection fills it in.
    pub held_senses: BTreeMap<String, usize>,
}

/// A piece of a text, counted in Unicode scalar values (not bytes): `start <= end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub end: usize,
    pub text: String,
}

/// The three kinds of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IssueKind {
    /// 信息残缺: the query leaves out what it is about.
    MissingInformation,
    /// 语义模糊: time, place, metric or unit are open.
    Vague,
    /// 表达歧义: a pronoun, or a word with several senses.
    AmbiguousReference,
}

/// Where a piece of the standalone question came from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// Index into [`Conversation::turns`].
    Message(usize),
    /// Key of [`Conversation::facts`].
    Fact(String),
    /// Id of a glossary term.
    Glossary(String),
    /// Worked out from [`Conversation::now`].
    Date,
}

/// The words that resolved an issue, and where they stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub source: Source,
    pub text: String,
}

/// One ambiguity of the query.
#[derive(Debug, Clone, PartialEq)]
pub struct Issue {
    pub kind: IssueKind,
    /// The words of the query that are in trouble; an empty span (`start == end`) marks
    /// a place where something is left out.
    pub span: Span,
    pub resolved_by: Option<Evidence>,
    /// 0 to 1.
    pub confidence: f32,
}

/// A replacement within the query that a rule has worked out, with its evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// Piece of the query to replace; empty (`start == end`) to insert.
    pub span: Span,
    pub replacement: String,
    pub issue: IssueKind,
    pub evidence: Evidence,
    pub confidence: f32,
}

/// What is to be done with the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Pass,
    Rewrite,
    Clarify,
}

/// A question back to the person, with the readings to choose from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clarification {
    pub question: String,
    pub options: Vec<String>,
}

/// How a search query is meant to be matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SearchKind {
    Keyword,
    Semantic,
}

/// One query for the retriever; free to expand, never shown as fact.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchQuery {
    pub text: String,
    pub kind: SearchKind,
    pub weight: f32,
}

impl Span {
    /// The span of `text[byte_start..byte_end]`; both must be char boundaries.
    pub fn of_bytes(text: &str, byte_start: usize, byte_end: usize) -> Self {
        let piece = &text[byte_start..byte_end];
        let start = text[..byte_start].chars().count();
        Self { start, end: start + piece.chars().count(), text: piece.to_owned() }
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn overlaps(&self, other: &Self) -> bool {
        self.start < other.end && other.start < self.end
    }
}
