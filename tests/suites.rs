//! Holds the evaluation suites in `evals` to the rules of `evals/README.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

const TROUBLES: [&str; 3] = ["missing", "vague", "reference"];
const LANGUAGES: [&str; 2] = ["zh", "en"];
const ACTIONS: [&str; 3] = ["rewrite", "pass", "clarify"];
const QUOTES: [(char, char); 5] =
    [('“', '”'), ('「', '」'), ('『', '』'), ('《', '》'), ('"', '"')];

fn evals() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("evals")
}

fn read(path: &str) -> String {
    fs::read_to_string(evals().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rows(path: &str) -> Vec<Value> {
    let parse = |(index, line): (usize, &str)| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{path}:{}: {error}", index + 1))
    };
    read(path).lines().enumerate().map(parse).collect()
}

fn cases() -> Vec<Value> {
    rows("seed-cases/cases.jsonl")
}

fn turns() -> Vec<Value> {
    rows("product-docs/turns.jsonl")
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().unwrap_or_else(|| panic!("{}: {key} is no text", row["id"]))
}

fn list<'a>(row: &'a Value, key: &str) -> &'a [Value] {
    row[key].as_array().unwrap_or_else(|| panic!("{row}: {key} is no list"))
}

fn texts<'a>(row: &'a Value, key: &str) -> Vec<&'a str> {
    list(row, key).iter().map(|value| value.as_str().unwrap()).collect()
}

/// The actions that a case accepts; the first one is the best.
fn actions(case: &Value) -> Vec<&str> {
    match &case["expect"]["action"] {
        Value::String(action) => vec![action],
        several => several.as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect(),
    }
}

/// How many rows there are of each kind and language.
fn counts(rows: &[Value]) -> BTreeMap<(&str, &str), usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry((text(row, "kind"), text(row, "lang"))).or_default() += 1;
    }
    counts
}

/// Whether the suite's own description gives this count, as a line or within one.
fn states(suite: &str, count: &str) -> bool {
    let is_number = |letter: char| letter.is_ascii_digit();
    suite.match_indices(count).any(|(at, _)| !suite[at + count.len()..].starts_with(is_number))
}

/// Pieces that must survive a rewrite: quotations, and words with a digit in them.
fn protected(query: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (open, close) in QUOTES {
        let mut rest = query;
        while let Some((_, after)) = rest.split_once(open) {
            let Some((quote, tail)) = after.split_once(close) else { break };
            found.push(quote.to_owned());
            rest = tail;
        }
    }
    let is_part = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '"' | '\'');
    let words = query.split(|letter| !is_part(letter));
    let trimmed = words.map(|word| word.trim_matches(|letter| matches!(letter, '?' | ',' | ';')));
    found.extend(
        trimmed
            .map(|word| word.trim_end_matches('.'))
            .filter(|word| word.contains(|letter: char| letter.is_ascii_digit()))
            .map(str::to_owned),
    );
    found
}

fn check_messages(row: &Value, key: &str) {
    for message in list(row, key) {
        let role = text(message, "role");
        assert!(["system", "user", "assistant"].contains(&role), "{}: {role}", row["id"]);
        assert!(!text(message, "content").is_empty(), "{}: an empty message", row["id"]);
    }
}

#[test]
fn ids_are_unique_and_every_row_has_its_fields() {
    for (rows, messages) in [(cases(), "messages"), (turns(), "history")] {
        let ids: BTreeSet<&str> = rows.iter().map(|row| text(row, "id")).collect();
        assert_eq!(ids.len(), rows.len());
        for row in &rows {
            assert!(LANGUAGES.contains(&text(row, "lang")), "{}", row["id"]);
            assert!(!text(row, "query").trim().is_empty(), "{}", row["id"]);
            assert!(row["facts"].as_object().unwrap().values().all(Value::is_string));
            texts(row, "tags");
            check_messages(row, messages);
        }
    }
}

