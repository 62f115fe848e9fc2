//! Lines of texts parted by tabs, as REWRITE (Su et al. 2019) comes: the turns before, the query,
//! and the query restored.

use super::{Set, alternating};
use crate::service::evaluation::suite::SuiteTurn;

pub fn parse(text: &str) -> Result<Set, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let turns = lines.map(|(idx, line)| {
        let mut texts: Vec<String> = line.split('\t').map(plain).collect();
        match (texts.pop(), texts.pop()) {
            (Some(rewrite), Some(query)) if !query.is_empty() && !rewrite.is_empty() => {
                Ok(SuiteTurn {
                    id: format!("line-{}", idx + 1),
                    history: alternating(texts),
                    query,
                    golds: vec![rewrite],
                    ..SuiteTurn::default()
                })
            }
            _ => Err(format!("line {} has no query and rewrite, parted by tabs", idx + 1)),
        }
    });
    Ok(Set { turns: turns.collect::<Result<_, _>>()?, documents: Vec::new() })
}

/// Chinese that was cut into words, or characters, by spaces is put together again.
fn plain(text: &str) -> String {
    let is_ascii = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii());
    let letters: Vec<char> = text.trim().chars().collect();
    let kept = letters.iter().enumerate().filter(|(idx, letter)| {
        let (before, after) = (idx.checked_sub(1), idx + 1);
        let before = before.and_then(|at| letters.get(at).copied());
        **letter != ' ' || is_ascii(before) && is_ascii(letters.get(after).copied())
    });
    kept.map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_two_columns_are_the_query_and_its_restoration() {
        let turns = parse("你 喜欢 灯 吗\t喜欢\t为 什么\t为 什么 喜欢 灯\n\nwhat lamp\tthe red one\twhy it\twhy the red lamp\n")
            .unwrap()
            .turns;
        assert_eq!(
            (turns[0].query.as_str(), turns[0].golds[0].as_str()),
            ("为什么", "为什么喜欢灯")
        );
        assert_eq!(turns[0].history.len(), 2);
        assert_eq!(
            (turns[1].id.as_str(), turns[1].golds[0].as_str()),
            ("line-3", "why the red lamp")
        );
        assert_eq!(plain("为什么 iphone 好 用 the one"), "为什么iphone好用the one");
        assert!(parse("alone\n").unwrap_err().contains("line 1"));
    }
}
