//! A circuit breaker (Nygard 2007): a server that has failed several times in a row is left alone
//! for a while; then one request tries it, and only its success lets the others through again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Failures in a row after which the server is left alone.
const MAX_FAILURES: u32 = 5;
/// For how long.
const PAUSE: Duration = Duration::from_secs(5);
/// What an answer takes, before the first one was seen.
const FIRST_TYPICAL: Duration = Duration::from_millis(100);

/// Counts what becomes of attempts.
pub struct Breaker {
    state: Mutex<State>,
}

struct State {
    n_failures: u32,
    paused_until: Option<Instant>,
    /// Whether an attempt after the pause is under way.
    is_probing: bool,
    /// What a good answer takes, a moving mean.
    typical: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: Mutex::new(State::new()) }
    }
}

impl Breaker {
    /// Lets an attempt with this deadline through, or not. One that is dropped behind its deadline
    /// counts as failed; one that is dropped before was given up by its caller.
    pub fn attempt(&self, deadline: Instant) -> Option<Attempt<'_>> {
        let started = Instant::now();
        let is_probe = self.state().admit(started)?;
        Some(Attempt { breaker: self, started, deadline, is_probe, is_counted: false })
    }

    /// A panic while the lock was held leaves plain numbers behind, which stay usable.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new() -> Self {
        Self { n_failures: 0, paused_until: None, is_probing: false, typical: FIRST_TYPICAL }
    }

    /// None when the server is to be left alone, else whether this attempt is the one that tries.
    fn admit(&mut self, now: Instant) -> Option<bool> {
        match self.paused_until {
            None => Some(false),
            Some(until) if now < until || self.is_probing => None,
            Some(_) => {
                self.is_probing = true;
                Some(true)
            }
        }
    }

    fn succeed(&mut self, took: Duration) {
        if self.paused_until.is_some() {
            tracing::info!("the rewriter's server answers again");
        }
        *self = Self { typical: (self.typical * 3 + took) / 4, ..Self::new() };
    }

    fn fail(&mut self, now: Instant) {
        self.n_failures = self.n_failures.saturating_add(1);
        self.is_probing = false;
        if self.n_failures >= MAX_FAILURES {
            if self.paused_until.is_none() {
                let (n_failures, pause) = (self.n_failures, PAUSE.as_secs());
                tracing::warn!(n_failures, "the rewriter's server is left alone for {pause} s");
            }
            self.paused_until = Some(now + PAUSE);
        }
    }

    /// Whether a timeout after this time speaks against the server: a caller that gives it no
    /// time must not take it away from the others.
    fn is_fair(&self, allowed: Duration) -> bool {
        allowed >= self.typical * 2
    }
}

/// One request to the server; say what became of it.
pub struct Attempt<'a> {
    breaker: &'a Breaker,
    started: Instant,
    deadline: Instant,
    is_probe: bool,
    is_counted: bool,
}

impl Attempt<'_> {
    pub fn succeeded(mut self) {
        self.is_counted = true;
        self.breaker.state().succeed(self.started.elapsed());
    }

    pub fn failed(mut self) {
        self.is_counted = true;
        self.breaker.state().fail(Instant::now());
    }

    /// It says nothing about the server.
    pub fn pardoned(mut self) {
        self.pardon();
    }

    fn pardon(&mut self) {
        self.is_counted = true;
        if self.is_probe {
            self.breaker.state().is_probing = false;
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_counted {
            return;
        }
        let now = Instant::now();
        let allowed = self.deadline.saturating_duration_since(self.started);
        if now >= self.deadline && self.breaker.state().is_fair(allowed) {
            self.breaker.state().fail(now);
        } else {
            self.pardon();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paused(now: Instant) -> State {
        let mut state = State::new();
        (0..MAX_FAILURES).for_each(|_| state.fail(now));
        state
    }

    #[test]
    fn failures_in_a_row_pause_and_one_attempt_tries_again() {
        let now = Instant::now();
        let mut state = State::new();
        for _ in 1..MAX_FAILURES {
            state.fail(now);
        }
        assert_eq!(state.admit(now), Some(false), "one more may fail");
        state.succeed(Duration::from_millis(100));
        state.fail(now);
        assert_eq!(state.admit(now), Some(false), "a success starts the count anew");

        let mut state = paused(now);
        assert_eq!(state.admit(now), None);
        assert_eq!(state.admit(now + PAUSE), Some(true));
        assert_eq!(state.admit(now + PAUSE), None, "one tries at a time");
        state.fail(now + PAUSE);
        assert_eq!(state.admit(now + PAUSE), None);
        assert_eq!(state.admit(now + 2 * PAUSE), Some(true));
        state.succeed(Duration::from_millis(100));
        assert_eq!(state.admit(now + 2 * PAUSE), Some(false));
    }

    #[test]
    fn impatient_callers_do_not_pause_a_slow_server() {
        let breaker = Breaker::default();
        let at_once = Instant::now();
        for _ in 0..2 * MAX_FAILURES {
            drop(breaker.attempt(at_once).unwrap());
        }
        breaker.state().succeed(Duration::from_secs(2));
        assert!(!breaker.state().is_fair(Duration::from_millis(400)));
        assert!(breaker.state().is_fair(Duration::from_secs(2)));
    }

    #[test]
    fn an_attempt_past_its_deadline_fails_and_one_given_up_does_not() {
        let breaker = Breaker::default();
        for _ in 0..2 * MAX_FAILURES {
            drop(breaker.attempt(Instant::now() + Duration::from_secs(60)).unwrap());
        }
        for _ in 0..MAX_FAILURES {
            let mut attempt = breaker.attempt(Instant::now()).unwrap();
            attempt.started -= Duration::from_secs(1);
        }
        assert!(breaker.attempt(Instant::now()).is_none());
    }
}