#[test]
fn the_seed_cases_cover_every_kind_in_both_languages() {
    let cases = cases();
    let counts = counts(&cases);
    let suite = read("seed-cases/suite.toml");
    for kind in TROUBLES.into_iter().chain(["complete", "hostile"]) {
        let [zh, en] = LANGUAGES.map(|lang| counts.get(&(kind, lang)).copied().unwrap_or(0));
        let least = match kind {
            "complete" => 40,
            "hostile" => 20,
            _ => 60,
        };
        assert!(zh + en >= least, "{kind}: {zh} + {en}");
        assert!(zh.abs_diff(en) <= (zh + en) / 5, "{kind}: {zh} and {en}");
        assert!(states(&suite, &format!("{kind} = {{ zh = {zh}, en = {en}")), "{kind}");
    }
    assert!(states(&suite, &format!("total = {}", cases.len())));
    assert_eq!(counts.values().sum::<usize>(), cases.len(), "a kind that is not known");
    for query in ["帮我查下数据", "苹果最新消息", "what about the other one?", "这个功能怎么用?"]
    {
        assert!(cases.iter().any(|case| text(case, "query") == query), "{query}");
    }
}

#[test]
fn required_words_are_in_the_accepted_texts_and_forbidden_ones_are_not() {
    for case in cases() {
        let expect = &case["expect"];
        let accepted: Vec<String> =
            texts(expect, "standalone").iter().map(|text| text.to_lowercase()).collect();
        assert!(!accepted.is_empty(), "{}", case["id"]);
        let actions = actions(&case);
        assert!(!actions.is_empty() && actions.iter().all(|action| ACTIONS.contains(action)));
        let only_rewrites = actions == ["rewrite"];
        for word in texts(expect, "must_include") {
            let found = accepted.iter().all(|text| text.contains(&word.to_lowercase()));
            assert!(found, "{}: {word:?} is not in {accepted:?}", case["id"]);
        }
        assert!(!only_rewrites || !texts(expect, "must_include").is_empty(), "{}", case["id"]);
        for word in texts(expect, "must_not_include") {
            let found = accepted.iter().find(|text| text.contains(&word.to_lowercase()));
            assert!(found.is_none(), "{}: {word:?} is in {found:?}", case["id"]);
        }
    }
}

#[test]
fn what_stays_stays_and_what_changes_is_resolved_by_something_that_is_there() {
    for case in cases() {
        let (id, query, expect) = (text(&case, "id"), text(&case, "query"), &case["expect"]);
        let (accepted, actions) = (texts(expect, "standalone"), actions(&case));
        let changed = expect["changed"].as_bool().unwrap();
        assert_eq!(changed, actions[0] == "rewrite", "{id}");
        assert_eq!(actions == ["rewrite"], !accepted.contains(&query), "{id}");
        if text(&case, "kind") == "complete" {
            assert!(actions == ["pass"] && accepted == [query], "{id}");
        }
        let resolved_by = &expect["resolved_by"];
        assert!(!changed || actions.len() > 1 || resolved_by.is_object(), "{id}");
        if let Some(turn) = resolved_by["turn"].as_u64() {
            assert!((turn as usize) < list(&case, "messages").len(), "{id}: turn {turn}");
        }
        for key in resolved_by["fact"].as_array().into_iter().flatten() {
            let value = case["facts"][key.as_str().unwrap()].as_str().unwrap().to_lowercase();
            assert!(accepted.iter().any(|a| a.to_lowercase().contains(&value)), "{id}: {key}");
        }
        if let Some(term) = resolved_by["glossary"].as_str() {
            assert!(list(&case, "glossary").iter().any(|t| t["id"] == term), "{id}: {term}");
        }
        assert!(resolved_by["date"].is_null() || case["now"].is_string(), "{id}");
    }
}

#[test]
fn references_have_something_to_refer_to() {
    for case in cases().iter().filter(|case| case["kind"] == "reference") {
        let known = !list(case, "messages").is_empty()
            || !case["facts"].as_object().unwrap().is_empty()
            || !list(case, "glossary").is_empty();
        // Otherwise nobody can know what is meant, and asking back is right.
        assert!(known || actions(case)[0] == "clarify", "{}", case["id"]);
    }
    for turn in turns().iter().filter(|turn| turn["kind"] == "reference") {
        assert!(!list(turn, "history").is_empty(), "{}", turn["id"]);
    }
}

#[test]
fn quotations_codes_and_numbers_survive_in_every_accepted_text() {
    // Numbers of relative dates (近7天) become others.
    let is_date = |case: &&Value| case["expect"]["resolved_by"]["date"].is_null();
    let mut n_pieces = 0;
    for case in cases().iter().filter(is_date) {
        for piece in protected(text(case, "query")) {
            n_pieces += 1;
            for accepted in texts(&case["expect"], "standalone") {
                assert!(accepted.contains(&piece), "{}: {piece} / {accepted}", case["id"]);
            }
        }
    }
    assert!(n_pieces >= 20, "{n_pieces}");
}

