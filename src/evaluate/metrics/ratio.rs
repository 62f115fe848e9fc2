//! A share with the counts behind it.

use std::iter::Sum;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// `part` of `whole`. Ratios add up by their counts, so that a sum weighs every count the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ratio {
    pub part: u64,
    pub whole: u64,
}

impl Ratio {
    pub fn new(part: u64, whole: u64) -> Self {
        Self { part, whole }
    }

    /// One case that counts, of which `is_part` says whether it is one of those asked for.
    pub fn one(is_part: bool) -> Self {
        Self { part: u64::from(is_part), whole: 1 }
    }

    /// From 0 to 1; `None` of nothing.
    pub fn value(self) -> Option<f64> {
        (self.whole > 0).then(|| self.part as f64 / self.whole as f64)
    }
}

impl AddAssign for Ratio {
    fn add_assign(&mut self, other: Self) {
        self.part += other.part;
        self.whole += other.whole;
    }
}

impl Sum for Ratio {
    fn sum<I: Iterator<Item = Self>>(ratios: I) -> Self {
        ratios.fold(Self::default(), |mut sum, ratio| {
            sum += ratio;
            sum
        })
    }
}
