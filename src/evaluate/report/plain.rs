//! Tables for a terminal: columns that line up, Chinese characters two wide.

use super::sections::{Section, Table};

/// Headings, paragraphs and tables; charts and turns need more room than a terminal has.
pub fn render(sections: &[Section]) -> String {
    let mut parts = Vec::new();
    for section in sections.iter().filter(|section| !section.tables.is_empty()) {
        parts.push(section.heading.clone());
        parts.extend(section.paragraphs.iter().cloned());
        parts.extend(section.tables.iter().map(table));
    }
    let parts: Vec<String> = parts.iter().map(|part| visible(part)).collect();
    parts.join("\n\n") + "\n"
}

fn table(table: &Table) -> String {
    let rows: Vec<&Vec<String>> = [&table.columns].into_iter().chain(&table.rows).collect();
    let widest = |idx: usize| {
        let cells = rows.iter().filter_map(|row| row.get(idx));
        cells.map(|cell| width(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..table.columns.len()).map(widest).collect();
    let line = |row: &&Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(idx, (cell, wide))| {
            let room = " ".repeat(wide - width(cell));
            // Names to the left, figures to the right.
            if idx == 0 { format!("{cell}{room}") } else { format!("{room}{cell}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Columns that the text takes: two a letter of the wide scripts (Unicode's East Asian Width).
fn width(text: &str) -> usize {
    let is_wide = |letter: char| {
        matches!(
            u32::from(letter),
            0x1100..=0x115f
                | 0x2e80..=0xa4cf
                | 0xac00..=0xd7a3
                | 0xf900..=0xfaff
                | 0xfe30..=0xfe4f
                | 0xff00..=0xff60
                | 0x1f300..=0x1faff
                | 0x2_0000..
        )
    };
    text.chars().map(|letter| if is_wide(letter) { 2 } else { 1 }).sum()
}

/// Without the control characters that would steer the terminal.
fn visible(text: &str) -> String {
    text.chars().filter(|letter| *letter == '\n' || !letter.is_control()).collect()
}
