//! Numbers and names as they are shown.

use crate::evaluate::measure;
use crate::evaluate::significance::Estimate;

/// The systems that every suite measures, in the order in which they are shown.
const ORDER: [&str; 4] = ["raw", "always", "gated", "gold"];

/// A number of a measure: shares in hundredths.
pub fn value(metric: &str, value: f64) -> String {
    fixed(value * measure::factor(metric))
}

/// A mean and its interval.
pub fn interval(metric: &str, estimate: &Estimate) -> String {
    let shown = |number| value(metric, number);
    format!("{} ({} to {})", shown(estimate.mean), shown(estimate.low), shown(estimate.high))
}

/// A difference and its interval, each with its sign.
pub fn signed_interval(metric: &str, estimate: &Estimate) -> String {
    let shown = |number: f64| signed(number * measure::factor(metric));
    format!("{} ({} to {})", shown(estimate.mean), shown(estimate.low), shown(estimate.high))
}

pub fn signed(value: f64) -> String {
    // Nothing is no loss.
    if value.abs() < 0.005 { "0.00".to_owned() } else { format!("{value:+.2}") }
}

/// A share in hundredths.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

pub fn milliseconds(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.1}") }
}

pub fn p_value(p_value: f64) -> String {
    if p_value < 0.001 { "< 0.001".to_owned() } else { format!("{p_value:.3}") }
}

/// Two digits after the point, without a sign on nothing.
pub fn fixed(value: f64) -> String {
    let value = if value.abs() < 0.005 { 0.0 } else { value };
    format!("{value:.2}")
}

/// The known systems first, then the others by their names.
pub fn ordered(systems: impl Iterator<Item = String>) -> Vec<String> {
    let mut systems: Vec<String> = systems.collect();
    let place = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
    systems.sort_by(|one, other| (place(one), one).cmp(&(place(other), other)));
    systems.dedup();
    systems
}
