//! Keeps a run from being spoilt by numbers that are not finite, or that leap: it decides from the
//! loss and gradient norm of each step whether to take it, to skip it, to go back to the last good
//! state, or to give up and say why. It knows no tensors; the trainer does what it decides.
//!
//! Invariants: a value that is not finite, or that is itself a leap, never enters the statistics
//! (one NaN there would make every later comparison false); skips in a row are limited; what has
//! been decided is never taken back by going back.

mod diagnosis;
mod finite;
mod record;
#[cfg(test)]
mod snapshot;
#[cfg(test)]
mod tests;
mod window;

use std::collections::VecDeque;
use std::ops::Range;

use serde::{Deserialize, Serialize};

pub use diagnosis::{Cause, Diagnosis, Method, Precision, RunFacts};
pub use finite::all_finite;
pub use record::{BadBatch, Observation, Reading, Reason, Row, RowFault};
#[cfg(test)]
pub use snapshot::Snapshot;

use super::schedule::Slowdown;
use window::Window;

/// Bad batches that are remembered for the diagnosis.
const MAX_EVIDENCE: usize = 64;

/// What to do about a finite loss or norm far above the recent ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnSpike {
    Skip,
    /// Take the step with its clipped gradients, and count nothing against the run.
    Step,
}

/// When the guard acts. The window and its threshold are those of OLMo-core's step-skipping
/// optimiser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GuardSettings {
    pub on_spike: OnSpike,
    /// Steps that the statistics are taken over.
    pub window: usize,
    /// Good steps before a spike is looked for.
    pub active_after: usize,
    /// Standard deviations above the mean that make a spike.
    pub max_deviations: f64,
    /// This many bad steps in a row send the run back …
    pub max_consecutive: usize,
    /// … and so do more than `max_recent` among the last `n_recent`.
    pub max_recent: usize,
    pub n_recent: usize,
    pub max_rollbacks: u32,
    /// What the learning rate is multiplied by at each rollback, and the least product.
    pub slowdown: f64,
    pub least_factor: f64,
    pub n_rewarm_steps: u64,
}

impl Default for GuardSettings {
    fn default() -> Self {
        Self {
            on_spike: OnSpike::Skip,
            window: 128,
            active_after: 64,
            max_deviations: 6.0,
            max_consecutive: 3,
            max_recent: 5,
            n_recent: 100,
            max_rollbacks: 3,
            slowdown: 0.5,
            least_factor: 1.0 / 16.0,
            n_rewarm_steps: 20,
        }
    }
}

/// A place in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Optimiser steps taken; skipped ones do not count.
    pub step: u64,
    /// The next batch in the order of the data.
    pub batch: u64,
}

/// What to do with the gradients that the observation is about.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Take the step.
    Step,
    /// Drop the gradients; weights, moments, step count and schedule stay as they are.
    Skip { reason: Reason },
    /// Restore the snapshot that was taken at `to`, and go on after the batches of `skip`. The
    /// learning rate from there on is the schedule's under [`Guard::slowdown`].
    RollBack { reason: Reason, to: Point, skip: Range<u64>, number: u32 },
    /// Stop; keep the best checkpoint.
    Fail { diagnosis: Diagnosis },
}

/// How often what has happened, for logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub n_steps: u64,
    pub n_not_finite: u64,
    pub n_spikes: u64,
    pub n_rollbacks: u32,
}

/// The state of the machine. Serialised whole into checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    settings: GuardSettings,
    facts: RunFacts,
    losses: Window,
    norms: Window,
    /// Whether each of the last steps was bad.
    recent: VecDeque<bool>,
    n_consecutive: usize,
    n_good_since_bad: usize,
    snapshot: Point,
    slowdown: Slowdown,
    counts: Counts,
    evidence: VecDeque<BadBatch>,
}

impl Guard {
    /// For a run that begins at `start`, of which the trainer holds a snapshot.
    pub fn new(settings: GuardSettings, facts: RunFacts, start: Point) -> Self {
        Self {
            settings,
            facts,
            losses: Window::default(),
            norms: Window::default(),
            recent: VecDeque::new(),
            n_consecutive: 0,
            n_good_since_bad: 0,
            snapshot: start,
            slowdown: Slowdown::default(),
            counts: Counts::default(),
            evidence: VecDeque::new(),
        }
    }

