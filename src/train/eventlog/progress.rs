//! The bar on a terminal. Written to stderr, and only when stderr is a terminal: a log file full of
//! redrawn bars helps nobody.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::trainer_log::{Advance, clock};

const TEMPLATE: &str = "{bar:30} {pos}/{len}  {msg}";

/// A bar with loss, tokens a second and the time left.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    loss: Option<f64>,
}

impl Progress {
    /// A bar at `step`; one that draws nothing when `wanted` is false or stderr is no terminal.
    pub fn new(step: u64, total_steps: u64, wanted: bool) -> Self {
        let bar = if wanted && std::io::stderr().is_terminal() {
            ProgressBar::with_draw_target(Some(total_steps), ProgressDrawTarget::stderr())
        } else {
            ProgressBar::hidden()
        };
        // The template is a constant; the default style would do as well.
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_length(total_steps);
        bar.set_position(step);
        Self { bar, loss: None }
    }

    /// Moves the bar. A step without a loss shows the last one.
    pub fn update(&mut self, advance: &Advance, loss: Option<f64>) {
        self.loss = loss.or(self.loss);
        self.bar.set_position(advance.step);
        self.bar.set_message(message(advance, self.loss));
    }

    /// A line above the bar.
    pub fn say(&self, line: &str) {
        self.bar.println(line);
    }

    /// Leaves the bar as it is.
    pub fn finish(&self) {
        self.bar.abandon();
    }
}

fn message(advance: &Advance, loss: Option<f64>) -> String {
    let parts = [
        loss.map(|loss| format!("loss {loss:.4}")),
        advance.tokens_per_second().map(|rate| format!("{rate:.0} tokens/s")),
        advance.remaining().map(|left| format!("{} left", clock(left))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_bar_says_loss_speed_and_time_left() {
        let advance = Advance {
            step: 3,
            total_steps: 9,
            own_steps: 3,
            elapsed: Duration::from_secs(30),
            total_tokens: Some(4_500),
            own_tokens: 4_500,
        };
        assert_eq!(message(&advance, Some(1.23456)), "loss 1.2346  150 tokens/s  0:01:00 left");
        let unknown =
            Advance { total_tokens: None, own_steps: 0, elapsed: Duration::ZERO, ..advance };
        assert_eq!(message(&unknown, None), "");
    }

    #[test]
    fn without_a_terminal_nothing_is_drawn() {
        let progress = Progress::new(0, 9, false);
        assert!(progress.bar.is_hidden());
        assert_eq!((progress.bar.position(), progress.bar.length()), (0, Some(9)));
    }
}
