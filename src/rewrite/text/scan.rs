//! The scanner below [`super::units`]: where each unit starts and ends.

use std::ops::Range;

use super::{UnitKind, fold, is_han, is_invisible};

/// What a file's name ends with.
const EXTENSIONS: &[&str] = &[
    "bat", "bmp", "c", "cfg", "conf", "cpp", "css", "csv", "db", "doc", "docx", "exe", "gif", "go",
    "gz", "h", "html", "ini", "ipynb", "java", "jpeg", "jpg", "js", "json", "jsonl", "key", "log",
    "md", "mov", "mp3", "mp4", "pages", "parquet", "pdf", "php", "png", "ppt", "pptx", "py", "rar",
    "rb", "rs", "rtf", "sh", "sql", "svg", "tar", "toml", "ts", "tsv", "txt", "vue", "wav", "xls",
    "xlsm", "xlsx", "xml", "yaml", "yml", "zip",
];
/// What a host's name ends with, when no scheme announces it.
const DOMAINS: &[&str] =
    &["ai", "cn", "com", "de", "dev", "edu", "gov", "hk", "io", "net", "org", "tw", "uk"];
/// Endings that English glues on with an apostrophe; each is a unit of its own.
const CLITICS: &[&str] = &["d", "ll", "m", "re", "s", "t", "ve"];

/// The units of a text as spans in chars.
pub(super) fn tokens(chars: &[char]) -> Vec<(Range<usize>, UnitKind)> {
    let folded: Vec<char> = chars.iter().copied().map(fold).collect();
    let scanner = Scanner { chars, folded: &folded };
    let mut found = Vec::with_capacity(chars.len());
    let mut start = 0;
    while start < chars.len() {
        let (end, kind) = scanner.token(start);
        if let Some(kind) = kind {
            found.push((start..end, kind));
        }
        start = end;
    }
    found
}

/// Whether a name ends the way a file's does.
pub(super) fn is_file_name(text: &str) -> bool {
    text.rsplit_once('.').is_some_and(|(_, ending)| EXTENSIONS.contains(&ending))
}

/// Whether a code is an address: a URL, a bare host or an e-mail address.
pub(super) fn is_address(text: &str) -> bool {
    text.contains("://")
        || text.starts_with("www.")
        || text.contains('@')
        || text.rsplit_once('.').is_some_and(|(_, ending)| DOMAINS.contains(&ending))
}

struct Scanner<'a> {
    chars: &'a [char],
    folded: &'a [char],
}

