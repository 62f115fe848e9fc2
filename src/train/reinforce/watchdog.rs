//! Notices that a run collapses while its loss still looks well: the same answers for everything,
//! gibberish, answers without end, a policy that is sure of everything or far from its start, a
//! judge that does not answer.
//!
//! Each figure is averaged over the last steps and held against a limit: an absolute one, or one
//! relative to the figure's mean over the first steps where only the change tells. A limit must be
//! crossed for several steps in a row. Pure: whoever runs it stops and goes back to the best
//! checkpoint.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::health::Health;
use crate::error::{Error, Result};

mod figure;
mod settings;
#[cfg(test)]
mod tests;

pub use figure::Figure;
pub use settings::WatchdogSettings;

use settings::Limit;

/// Watches the figures of a run. Its state can be written to a checkpoint and is the same to the
/// bit when it is read again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watchdog {
    settings: WatchdogSettings,
    n_steps: usize,
    tracks: BTreeMap<Figure, Track>,
}

/// What is kept of one figure.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Track {
    /// The first values, as bits: decimal JSON may lose the last one.
    first: Vec<u64>,
    /// The last values, as bits.
    last: VecDeque<u64>,
    /// Steps in a row that the mean of the last values is beyond its limit.
    n_beyond: usize,
}

/// The collapse that was noticed. Shown as a sentence with the figure, its value and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Trip {
    pub figure: Figure,
    /// The mean of the figure's last values.
    pub value: f64,
    /// What it must not be beyond.
    pub threshold: f64,
    /// The mean of its first values, where the limit is relative to that.
    pub start: Option<f64>,
    /// Steps in a row that it was beyond.
    pub n_steps: usize,
    /// The step at which it tripped, from 1.
    pub step: usize,
}

impl Watchdog {
    /// # Errors
    /// Those of [`WatchdogSettings::validate`].
    pub fn new(settings: WatchdogSettings) -> Result<Self> {
        settings.validate()?;
        Ok(Self { settings, n_steps: 0, tracks: BTreeMap::new() })
    }

    /// Goes on from a checkpoint, under settings that may have been changed since.
    ///
    /// # Errors
    /// Those of [`WatchdogSettings::validate`].
    pub fn with_settings(self, settings: WatchdogSettings) -> Result<Self> {
        settings.validate()?;
        Ok(Self { settings, ..self })
    }

    /// Takes in the figures of a step, and says whether the run has collapsed. After a trip it
    /// counts anew.
    pub fn observe(&mut self, health: &Health) -> Option<Trip> {
        self.n_steps += 1;
        let mut trips = Vec::new();
        for figure in Figure::ALL {
            if let Some(value) = figure.of(health) {
                trips.extend(self.take(figure, value));
            }
        }
        if !self.settings.enabled || trips.is_empty() {
            return None;
        }
        self.forgive();
        trips.into_iter().next()
    }

    /// Forgets what was crossed so far, but not how the run began: after the weights went back to
    /// an earlier state.
    pub fn forgive(&mut self) {
        for track in self.tracks.values_mut() {
            track.n_beyond = 0;
            track.last.clear();
        }
    }

    fn take(&mut self, figure: Figure, value: f64) -> Option<Trip> {
        let settings = &self.settings;
        let track = self.tracks.entry(figure).or_default();
        let value = track.push(value, settings);
        let start = (track.first.len() >= settings.start_steps).then(|| mean(track.first.iter()));
        let beyond = match settings.limit(figure) {
            Limit::Off => None,
            limit => limit.threshold(start).filter(|&threshold| limit.is_beyond(value, threshold)),
        };
        let in_grace = self.n_steps <= settings.grace_steps;
        track.n_beyond = if beyond.is_some() && !in_grace { track.n_beyond + 1 } else { 0 };
        let threshold = beyond.filter(|_| track.n_beyond >= settings.patience_steps)?;
        Some(Trip {
            figure,
            value,
            threshold,
            start: start.filter(|_| settings.limit(figure).is_relative()),
            n_steps: track.n_beyond,
            step: self.n_steps,
        })
    }
}

impl Track {
    /// Takes a value in and gives the mean of the last ones. One that is no number makes it so.
    fn push(&mut self, value: f64, settings: &WatchdogSettings) -> f64 {
        if value.is_finite() && self.first.len() < settings.start_steps {
            self.first.push(value.to_bits());
        }
        self.last.push_back(value.to_bits());
        while self.last.len() > settings.window_steps {
            self.last.pop_front();
        }
        mean(self.last.iter())
    }
}

impl fmt::Display for Trip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { figure, value, threshold, n_steps, step, .. } = self;
        write!(
            formatter,
            "Training stopped at rollout {step}: {} ({}) was {} for {n_steps} of them, {} its limit of \
             {}",
            figure.meaning(),
            figure.name(),
            Shown(*value),
            if figure.is_floor() { "below" } else { "above" },
            Shown(*threshold),
        )?;
        if let Some(start) = self.start {
            write!(formatter, " (it began at {})", Shown(start))?;
        }
        write!(formatter, ". {}", figure.advice())
    }
}

/// A number as a person reads it.
struct Shown(f64);

impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.abs() {
            size if size >= 100.0 => write!(formatter, "{:.0}", self.0),
            size if size >= 0.01 || size == 0.0 => write!(formatter, "{:.3}", self.0),
            _ => write!(formatter, "{:.2e}", self.0),
        }
    }
}

fn mean<'a>(bits: impl ExactSizeIterator<Item = &'a u64>) -> f64 {
    let n = bits.len().max(1) as f64;
    bits.map(|&bits| f64::from_bits(bits)).sum::<f64>() / n
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid("watchdog_options", message))
}
