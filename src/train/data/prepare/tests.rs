use std::collections::HashSet;

use super::super::rows::{RowSource, Turn};
use super::*;

fn source(line: usize) -> RowSource {
    RowSource { file: "x".into(), line }
}

fn rewrite(history: &[&str], query: &str, line: usize) -> Completion {
    let history = history.iter().map(|turn| (*turn).to_owned()).collect();
    let prompt = Prompt::Rewrite { history, query: query.to_owned() };
    Completion { prompt, answer: format!("a{line}"), source: source(line) }
}

fn pair(query: &str, positive: &str) -> Pair {
    let (query, positives) = (query.to_owned(), vec![positive.to_owned()]);
    Pair { query, positives, negatives: Vec::new(), source: source(1) }
}

/// 200 rows, each prompt twice.
fn completions() -> Vec<Completion> {
    (0..200).map(|line| rewrite(&[], &format!("q{}", line % 100), line)).collect()
}

fn queries(rows: &Rows) -> Vec<String> {
    let Rows::Completions(rows) = rows else { unreachable!() };
    let query = |row: &Completion| match &row.prompt {
        Prompt::Rewrite { query, .. } => query.clone(),
        _ => unreachable!(),
    };
    rows.iter().map(query).collect()
}

fn lines(rows: &Rows) -> Vec<usize> {
    let Rows::Completions(rows) = rows else { unreachable!() };
    rows.iter().map(|row| row.source.line).collect()
}

#[test]
fn equal_prompts_are_never_on_both_sides() {
    let (train, validation) =
        split(Rows::Completions(completions()), Portion::Share(0.2), 7).unwrap();
    assert_eq!((train.len(), validation.len()), (160, 40));
    let seen: HashSet<String> = queries(&train).into_iter().collect();
    assert!(queries(&validation).iter().all(|query| !seen.contains(query)));
    assert!(lines(&train).is_sorted() && lines(&validation).is_sorted());
}

#[test]
fn a_split_hangs_on_the_seed_and_not_on_the_order() {
    let members = |rows: Vec<Completion>, seed| {
        let (_, validation) = split(Rows::Completions(rows), Portion::Count(20), seed).unwrap();
        let mut lines = lines(&validation);
        lines.sort_unstable();
        lines
    };
    let mut reversed = completions();
    reversed.reverse();
    assert_eq!(members(completions(), 7), members(reversed, 7));
    assert_ne!(members(completions(), 7), members(completions(), 8));
}

#[test]
fn a_conversation_stays_together() {
    let mut rows = Vec::new();
    for talk in 0..20 {
        let first = format!("start {talk}");
        rows.push(rewrite(&[], &first, talk * 3));
        rows.push(rewrite(&[&first], "b", talk * 3 + 1));
        rows.push(rewrite(&[&first, "b"], "c", talk * 3 + 2));
    }
    let (_, validation) = split(Rows::Completions(rows), Portion::Count(10), 1).unwrap();
    // Ten is no multiple of three: the nearest below.
    assert_eq!(validation.len(), 9);
    let talks: HashSet<usize> = lines(&validation).into_iter().map(|line| line / 3).collect();
    assert_eq!(talks.len(), 3);
}

#[test]
fn a_common_system_message_ties_nothing() {
    let chat = |line: usize| {
        let turn = |role, text: &str| Turn { role, text: text.into() };
        let turns = vec![turn(Role::System, "S"), turn(Role::User, &format!("q{line}"))];
        Completion { prompt: Prompt::Chat(turns), answer: "a".to_owned(), source: source(line) }
    };
    let rows = Rows::Completions((0..10).map(chat).collect());
    let (train, validation) = split(rows, Portion::Count(3), 1).unwrap();
    assert_eq!((train.len(), validation.len()), (7, 3));
}

#[test]
fn pairs_with_a_common_passage_stay_together() {
    let mut rows = Vec::new();
    for passage in 0..30 {
        for query in 0..3 {
            rows.push(pair(&format!("q{passage}-{query}"), &format!("p{passage}")));
        }
    }
    // A query of two passages makes one family of theirs.
    rows.push(pair("q0-0", "p1"));
    let (train, validation) = split(Rows::Pairs(rows), Portion::Share(0.3), 3).unwrap();
    let (Rows::Pairs(train), Rows::Pairs(validation)) = (train, validation) else { unreachable!() };
    assert!((25..=27).contains(&validation.len()), "{}", validation.len());
    let of_train: HashSet<&String> =
        train.iter().flat_map(|row| row.positives.iter().chain([&row.query])).collect();
    for row in &validation {
        assert!(!of_train.contains(&row.query) && !of_train.contains(&row.positives[0]));
    }
}

#[test]
fn what_cannot_be_split_is_refused() {
    let split = |rows, portion| split(Rows::Completions(rows), portion, 1).map(|_| ());
    for share in [-0.1, 1.0, f64::NAN] {
        let error = split(completions(), Portion::Share(share)).unwrap_err();
        assert!(error.message.contains("it must be from 0 to less than 1"), "{error}");
    }
    let error = split(completions(), Portion::Count(200)).unwrap_err();
    assert!(error.message.contains("none would be left to train on"), "{error}");
    let alike = (0..4).map(|line| rewrite(&[], "q", line)).collect();
    let error = split(alike, Portion::Count(2)).unwrap_err();
    assert!(error.message.contains("2 of 4 rows cannot be set aside"), "{error}");
    assert!(split(completions(), Portion::Count(0)).is_ok());
    assert!(split(Vec::new(), Portion::Share(0.1)).is_ok());
}

#[test]
fn the_hash_is_of_the_contents_in_their_order() {
    let hash = |rows: Vec<Completion>| sha256(&Rows::Completions(rows));
    let (one, two) = (rewrite(&["a"], "b", 1), rewrite(&[], "c", 2));
    let whole = hash(vec![one.clone(), two.clone()]);
    assert_eq!(whole.len(), 64);
    assert!(whole.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let moved = Completion { source: source(9), ..one.clone() };
    assert_eq!(hash(vec![moved, two.clone()]), whole);
    assert_ne!(hash(vec![two, one.clone()]), whole);
    // The borders between texts count.
    let (one, other) = (rewrite(&["a"], "bc", 1), rewrite(&["ab"], "c", 1));
    assert_ne!(hash(vec![other]), hash(vec![one]));
}

#[test]
fn a_verdict_and_a_role_are_part_of_a_row() {
    let judged = |desirable, role| {
        let prompt = Prompt::Chat(vec![Turn { role, text: "q".into() }]);
        let answer = "a".to_owned();
        digest(&Row::Judged(Judged { prompt, answer, desirable, source: source(1) }))
    };
    let base = judged(true, Role::User);
    assert_eq!(base, judged(true, Role::User));
    assert_ne!(base, judged(false, Role::User));
    assert_ne!(base, judged(true, Role::Tool));
}
