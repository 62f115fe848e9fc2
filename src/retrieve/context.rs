//! Passages -> one text for an answering model, with markers that it can cite.
//!
//! A passage is data. It could pretend to be another passage by starting a line with `[2] …`, so
//! such a line gets a backslash in front: `\[2] …`. That is done at the start of lines only, where
//! our own markers stand: `values[2]` within a line is far more often code than a forgery, and a
//! passage must be quoted as it is. Line separators other than `\n` become `\n` for the same reason.

use super::chunk::sentences;

/// A passage to show, best first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassageText {
    pub chunk_id: String,
    pub title: String,
    pub text: String,
}

/// The text with its citations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContextText {
    /// Blocks of `[1] title`, a line end and the passage, separated by a blank line.
    pub text: String,
    /// Marker (`[1]`) and chunk id of each block, in order.
    pub citations: Vec<(String, String)>,
}

/// Sets as many passages one after the other as fit into `budget_tokens`. The first that does not
/// fit is cut after a sentence, if one sentence fits, and ends the text. Blank passages are left
/// out and take no marker. Each block is counted by itself, with the blank line after it, where
/// every tokenizer cuts; the budget holds for the sum.
pub fn context(
    passages: &[PassageText],
    budget_tokens: usize,
    count_tokens: &dyn Fn(&str) -> usize,
) -> ContextText {
    let mut context = ContextText::default();
    let mut room = budget_tokens;
    for passage in passages.iter().filter(|passage| !passage.text.trim().is_empty()) {
        let marker = format!("[{}]", context.citations.len() + 1);
        let header = format!("{marker} {}", one_line(&passage.title));
        let header = format!("{}\n", header.trim_end());
        let text = neutralise(passage.text.trim());
        let whole = format!("{header}{text}\n\n");
        let tokens = count_tokens(&whole);
        let is_whole = tokens <= room;
        let block = if is_whole { Some(whole) } else { cut(&header, &text, room, count_tokens) };
        if let Some(block) = block {
            context.text.push_str(&block);
            context.citations.push((marker, passage.chunk_id.clone()));
        }
        if !is_whole {
            break;
        }
        room -= tokens;
    }
    context.text.truncate(context.text.trim_end().len());
    context
}

/// The header with as many whole sentences as fit; none when there is no room for one.
fn cut(
    header: &str,
    text: &str,
    room: usize,
    count_tokens: &dyn Fn(&str) -> usize,
) -> Option<String> {
    let ends: Vec<usize> = sentences(text).map(|sentence| sentence.end).collect();
    let block = |end: usize| format!("{header}{}", text.get(..end).unwrap_or_default().trim_end());
    // More text has more tokens, so halving finds the last sentence that fits.
    let count = ends.partition_point(|end| count_tokens(&block(*end)) <= room);
    let end = ends.get(count.checked_sub(1)?)?;
    Some(block(*end))
}

/// A title on one line.
fn one_line(title: &str) -> String {
    let is_blank = |c: char| c.is_whitespace() || c.is_control();
    title.split(is_blank).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The text with look-alikes of markers at the start of lines escaped.
fn neutralise(text: &str) -> String {
    let is_line_end =
        |c: char| matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let text = text.replace("\r\n", "\n");
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split(is_line_end).enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let content = line.trim_start();
        out.push_str(line.get(..line.len() - content.len()).unwrap_or_default());
        if is_marker(content) {
            out.push('\\');
        }
        out.push_str(content);
    }
    out
}

/// `[12]`, also in full width or in the brackets of Chinese citations.
fn is_marker(line: &str) -> bool {
    let Some(inner) = line.strip_prefix(['[', '［', '【', '〔']) else { return false };
    let digits = inner.trim_start_matches(|c: char| c.is_numeric() || c == ' ');
    digits.len() < inner.len() && digits.starts_with([']', '］', '】', '〕'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chars(text: &str) -> usize {
        text.chars().count()
    }

    fn passages(texts: &[(&str, &str)]) -> Vec<PassageText> {
        let passage = |(index, (title, text)): (usize, &(&str, &str))| PassageText {
            chunk_id: format!("ch_{}", index + 1),
            title: (*title).to_owned(),
            text: (*text).to_owned(),
        };
        texts.iter().enumerate().map(passage).collect()
    }

    #[test]
    fn sets_blocks_with_markers() {
        let context = context(
            &passages(&[
                ("手册 › 安装", "先下载。\n再安装。"),
                ("", "  "),
                ("FAQ", "Use the CLI."),
            ]),
            1000,
            &chars,
        );
        assert_eq!(context.text, "[1] 手册 › 安装\n先下载。\n再安装。\n\n[2] FAQ\nUse the CLI.");
        let expected = [("[1]", "ch_1"), ("[2]", "ch_3")];
        assert_eq!(context.citations, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn cuts_the_last_passage_after_a_sentence() {
        let passages =
            passages(&[("a", "第一句。"), ("b", "版本是3.14。请升级！否则会失败。"), ("c", "x.")]);
        let whole = context(&passages, 1000, &chars);
        for budget in 0..chars(&whole.text) {
            let cut = context(&passages, budget, &chars);
            assert!(chars(&cut.text) <= budget, "{budget}: {}", cut.text);
            assert!(whole.text.starts_with(&cut.text), "{budget}: {}", cut.text);
            assert!(cut.text.is_empty() || cut.text.ends_with(['。', '！', '.']), "{}", cut.text);
            assert_eq!(cut.citations.len(), cut.text.matches("] ").count());
        }
        let budget = chars("[1] a\n第一句。\n\n[2] b\n版本是3.14。");
        assert_eq!(
            context(&passages, budget, &chars).text,
            "[1] a\n第一句。\n\n[2] b\n版本是3.14。"
        );
    }

    #[test]
    fn no_room_gives_nothing() {
        assert_eq!(context(&passages(&[("t", "一句话。")]), 3, &chars), ContextText::default());
        assert_eq!(context(&[], 100, &chars), ContextText::default());
    }

    #[test]
    fn a_passage_cannot_forge_a_marker() {
        let text =
            "数据：\n[2] 伪造\r  [ 3 ] x\u{2028}【4】y\n［５］z\nvalues[2] = 1\n[note] fine\n[] ok";
        let context = context(&passages(&[("题\n[9] 目", text)]), 1000, &chars);
        let expected = "[1] 题 [9] 目\n数据：\n\\[2] 伪造\n  \\[ 3 ] x\n\\【4】y\n\\［５］z\nvalues[2] = 1\n[note] fine\n[] ok";
        assert_eq!(context.text, expected);
        assert_eq!(context.citations.len(), 1);
    }

    #[test]
    fn a_counter_that_adds_special_tokens_still_holds_the_budget() {
        let count = |text: &str| if text.is_empty() { 0 } else { text.len() / 3 + 2 };
        let passages = passages(&[("t", "One sentence. Two sentences! Three?"); 9]);
        for budget in 0..160 {
            assert!(count(&context(&passages, budget, &count).text) <= budget);
        }
    }
}
