//! Markdown as people write it -> Markdown that a CommonMark parser understands.
//!
//! Documentation sites extend Markdown: front matter, MDX imports and components, admonitions,
//! shortcodes. A CommonMark parser would show them as text, so they go here, line by line and
//! outside code. The same pass limits nesting: the parser revisits every open list and quote on
//! each line, which is quadratic when there are 10,000 of them.

/// List and quote marks kept at the start of a line.
const DEEPEST_MARKS: usize = 32;
/// Columns of indentation kept at the start of a line, which bounds lists nested by indentation.
const WIDEST_INDENT: usize = 160;
/// A component's opening tag that spreads over more lines than this is taken for text.
const LONGEST_COMPONENT_LINES: usize = 60;

/// Returns the front matter's title and the rest, cleaned.
pub(super) fn prepare(markdown: &str) -> (Option<String>, String) {
    let (title, body) = front_matter(markdown);
    let mut out = String::with_capacity(body.len());
    let mut fence = None;
    let mut lines = body.lines();
    while let Some(line) = lines.next() {
        let (prefix, content) = tame(line);
        let inside = fence.is_some();
        fence = next_fence(fence, content);
        if inside || fence.is_some() {
            // mdBook's `{{#include …}}` names a file that we do not have.
            if !(inside && is_wrapped(content, "{{#", "}}")) {
                push_line(&mut out, &prefix, content);
            }
        } else if let Some(extra) = component_lines(&prefix, content, lines.clone()) {
            // A blank line in its place, so that what follows is Markdown again and not HTML.
            out.push('\n');
            (0..extra).for_each(|_| _ = lines.next());
        } else {
            push_line(&mut out, &prefix, &clean(line, content));
        }
    }
    (title, out)
}

fn push_line(out: &mut String, prefix: &str, content: &str) {
    out.push_str(prefix);
    out.push_str(content);
    out.push('\n');
}

/// Splits off `---` or `+++` front matter and takes the title from it.
fn front_matter(markdown: &str) -> (Option<String>, &str) {
    let Some((first, rest)) = markdown.split_once('\n') else { return (None, markdown) };
    let fence = first.trim_end();
    if fence != "---" && fence != "+++" {
        return (None, markdown);
    }
    let mut title = None;
    let mut length = 0;
    for line in rest.split_inclusive('\n') {
        length += line.len();
        let text = line.trim_end();
        if text == fence || (fence == "---" && text == "...") {
            return (title, rest.get(length..).unwrap_or_default());
        }
        title = title.or_else(|| title_value(text, if fence == "---" { ':' } else { '=' }));
    }
    (None, markdown)
}

/// The value of `title: …` or `title = …`, without quotes.
fn title_value(line: &str, separator: char) -> Option<String> {
    let (key, value) = line.split_once(separator)?;
    let value = value.trim();
    let quoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote)));
    let value = quoted.unwrap_or(value).trim();
    (key.trim_end() == "title" && !value.is_empty()).then(|| value.replace("\\\"", "\""))
}

/// Splits a line into its quote, list and indentation marks, limited, and its content.
fn tame(line: &str) -> (String, &str) {
    let mut prefix = String::new();
    let mut rest = line;
    let mut marks = 0;
    let mut columns = 0;
    loop {
        let blank = rest.len() - rest.trim_start_matches([' ', '\t']).len();
        for c in rest.chars().take(blank) {
            columns += if c == '\t' { 4 } else { 1 };
            if columns <= WIDEST_INDENT {
                prefix.push(c);
            }
        }
        rest = rest.get(blank..).unwrap_or_default();
        let length = mark_length(rest);
        if length == 0 {
            return (prefix, rest);
        }
        marks += 1;
        if marks <= DEEPEST_MARKS {
            prefix.push_str(rest.get(..length).unwrap_or_default());
        }
        rest = rest.get(length..).unwrap_or_default();
    }
}

/// Bytes of the `>`, `-`, `+`, `*` or `12.` that the text starts with; 0 when there is none.
fn mark_length(text: &str) -> usize {
    if text.starts_with('>') {
        return 1;
    }
    let digits = text.bytes().take(10).take_while(u8::is_ascii_digit).count();
    let mark = text.as_bytes().get(digits).copied().unwrap_or_default();
    let is_mark = match digits {
        0 => matches!(mark, b'-' | b'+' | b'*'),
        1..=9 => matches!(mark, b'.' | b')'),
        _ => false,
    };
    let ends = text.as_bytes().get(digits + 1).is_none_or(|byte| matches!(byte, b' ' | b'\t'));
    if is_mark && ends { digits + 1 } else { 0 }
}

