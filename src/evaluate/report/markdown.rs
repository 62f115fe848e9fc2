//! The sections as Markdown: tables in pipes, texts as quoted lines. No charts.

use super::sections::{Section, Table, Turn};

/// The whole text.
pub fn render(title: &str, verdict: Option<&str>, sections: &[Section]) -> String {
    let mut parts = vec![format!("# {}", plain(title))];
    parts.extend(verdict.map(|words| format!("**{}**", plain(words))));
    for section in sections {
        parts.push(format!("## {}", plain(&section.heading)));
        parts.extend(section.paragraphs.iter().map(|paragraph| plain(paragraph)));
        parts.extend(section.tables.iter().map(table));
        parts.extend(section.turns.iter().map(turn));
    }
    parts.join("\n\n") + "\n"
}

fn table(table: &Table) -> String {
    let row = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| plain(cell)).collect();
        format!("| {} |", cells.join(" | "))
    };
    // Names to the left, figures to the right.
    let rules = (0..table.columns.len()).map(|idx| if idx == 0 { ":--" } else { "--:" });
    let rules = format!("|{}|", rules.collect::<Vec<_>>().join("|"));
    let lines = [row(&table.columns), rules].into_iter();
    lines.chain(table.rows.iter().map(|cells| row(cells))).collect::<Vec<_>>().join("\n")
}

fn turn(turn: &Turn) -> String {
    let texts = turn.texts.iter().map(|(name, text)| format!("> {name}: {}", plain(text)));
    let texts: Vec<String> = texts.collect();
    format!("**{}** {}\n\n{}", plain(&turn.name), plain(&turn.figures), texts.join("\n>\n"))
}

/// One line that is nothing but text: what Markdown or HTML would read as theirs is escaped.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    let mut in_word = false;
    while let Some(letter) = letters.next() {
        let goes_on = letters.peek().is_some_and(|next| next.is_alphanumeric());
        match letter {
            '\n' | '\r' => plain.push(' '),
            '<' => plain.push_str("&lt;"),
            '>' => plain.push_str("&gt;"),
            '&' => plain.push_str("&amp;"),
            // Within a word it is no emphasis.
            '_' if in_word && goes_on => plain.push(letter),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '!' => plain.extend(['\\', letter]),
            _ => plain.push(letter),
        }
        in_word = letter.is_alphanumeric();
    }
    plain
}
