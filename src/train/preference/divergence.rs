//! The score of a log-ratio under an f-divergence.

use candle_core::{Result, Tensor};

use super::options::{FDivergence, PreferenceOptions};
use super::pointwise::{capped_exp, log_sigmoid};

/// s(log π − log π_ref): f′ of the divergence at the ratio, without its constants, which cancel
/// between the answers of a pair (Wang et al. 2023, arXiv 2309.16240, Table 1).
pub fn score(log_ratio: &Tensor, options: &PreferenceOptions) -> Result<Tensor> {
    match options.f_divergence {
        FDivergence::ReverseKl => Ok(log_ratio.clone()),
        FDivergence::ForwardKl => log_ratio.neg()?.exp()?.neg(),
        FDivergence::JsDivergence => log_sigmoid(log_ratio),
        FDivergence::AlphaDivergence => alpha_score(log_ratio, options.alpha_divergence - 1.0),
    }
}

/// e^(κ·x) / κ; as κ goes to 0 its differences go to those of x.
fn alpha_score(log_ratio: &Tensor, kappa: f64) -> Result<Tensor> {
    if kappa.abs() < 1e-6 {
        return Ok(log_ratio.clone());
    }
    capped_exp(&(log_ratio * kappa)?)? / kappa
}
