//! What is known of one completion.

/// Something that is found out about a completion by work that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reading<T> {
    Known(T),
    /// Nobody looked, or there is nothing to look for.
    #[default]
    NotAsked,
    /// The search, the reranker or the check broke: not the completion's fault.
    Failed,
}

impl<T> Reading<T> {
    pub fn as_ref(&self) -> Reading<&T> {
        match self {
            Self::Known(known) => Reading::Known(known),
            Self::NotAsked => Reading::NotAsked,
            Self::Failed => Reading::Failed,
        }
    }

    /// What `reward` makes of what is known.
    pub(super) fn reward(self, reward: impl FnOnce(T) -> f64) -> super::Reward {
        match self {
            Self::Known(known) => super::Reward::of(reward(known)),
            Self::NotAsked => super::Reward::NotApplicable,
            Self::Failed => super::Reward::Failed,
        }
    }
}

/// Where the passages that answer a question stand in a list of results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranks {
    /// From 1, ascending, without doubles; only those within the depth that was looked at.
    found: Vec<usize>,
    n_gold: usize,
}

impl Ranks {
    /// The ranks, from 1, of those of `n_gold` passages that were found. A rank of 0 is not a
    /// rank and is dropped.
    pub fn new(mut found: Vec<usize>, n_gold: usize) -> Self {
        found.retain(|&rank| rank > 0);
        found.sort_unstable();
        found.dedup();
        let n_gold = n_gold.max(found.len());
        Self { found, n_gold }
    }

    /// The one passage that answers, at this rank from 1; none where it was not found.
    pub fn single(rank: Option<usize>) -> Self {
        Self::new(rank.into_iter().collect(), 1)
    }

    /// The ranks, from 1, of the `gold` passages among `results`, best result first.
    pub fn among<T: PartialEq>(results: &[T], gold: &[T]) -> Self {
        let ranked = results.iter().enumerate();
        let found = ranked.filter(|(_, id)| gold.contains(id)).map(|(idx, _)| idx + 1);
        Self::new(found.collect(), gold.len())
    }

    /// The best rank, from 1.
    pub fn best(&self) -> Option<usize> {
        self.found.first().copied()
    }

    pub fn found(&self) -> &[usize] {
        &self.found
    }

    pub fn n_gold(&self) -> usize {
        self.n_gold
    }
}

/// How many of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    pub part: usize,
    pub whole: usize,
}

/// Whether something of the query's writing was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Kept,
    /// The right language in the other Chinese script.
    OtherScript,
    OtherLanguage,
}

/// What is known of one completion. The default is a well-formed completion of which nothing else
/// is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Whether the server's parser gets a question out of it. All else is unknown where it does
    /// not.
    pub is_well_formed: bool,
    /// Whether it says what the query says, word for word.
    pub is_unchanged: bool,
    /// Whether the query needed no rewriting; none where nobody knows.
    pub is_complete: Option<bool>,
    /// What a search with the completion finds.
    pub gold: Reading<Ranks>,
    /// What the same search finds with the raw query.
    pub raw: Reading<Ranks>,
    /// Words that the completion adds to the query: those that nothing says, of all.
    pub unsupported: Reading<Share>,
    /// Quotations, numbers, codes, addresses and terms of the query: those lost, of all.
    pub lost_protected: Reading<Share>,
    /// Content words of the query: those neither kept nor replaced on good grounds, of all.
    pub lost_content: Reading<Share>,
    pub writing: Reading<Kept>,
    /// Mean score that a reranker gives the documents found, against the *original* query.
    pub reranker: Reading<f64>,
    pub n_tokens: usize,
    pub n_query_tokens: usize,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            is_well_formed: true,
            is_unchanged: false,
            is_complete: None,
            gold: Reading::NotAsked,
            raw: Reading::NotAsked,
            unsupported: Reading::NotAsked,
            lost_protected: Reading::NotAsked,
            lost_content: Reading::NotAsked,
            writing: Reading::NotAsked,
            reranker: Reading::NotAsked,
            n_tokens: 0,
            n_query_tokens: 0,
        }
    }
}

impl Facts {
    /// Of a completion that the server's parser gets nothing out of.
    pub fn malformed() -> Self {
        Self { is_well_formed: false, ..Self::default() }
    }
}