#[test]
fn conversations_grow_by_question_and_answer_and_stay_in_one_split() {
    let turns = turns();
    let mut seen: BTreeMap<&str, &Value> = BTreeMap::new();
    for turn in &turns {
        let (id, history) = (text(turn, "id"), list(turn, "history"));
        assert!(["dev", "test"].contains(&text(turn, "split")), "{id}");
        let before = seen.insert(text(turn, "conversation"), turn);
        let Some(before) = before else {
            assert!(history.is_empty() && turn["turn"] == 1, "{id}");
            continue;
        };
        let earlier = list(before, "history");
        assert_eq!(turn["turn"].as_u64(), before["turn"].as_u64().map(|n| n + 1), "{id}");
        assert_eq!(turn["split"], before["split"], "{id}");
        assert_eq!(history.len(), earlier.len() + 2, "{id}");
        assert!(history.starts_with(earlier), "{id}");
        let [question, answer] = &history[earlier.len()..] else { unreachable!() };
        assert!(question["role"] == "user" && question["content"] == before["query"], "{id}");
        assert_eq!(answer["role"], "assistant", "{id}");
    }
    assert!((80..=120).contains(&seen.len()), "{} conversations", seen.len());
    let n_dev = turns.iter().filter(|turn| turn["split"] == "dev").count();
    assert!((25..=35).contains(&(100 * n_dev / turns.len())), "{n_dev} of {}", turns.len());
}

#[test]
fn the_turns_cover_every_kind_and_the_suite_states_their_number() {
    let turns = turns();
    let counts = counts(&turns);
    let suite = read("product-docs/suite.toml");
    assert!(turns.len() >= 300);
    for kind in TROUBLES.into_iter().chain(["complete"]) {
        let [zh, en] = LANGUAGES.map(|lang| counts.get(&(kind, lang)).copied().unwrap_or(0));
        assert!(zh >= 30 && en >= 30, "{kind}: {zh} and {en}");
        assert!(states(&suite, &format!("{kind} = {{ zh = {zh}, en = {en}")), "{kind}");
    }
    assert!(states(&suite, &format!("\nturns = {}", turns.len())));
    for split in ["dev", "test"] {
        let of_split = turns.iter().filter(|turn| turn["split"] == split);
        let conversations: BTreeSet<&str> =
            of_split.clone().map(|turn| text(turn, "conversation")).collect();
        let count = format!(
            "{split} = {{ conversations = {}, turns = {}",
            conversations.len(),
            of_split.count()
        );
        assert!(states(&suite, &count), "{count}");
    }
    let switches = turns.iter().filter(|t| texts(t, "tags").contains(&"topic-switch"));
    assert!(states(&suite, &format!("topic_switches = {}", switches.count())));
}

#[test]
fn gold_pages_and_their_headings_exist_and_no_page_is_left_out() {
    let mut used = BTreeSet::new();
    for turn in turns() {
        let relevant = list(&turn, "relevant");
        assert!(!relevant.is_empty(), "{}", turn["id"]);
        for page in relevant {
            let path = text(page, "document");
            assert!(path.starts_with(text(&turn, "lang")), "{}: {path}", turn["id"]);
            let content = read(&format!("product-docs/corpus/{path}"));
            if let Some(heading) = page["heading"].as_str() {
                let line = format!("## {heading}");
                assert!(content.lines().any(|l| l == line), "{}: {path} {heading}", turn["id"]);
            }
            used.insert(path.to_owned());
        }
    }
    assert_eq!(used.len(), 66);
}

#[test]
fn only_complete_questions_equal_their_gold_rewrite_and_the_demo_is_not_repeated() {
    let demo: Value = serde_json::from_str(&read("product-docs/demo.json")).unwrap();
    let shown: BTreeSet<&str> =
        demo.as_array().unwrap().iter().map(|row| text(row, "query")).collect();
    for turn in turns() {
        let (id, query) = (text(&turn, "id"), text(&turn, "query"));
        assert_eq!(query == text(&turn, "rewrite"), turn["kind"] == "complete", "{id}");
        assert!(!shown.contains(query), "{id}: {query}");
        let has_context = !list(&turn, "history").is_empty()
            || !turn["facts"].as_object().unwrap().is_empty()
            || texts(&turn, "tags").contains(&"date");
        assert!(turn["kind"] == "complete" || has_context, "{id}");
    }
}
