//! Charts as SVG text. They are 360 units wide, so that a phone shows them at their own size, and
//! coloured by classes of the page, which knows dark from light.

use std::fmt::Write;

const WIDTH: f64 = 360.0;
const LABELS: f64 = 124.0;
const RIGHT: f64 = 304.0;
const ROW: f64 = 22.0;
const TOP: f64 = 6.0;
/// Latin letters that fit the labels; a Chinese character takes two.
const MAX_LETTERS: usize = 17;

/// A bar with its interval.
#[derive(Debug, Clone)]
pub struct Bar {
    pub label: String,
    pub value: f64,
    /// None for a figure without an interval.
    pub interval: Option<(f64, f64)>,
    /// What stands at the end.
    pub shown: String,
    /// The class of its colour.
    pub class: &'static str,
}

/// A difference with its interval, around 0.
#[derive(Debug, Clone)]
pub struct Dot {
    pub label: String,
    pub mean: f64,
    pub low: f64,
    pub high: f64,
    pub shown: String,
}

/// Wins, ties and losses.
#[derive(Debug, Clone)]
pub struct Parts {
    pub label: String,
    pub counts: [usize; 3],
}

/// Horizontal bars from 0, with whiskers.
pub fn bars(title: &str, bars: &[Bar]) -> String {
    let ends = bars.iter().map(|bar| bar.interval.map_or(bar.value, |(_, high)| high));
    let most = ends.fold(0.0_f64, f64::max).max(f64::MIN_POSITIVE);
    let x = |value: f64| LABELS + (value / most).clamp(0.0, 1.0) * (RIGHT - LABELS);
    let mut svg = open(title, bars.len());
    for (idx, bar) in bars.iter().enumerate() {
        let y = row_top(idx);
        label(&mut svg, y, &bar.label, &bar.shown);
        let (width, class) = (x(bar.value) - LABELS, bar.class);
        put(
            &mut svg,
            format_args!(
                r#"<rect class="{class}" x="{LABELS}" y="{:.1}" width="{width:.1}" height="14" rx="2"/>"#,
                y + 4.0
            ),
        );
        if let Some((low, high)) = bar.interval {
            whisker(&mut svg, y + 11.0, x(low), x(high));
        }
    }
    svg + "</svg>"
}

/// Differences around a line at 0: green when the interval lies above it, red when below. `sign`
/// turns this round for measures that are better when they are lower.
pub fn dots(title: &str, sign: f64, dots: &[Dot]) -> String {
    let most = dots.iter().flat_map(|dot| [dot.low.abs(), dot.high.abs()]).fold(1e-9, f64::max);
    let middle = (LABELS + RIGHT) / 2.0;
    let x = |value: f64| middle + value / most * (RIGHT - LABELS - 8.0) / 2.0;
    let mut svg = open(title, dots.len());
    let bottom = row_top(dots.len());
    put(
        &mut svg,
        format_args!(
            r#"<line class="zero" x1="{middle}" x2="{middle}" y1="{TOP}" y2="{bottom:.1}"/>"#
        ),
    );
    for (idx, dot) in dots.iter().enumerate() {
        let y = row_top(idx) + 11.0;
        label(&mut svg, row_top(idx), &dot.label, &dot.shown);
        let (worst, best) = (dot.low * sign, dot.high * sign);
        let class = match (worst.min(best) > 0.0, worst.max(best) < 0.0) {
            (true, _) => "win",
            (_, true) => "loss",
            _ => "tie",
        };
        whisker(&mut svg, y, x(dot.low), x(dot.high));
        put(
            &mut svg,
            format_args!(r#"<circle class="{class}" cx="{:.1}" cy="{y:.1}" r="5"/>"#, x(dot.mean)),
        );
    }
    svg + "</svg>"
}

/// Bars of wins, ties and losses, each as long as all of its turns.
pub fn outcomes(title: &str, rows: &[Parts]) -> String {
    let mut svg = open(title, rows.len());
    for (idx, row) in rows.iter().enumerate() {
        let y = row_top(idx);
        let n: usize = row.counts.iter().sum();
        label(&mut svg, y, &row.label, &format!("n {n}"));
        let mut x = LABELS;
        for (class, count) in ["win", "tie", "loss"].into_iter().zip(row.counts) {
            let width = count as f64 / n.max(1) as f64 * (RIGHT - LABELS);
            put(
                &mut svg,
                format_args!(
                    r#"<rect class="{class}" x="{x:.1}" y="{:.1}" width="{width:.1}" height="16"><title>{class}: {count}</title></rect>"#,
                    y + 3.0
                ),
            );
            if width > 22.0 {
                let middle = x + width / 2.0;
                put(
                    &mut svg,
                    format_args!(
                        r#"<text class="inside on-{class}" x="{middle:.1}" y="{:.1}">{count}</text>"#,
                        y + 15.0
                    ),
                );
            }
            x += width;
        }
    }
    svg + "</svg>"
}

/// Text that HTML and SVG take for nothing but text.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

fn open(title: &str, n_rows: usize) -> String {
    let (title, height) = (escaped(title), row_top(n_rows) + TOP);
    format!(
        r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}"><title>{title}</title>"#
    )
}

fn row_top(idx: usize) -> f64 {
    TOP + idx as f64 * ROW
}

/// The label at the left, in full for who points at it, and the figure at the right.
fn label(svg: &mut String, y: f64, label: &str, shown: &str) {
    let (full, short, shown) = (escaped(label), escaped(&shortened(label)), escaped(shown));
    let (y, left, right) = (y + 15.0, LABELS - 6.0, WIDTH - 2.0);
    put(
        svg,
        format_args!(
            r#"<text class="label" x="{left}" y="{y:.1}">{short}<title>{full}</title></text><text class="figure" x="{right}" y="{y:.1}">{shown}</text>"#
        ),
    );
}

fn whisker(svg: &mut String, y: f64, low: f64, high: f64) {
    let (top, bottom) = (y - 4.0, y + 4.0);
    put(
        svg,
        format_args!(
            r#"<path class="whisker" d="M{low:.1} {top:.1}V{bottom:.1}M{low:.1} {y:.1}H{high:.1}M{high:.1} {top:.1}V{bottom:.1}"/>"#
        ),
    );
}

fn shortened(label: &str) -> String {
    let width = |letter: char| if letter.is_ascii() { 1 } else { 2 };
    if label.chars().map(width).sum::<usize>() <= MAX_LETTERS {
        return label.to_owned();
    }
    let mut n_letters = 0;
    let fits = label.chars().take_while(|&letter| {
        n_letters += width(letter);
        n_letters < MAX_LETTERS
    });
    fits.chain(['…']).collect()
}

fn put(svg: &mut String, part: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = svg.write_fmt(part);
}
