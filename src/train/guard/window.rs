//! Statistics over the last good values.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// A standard deviation below this share of the mean counts as this much: where values hardly
/// change at all, a harmless change would be many deviations.
const LEAST_RELATIVE_DEVIATION: f64 = 0.01;
/// The same for values about 0.
const LEAST_DEVIATION: f64 = 1e-6;

/// The last finite values. Serialised by their bits, as decimal JSON may lose the last one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<u64>", into = "Vec<u64>")]
pub(super) struct Window {
    values: VecDeque<f64>,
}

impl Window {
    /// Takes in a value, unless it is not finite, and forgets the oldest beyond `max_len`.
    pub(super) fn push(&mut self, value: f64, max_len: usize) {
        if value.is_finite() {
            self.values.push_back(value);
        }
        while self.values.len() > max_len {
            self.values.pop_front();
        }
    }

    /// How many standard deviations `value` lies above the mean; none before there are `least`
    /// values, and at least 2.
    pub(super) fn deviations(&self, value: f64, least: usize) -> Option<f64> {
        let n = self.values.len();
        if n < least.max(2) {
            return None;
        }
        let mean = self.values.iter().sum::<f64>() / n as f64;
        let squares: f64 = self.values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (n - 1) as f64).sqrt();
        let least = (LEAST_RELATIVE_DEVIATION * mean.abs()).max(LEAST_DEVIATION);
        Some((value - mean) / deviation.max(least))
    }
}

impl From<Vec<u64>> for Window {
    fn from(bits: Vec<u64>) -> Self {
        let values = bits.into_iter().map(f64::from_bits).filter(|value| value.is_finite());
        Self { values: values.collect() }
    }
}

impl From<Window> for Vec<u64> {
    fn from(window: Window) -> Self {
        window.values.into_iter().map(f64::to_bits).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_the_last_finite_values_only() {
        let mut window = Window::default();
        for value in [9.0, f64::NAN, 1.0, f64::INFINITY, 3.0] {
            window.push(value, 2);
        }
        assert_eq!(window.values, [1.0, 3.0]);
        assert_eq!(window.deviations(4.0, 3), None);
        // Mean 2, and √2 from it.
        assert!((window.deviations(4.0, 2).unwrap() - 2f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn values_that_hardly_change_do_not_make_a_harmless_change_a_leap() {
        let mut window = Window::default();
        (0..64).for_each(|_| window.push(2.0, 128));
        assert_eq!(window.deviations(2.1, 64).map(f64::round), Some(5.0));
        assert_eq!(window.deviations(4.0, 64), Some(100.0));
    }
}