    /// Judges one step before it is taken.
    pub fn observe(&mut self, seen: &Observation<'_>) -> Verdict {
        let Some(reason) = self.judge(seen) else {
            self.losses.push(seen.loss, self.settings.window);
            self.norms.push(seen.gradient_norm, self.settings.window);
            self.count_good();
            return Verdict::Step;
        };
        self.note(seen, reason);
        if reason.is_spike() && self.settings.on_spike == OnSpike::Step {
            self.count_good();
            return Verdict::Step;
        }
        self.count_bad();
        if !self.is_spoilt() {
            return Verdict::Skip { reason };
        }
        if self.counts.n_rollbacks >= self.settings.max_rollbacks {
            let evidence = self.evidence.make_contiguous();
            let diagnosis = diagnosis::of(&self.facts, evidence, &self.counts, &self.slowdown);
            return Verdict::Fail { diagnosis };
        }
        self.roll_back(seen, reason)
    }

    /// Whether the state is good enough to go back to: the last steps, as many as would send the
    /// run back if they were bad, were all good.
    pub fn may_snapshot(&self) -> bool {
        self.n_good_since_bad >= self.settings.max_consecutive
    }

    /// To be told of each snapshot; only the last is gone back to.
    pub fn snapshot_taken(&mut self, at: Point) {
        self.snapshot = at;
    }

    /// Whether a checkpoint may be written: not right after a bad step. Check the weights with
    /// [`all_finite`] as well.
    pub fn may_checkpoint(&self) -> bool {
        self.n_consecutive == 0
    }

    pub fn slowdown(&self) -> &Slowdown {
        &self.slowdown
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The record of the last bad batch, for `bad_batches.jsonl`.
    pub fn last_bad(&self) -> Option<&BadBatch> {
        self.evidence.back()
    }

    fn judge(&self, seen: &Observation<'_>) -> Option<Reason> {
        if !seen.loss_finite || !seen.loss.is_finite() {
            return Some(Reason::LossNotFinite);
        }
        if !seen.gradients_finite || !seen.gradient_norm.is_finite() {
            return Some(Reason::GradientNotFinite);
        }
        let (least, most) = (self.settings.active_after, self.settings.max_deviations);
        // The loss of a method by reward lies around 0, or follows what the value head has yet to
        // learn: how far it moves says nothing of the step.
        let is_telling = self.facts.method != Method::Reinforcement;
        let deviations = self.losses.deviations(seen.loss, least).filter(|z| *z > most);
        if let Some(deviations) = deviations.filter(|_| is_telling) {
            return Some(Reason::LossSpike { deviations });
        }
        let norm = self.norms.deviations(seen.gradient_norm, least);
        norm.filter(|z| *z > most).map(|deviations| Reason::GradientSpike { deviations })
    }

    fn note(&mut self, seen: &Observation<'_>, reason: Reason) {
        if reason.is_spike() {
            self.counts.n_spikes += 1;
        } else {
            self.counts.n_not_finite += 1;
        }
        if self.evidence.len() == MAX_EVIDENCE {
            self.evidence.pop_front();
        }
        self.evidence.push_back(BadBatch::of(seen, reason));
    }

    fn count_good(&mut self) {
        self.remember(false);
        self.counts.n_steps += 1;
        self.n_consecutive = 0;
        self.n_good_since_bad += 1;
    }

    fn count_bad(&mut self) {
        self.remember(true);
        self.n_consecutive += 1;
        self.n_good_since_bad = 0;
    }

    fn remember(&mut self, is_bad: bool) {
        self.recent.push_back(is_bad);
        while self.recent.len() > self.settings.n_recent {
            self.recent.pop_front();
        }
    }

    fn is_spoilt(&self) -> bool {
        let n_bad = self.recent.iter().filter(|is_bad| **is_bad).count();
        self.n_consecutive >= self.settings.max_consecutive || n_bad > self.settings.max_recent
    }

    fn roll_back(&mut self, seen: &Observation<'_>, reason: Reason) -> Verdict {
        let GuardSettings { slowdown, least_factor, n_rewarm_steps, .. } = self.settings;
        self.counts.n_rollbacks += 1;
        self.slowdown =
            self.slowdown.lowered(slowdown, least_factor, self.snapshot.step, n_rewarm_steps);
        // What is gone back on must not count again.
        self.recent.clear();
        self.n_consecutive = 0;
        Verdict::RollBack {
            reason,
            to: self.snapshot,
            skip: self.snapshot.batch..seen.batch + 1,
            number: self.counts.n_rollbacks,
        }
    }
}
