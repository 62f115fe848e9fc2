//! The exact sign test.

/// Two-sided: twice the chance that a fair coin falls as unevenly, at most 1 (Dixon and Mood
/// 1946). 1 for no turns.
pub fn sign_p_value(n_win: usize, n_loss: usize) -> f64 {
    let (n, fewer) = ((n_win + n_loss) as f64, n_win.min(n_loss));
    // Logarithms, since 2⁻ⁿ is 0 in f64 beyond a thousand turns.
    let mut log_term = n * 0.5_f64.ln();
    let mut tail = log_term.exp();
    for k in 1..=fewer {
        let k = k as f64;
        log_term += ((n - k + 1.0) / k).ln();
        tail += log_term.exp();
    }
    (2.0 * tail).min(1.0)
}