/// The code fence that is open after this line: its character and length.
fn next_fence(open: Option<(u8, usize)>, content: &str) -> Option<(u8, usize)> {
    let sign = content.bytes().next().unwrap_or_default();
    let length = content.bytes().take_while(|byte| *byte == sign).count();
    let rest = content.get(length..).unwrap_or_default();
    let is_fence = matches!(sign, b'`' | b'~') && length >= 3;
    match open {
        Some((mark, least)) if is_fence && mark == sign && length >= least => {
            if rest.trim().is_empty() { None } else { open }
        }
        None if is_fence && !(sign == b'`' && rest.contains('`')) => Some((sign, length)),
        _ => open,
    }
}

/// When an MDX statement or a component's opening tag starts here: how many more lines it has.
fn component_lines<'a>(
    prefix: &str,
    content: &'a str,
    following: impl Iterator<Item = &'a str>,
) -> Option<usize> {
    let ends_quoted = content.trim_end_matches([';', ' ']).ends_with(['\'', '"']);
    let opens = content.starts_with("import {") && !content.contains('}');
    let imports = content.starts_with("import ") && ends_quoted || opens;
    let exports = ["export const ", "export let ", "export default function", "export default {"];
    let exports = exports.iter().any(|start| content.starts_with(start));
    if prefix.is_empty() && (imports || exports) {
        let open = content.matches('{').count() > content.matches('}').count();
        let until_blank = following.take_while(|line| !line.trim().is_empty()).count();
        return Some(if open { until_blank } else { 0 });
    }
    let name = content.trim_start_matches(['<', '/']);
    if !(content.starts_with('<') && name.starts_with(|c: char| c.is_ascii_uppercase())) {
        return None;
    }
    let mut depth = 0_i64;
    let lines = std::iter::once(content).chain(following).take(LONGEST_COMPONENT_LINES);
    for (extra, line) in lines.enumerate() {
        let is_next_tag = extra > 0 && depth == 0 && line.trim_start().starts_with('<');
        if is_next_tag || line.trim().is_empty() {
            return None;
        }
        for (at, byte) in line.bytes().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                b'>' if depth == 0 => {
                    // With words after it on the line, the parser drops the tag alone.
                    let alone = line.get(at + 1..).is_some_and(|rest| rest.trim().is_empty());
                    return (alone || extra > 0).then_some(extra);
                }
                _ => {}
            }
        }
    }
    None
}

/// A line of prose without the marks of site generators; empty when nothing else was on it.
fn clean(line: &str, content: &str) -> String {
    let text = content.trim_end();
    if let Some(rest) = text.strip_prefix(":::") {
        let title = admonition_title(rest.trim_start_matches(':').trim());
        // A paragraph of its own, not the start of the next one.
        return if title.is_empty() { String::new() } else { format!("{title}\n") };
    }
    let directive = is_wrapped(text, "{{", "}}") || is_wrapped(text, "{%", "%}");
    if directive && !text.starts_with("{{{") || text.eq_ignore_ascii_case("[toc]") {
        return String::new();
    }
    let mut cleaned = content.to_owned();
    for (open, close) in [("{{<", ">}}"), ("{{%", "%}}"), ("{/*", "*/}")] {
        cleaned = replace_between(&cleaned, open, close, |_| String::new());
    }
    cleaned = replace_between(&cleaned, "{{{", "}}}", |name| {
        name.trim().trim_start_matches('.').to_owned()
    });
    if line.starts_with('#') { without_anchor(&cleaned).to_owned() } else { cleaned }
}

/// `note`, `note 注意`, `note[注意]` -> the title, if the author gave one.
fn admonition_title(rest: &str) -> &str {
    let is_kind = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let title = rest.trim_start_matches(is_kind).trim();
    title.strip_prefix('[').and_then(|title| title.strip_suffix(']')).unwrap_or(title)
}

fn is_wrapped(text: &str, open: &str, close: &str) -> bool {
    let text = text.trim();
    text.starts_with(open) && text.ends_with(close) && text.matches(close).count() == 1
}

/// Replaces each `open … close` of a line by what `replace` makes of the text between.
fn replace_between(
    line: &str,
    open: &str,
    close: &str,
    replace: impl Fn(&str) -> String,
) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(open) {
        let Some((inner, following)) = after.split_once(close) else { break };
        out.push_str(before);
        out.push_str(&replace(inner));
        rest = following;
    }
    out.push_str(rest);
    out
}

/// A heading line without its `{#anchor}`; other braces (`/users/{id}`) are text.
fn without_anchor(line: &str) -> &str {
    let text = line.trim_end();
    let anchored = text.strip_suffix('}').and_then(|inner| inner.rsplit_once("{#"));
    match anchored {
        Some((title, anchor)) if !anchor.contains(['{', '}', ' ']) => title.trim_end(),
        _ => text,
    }
}
