//! One request while it is being answered.

use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::draft;
use super::{Event, Finish, GenerateRequest, Generated};
use crate::error::Error;
use crate::model::qwen::RowCache;
use crate::model::sampling::Sampler;

/// Prompt tokens fed in one step, so that a long prompt does not hold up the others.
const PREFILL_TOKENS: usize = 512;

pub(super) struct Row {
    pub cache: RowCache,
    /// Prompt, then what has been drawn. All but the newest may be in the cache.
    tokens: Vec<u32>,
    n_prompt: usize,
    n_drafts_accepted: usize,
    /// How many of this step's tokens are guesses.
    n_drafted: usize,
    sampler: Sampler,
    request: GenerateRequest,
    events: UnboundedSender<Event>,
}

impl Row {
    pub fn new(request: GenerateRequest, events: UnboundedSender<Event>, cache: RowCache) -> Self {
        Self {
            cache,
            tokens: request.prompt.clone(),
            n_prompt: request.prompt.len(),
            n_drafts_accepted: 0,
            n_drafted: 0,
            sampler: Sampler::new(request.sampling),
            request,
            events,
        }
    }

    /// Why the row must not go on, if it must not: the caller has left, or is out of time.
    pub fn interrupted(&self, now: Instant) -> Option<Finish> {
        if self.events.is_closed() {
            Some(Finish::Cancelled)
        } else if self.request.deadline.is_some_and(|deadline| now >= deadline) {
            Some(Finish::Deadline)
        } else {
            None
        }
    }

    /// The tokens to compute next: what is not cached, then a draft when all of it fits.
    pub fn feed(&mut self) -> Vec<u32> {
        let waiting = &self.tokens[self.cache.len()..];
        if waiting.len() > PREFILL_TOKENS {
            self.n_drafted = 0;
            return waiting[..PREFILL_TOKENS].to_vec();
        }
        let mut feed = waiting.to_vec();
        let n_left = self.request.max_new_tokens - (self.tokens.len() - self.n_prompt);
        self.n_drafted = 0;
        if self.request.draft && self.request.sampling.is_greedy() && n_left > 1 {
            let draft = draft::propose(&self.tokens);
            self.n_drafted = draft.len().min(n_left - 1);
            feed.extend_from_slice(&draft[..self.n_drafted]);
        }
        feed
    }

    /// How many of the last fed positions need next-token scores.
    pub fn n_scored(&self, n_fed: usize) -> usize {
        let all_fed = self.cache.len() + n_fed >= self.tokens.len();
        if all_fed { self.n_drafted + 1 } else { 0 }
    }

    /// Draws from the scores of this step's last positions, `n_scored` times `[vocab]`, as long
    /// as the drafts hold. Returns how the row ended, if it did.
    pub fn take(&mut self, scores: &[&[f32]], stop_tokens: &[u32]) -> Option<Finish> {
        let drafted_from = self.cache.len() - self.n_drafted;
        let drafts: Vec<u32> = match scores.len() {
            0 => return None,
            _ => draft::propose(&self.tokens)[..self.n_drafted].to_vec(),
        };
        let n_before = self.tokens.len();
        let mut finish = None;
        for (position, scores) in scores.iter().enumerate() {
            let token = self.sampler.draw(scores);
            finish = self.push(token, stop_tokens);
            if finish.is_some() || drafts.get(position) != Some(&token) {
                break;
            }
            self.n_drafts_accepted += 1;
        }
        self.cache.truncate(drafted_from + self.tokens.len().saturating_sub(n_before + 1));
        let drawn = self.tokens[n_before.min(self.tokens.len())..].to_vec();
        if !drawn.is_empty() {
            // A caller that has left is noticed by `interrupted` before the next step.
            let _ = self.events.send(Event::Tokens(drawn));
        }
        finish
    }

    fn push(&mut self, token: u32, stop_tokens: &[u32]) -> Option<Finish> {
        if stop_tokens.contains(&token) && !self.request.ignore_stop {
            return Some(Finish::Stop);
        }
        self.tokens.push(token);
        let generated = &self.tokens[self.n_prompt..];
        if self.request.stop_loops
            && let Some(kept) = draft::looping(generated)
        {
            self.tokens.truncate(self.n_prompt + kept);
            return Some(Finish::Loop);
        }
        (generated.len() >= self.request.max_new_tokens).then_some(Finish::Length)
    }

    /// Tells the caller how it ended.
    pub fn finish(self, finish: Finish) {
        let generated = Generated {
            tokens: self.tokens[self.n_prompt..].to_vec(),
            finish,
            n_prompt_tokens: self.n_prompt,
            n_drafts_accepted: self.n_drafts_accepted,
        };
        let _ = self.events.send(Event::Finished(generated));
    }

    /// Tells the caller that the computation failed.
    pub fn fail(self, message: &str) {
        let _ = self.events.send(Event::Failed(Error::internal(message)));
    }
}