impl Scanner<'_> {
    /// The end of what starts at `start`, and its kind; no kind for what is skipped.
    fn token(&self, start: usize) -> (usize, Option<UnitKind>) {
        let first = self.folded[start];
        if first.is_whitespace() || is_invisible(first) {
            return (start + 1, None);
        }
        if is_han(first) {
            return (start + 1, Some(UnitKind::Han));
        }
        if let Some(end) = self.url_end(start) {
            return (end, Some(UnitKind::Code));
        }
        if let Some(end) = self.clitic_end(start) {
            return (end, Some(UnitKind::Word));
        }
        let signed = first == '-' && self.is_digit(start + 1) && !self.is_joined(start);
        if self.is_digit(start) || signed {
            return self.number_or_code(start);
        }
        if self.is_letter(start) || first == '_' {
            return self.word_or_code(start);
        }
        // After a Han name the extension is all that is left of a file's name.
        match self.extension_end(start) {
            Some(end) => (end, Some(UnitKind::Code)),
            None => (start + 1, Some(UnitKind::Other)),
        }
    }

    fn number_or_code(&self, start: usize) -> (usize, Option<UnitKind>) {
        let end = self.number_end(start);
        if self.is_letter(end) || self.at(end) == '_' || self.at(end) == '@' {
            return (self.code_end(end), Some(UnitKind::Code));
        }
        // 2-year-old is one code, 2-3 has ended already.
        if self.at(end) == '-' && self.is_letter(end + 1) {
            return (self.code_end(end + 1), Some(UnitKind::Code));
        }
        if let Some(end) = self.extension_end(end) {
            return (end, Some(UnitKind::Code));
        }
        let percent = matches!(self.at(end), '%' | '\u{2030}');
        (end + usize::from(percent), Some(UnitKind::Number))
    }

    /// Digits with `. : / -` between digits, and commas between groups of three.
    fn number_end(&self, start: usize) -> usize {
        let mut end = start + usize::from(self.folded[start] == '-');
        loop {
            while self.is_digit(end) {
                end += 1;
            }
            let joined = match self.at(end) {
                '.' | ':' | '/' | '-' => self.is_digit(end + 1),
                ',' => (1..=3).all(|offset| self.is_digit(end + offset)) && !self.is_digit(end + 4),
                _ => false,
            };
            if !joined {
                return end;
            }
            end += 1;
        }
    }

    fn word_or_code(&self, start: usize) -> (usize, Option<UnitKind>) {
        let word_end = self.word_end(start);
        let end = self.code_end(start);
        let shape = &self.folded[start..end];
        let has_letter = shape.iter().any(|character| character.is_alphabetic());
        let is_code = shape.iter().any(|&character| character == '_' || character == '@')
            || (has_letter && shape.iter().any(char::is_ascii_digit))
            || shape.contains(&'.')
            || self.is_capital_code(start..end);
        if is_code {
            return (end, Some(UnitKind::Code));
        }
        let short = word_end - start <= 2;
        if short && self.at(word_end) == '+' && self.at(word_end + 1) == '+' {
            return (word_end + 2, Some(UnitKind::Code));
        }
        if short && self.at(word_end) == '#' {
            return (word_end + 1, Some(UnitKind::Code));
        }
        (word_end, Some(UnitKind::Word))
    }

    /// The end of letters with their marks, `o'brien` included and `it's` cut before `'s`.
    fn word_end(&self, start: usize) -> usize {
        let mut end = start;
        while self.is_letter(end) || self.is_mark(end) || (end > start && self.is_hidden(end)) {
            end += 1;
            let inner = self.at(end) == '\'' && self.is_letter(end + 1);
            if inner && self.clitic_end(end).is_none() {
                end += 1;
            }
        }
        end.max(start + 1).min(self.folded.len())
    }

    /// The end of letters and digits joined by `_ - @`, and by dots where a digit, a
    /// host or a file's extension follows.
    fn code_end(&self, start: usize) -> usize {
        let mut end = start;
        let mut is_mail = false;
        loop {
            while self.is_letter(end) || self.is_digit(end) || self.is_mark(end) {
                end += 1;
            }
            let solid = self.is_letter(end + 1) || self.is_digit(end + 1);
            let joined = match self.at(end) {
                '_' => true,
                '-' => solid && end > start,
                '@' => solid && end > start && !is_mail,
                '.' if is_mail => solid,
                '.' => {
                    let version = end > start && self.is_digit(end - 1) && self.is_digit(end + 1);
                    version || self.extension_end(end).is_some() || self.leads_to_mail(end)
                }
                _ => false,
            };
            if !joined {
                return end.max(start + 1).min(self.folded.len());
            }
            is_mail |= self.at(end) == '@';
            end += 1;
        }
    }

    /// Whether the dot at `dot` stands in the name before an `@`.
    fn leads_to_mail(&self, dot: usize) -> bool {
        let rest = self.folded.get(dot + 1..).unwrap_or_default();
        let name = rest.iter().take_while(|character| {
            character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_')
        });
        let length = name.count();
        length > 0 && length < 64 && rest.get(length) == Some(&'@')
    }

    /// The end of `.xlsx` or `.com` when one stands at `dot`.
    fn extension_end(&self, dot: usize) -> Option<usize> {
        if self.at(dot) != '.' {
            return None;
        }
        let rest = self.folded.get(dot + 1..)?;
        let ending: String =
            rest.iter().take(9).take_while(|letter| letter.is_ascii_alphanumeric()).collect();
        let end = dot + 1 + ending.len();
        let known = EXTENSIONS.contains(&ending.as_str()) || DOMAINS.contains(&ending.as_str());
        if !known {
            // www.example.com.cn and archive.tar.gz: one more label may follow.
            return None;
        }
        self.extension_end(end).or(Some(end))
    }

    /// ERR-AUTH: capitals on both sides of each hyphen.
    fn is_capital_code(&self, span: Range<usize>) -> bool {
        let shape = &self.chars[span];
        shape.contains(&'-')
            && shape.split(|&character| character == '-').all(|part| {
                part.len() >= 2 && part.iter().all(|letter| letter.is_ascii_uppercase())
            })
    }

    fn url_end(&self, start: usize) -> Option<usize> {
        let rest = &self.folded[start..];
        let starts = |prefix: &str| {
            rest.len() > prefix.len()
                && prefix.chars().zip(rest).all(|(wanted, &found)| wanted == found)
        };
        if !["http://", "https://", "ftp://", "www."].iter().any(|prefix| starts(prefix)) {
            return None;
        }
        let inside = |character: &&char| {
            character.is_ascii_graphic() && !matches!(character, '"' | '<' | '>' | '`' | '|')
        };
        let length = self.chars[start..].iter().take_while(inside).count();
        let mut end = start + length;
        while end > start + 1
            && matches!(self.folded[end - 1], '.' | ',' | '?' | '!' | ';' | ':' | ')' | ']' | '\'')
        {
            end -= 1;
        }
        (end > start + 4).then_some(end)
    }

    /// The end of `'s` and its like, when one hangs on the word before.
    fn clitic_end(&self, start: usize) -> Option<usize> {
        if self.at(start) != '\'' || start == 0 || !self.is_joined(start) {
            return None;
        }
        let rest = &self.folded[start + 1..];
        let ending: String =
            rest.iter().take(3).take_while(|letter| letter.is_alphabetic()).collect();
        CLITICS.contains(&ending.as_str()).then(|| start + 1 + ending.len())
    }

    /// Whether a Latin letter or a digit stands right before `position`.
    fn is_joined(&self, position: usize) -> bool {
        position > 0 && (self.is_letter(position - 1) || self.is_digit(position - 1))
    }

    fn at(&self, position: usize) -> char {
        self.folded.get(position).copied().unwrap_or('\n')
    }

    fn is_digit(&self, position: usize) -> bool {
        self.at(position).is_ascii_digit()
    }

    fn is_letter(&self, position: usize) -> bool {
        let character = self.at(position);
        character.is_alphabetic() && !is_han(character)
    }

    fn is_hidden(&self, position: usize) -> bool {
        is_invisible(self.at(position)) && self.is_letter(position + 1)
    }

    /// Combining marks, which belong to the letter before them.
    fn is_mark(&self, position: usize) -> bool {
        matches!(self.at(position),
            '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5c7}'
            | '\u{64b}'..='\u{65f}' | '\u{93c}'..='\u{94d}' | '\u{e31}'..='\u{e4e}'
            | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
            | '\u{3099}' | '\u{309a}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}')
    }
}
