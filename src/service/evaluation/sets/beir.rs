//! BEIR's folders (Thakur et al. 2021): `corpus.jsonl`, `queries.jsonl`, and judgements in `qrels`.
//! A query may have a `history` and a `rewrite` beside its text, for sets of conversations.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Set, alternating, hex, objects, passage};
use crate::service::evaluation::suite::SuiteTurn;

/// The first of these that is there is taken.
const SPLITS: [&str; 3] = ["test", "dev", "train"];

#[derive(Debug, Deserialize)]
struct Document {
    #[serde(alias = "_id")]
    id: String,
    #[serde(default)]
    title: String,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Query {
    #[serde(alias = "_id")]
    id: String,
    text: String,
    conversation: Option<String>,
    #[serde(default)]
    history: Vec<String>,
    rewrite: Option<String>,
}

/// The set of a folder, and the hash of its files. Queries without a judgement are left out.
pub fn read(dir: &Path) -> Result<(Set, String), String> {
    let mut hash = Sha256::new();
    let mut file = |name: &str| -> Result<String, String> {
        let text = fs_err::read_to_string(dir.join(name)).map_err(|error| error.to_string())?;
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(&text);
        Ok(text)
    };
    let documents: Vec<Document> = objects(&file("corpus.jsonl")?)?;
    let queries: Vec<Query> = objects(&file("queries.jsonl")?)?;
    let name = SPLITS.map(|split| format!("qrels/{split}.tsv"));
    let name = name.into_iter().find(|name| dir.join(name).is_file());
    let name = name.ok_or("there is no qrels/test.tsv, dev.tsv or train.tsv")?;
    let mut grades = grades(&file(&name)?).map_err(|reason| format!("{name}: {reason}"))?;
    let turns = queries.into_iter().filter_map(|query| {
        let grades = grades.remove(&query.id)?;
        Some(SuiteTurn {
            id: query.id,
            conversation: query.conversation,
            history: alternating(query.history),
            query: query.text,
            golds: query.rewrite.into_iter().collect(),
            grades,
            ..SuiteTurn::default()
        })
    });
    let turns: Vec<SuiteTurn> = turns.collect();
    let documents = documents
        .into_iter()
        .filter(|document| !document.text.trim().is_empty())
        .map(|document| passage(document.id, Some(document.title), document.text));
    let set = Set { turns, documents: documents.collect() };
    Ok((set, hex(&hash.finalize())))
}

/// By query and document: lines of the two and a grade, under a heading or none; TREC's form has
/// one more column.
fn grades(text: &str) -> Result<HashMap<String, HashMap<String, i32>>, String> {
    let mut grades: HashMap<String, HashMap<String, i32>> = HashMap::new();
    for (idx, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let (query, document, grade) = match cells[..] {
            [query, document, grade] | [query, _, document, grade] => (query, document, grade),
            _ => return Err(format!("line {} is no judgement", idx + 1)),
        };
        match grade.parse() {
            Ok(grade) => {
                let of_query = grades.entry(query.to_owned()).or_default();
                of_query.insert(document.to_owned(), grade);
            }
            Err(_) if idx == 0 => {}
            Err(_) => return Err(format!("line {}: `{grade}` is no grade", idx + 1)),
        }
    }
    Ok(grades)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judged_queries_come_with_their_grades() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs_err::write(dir.path().join(name), text).unwrap();
        fs_err::create_dir(dir.path().join("qrels")).unwrap();
        write(
            "corpus.jsonl",
            "{\"_id\":\"d1\",\"title\":\"Tides\",\"text\":\"The sea rises.\"}\n{\"_id\":\"d2\",\"title\":\"\",\"text\":\"The moon.\"}\n",
        );
        write(
            "queries.jsonl",
            "{\"_id\":\"q1\",\"text\":\"and it?\",\"history\":[\"a\",\"b\"],\"rewrite\":\"and the sea?\"}\n{\"_id\":\"q2\",\"text\":\"no one judged\"}\n",
        );
        write("qrels/dev.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n");
        let (set, sha256) = read(dir.path()).unwrap();
        assert_eq!((set.turns.len(), set.documents.len(), sha256.len()), (1, 2, 64));
        assert_eq!((set.turns[0].grades["d1"], set.turns[0].grades["d2"]), (2, 0));
        assert_eq!(
            (set.turns[0].golds[0].as_str(), set.turns[0].history.len()),
            ("and the sea?", 2)
        );
        assert_eq!(set.documents[1].title, None);
        write("qrels/test.tsv", "q2 0 d2 1\n");
        let turn = read(dir.path()).unwrap().0.turns.remove(0);
        assert_eq!((turn.id.as_str(), turn.grades["d2"]), ("q2", 1));
        write("qrels/test.tsv", "q2 0 d2 1\nq2 0 d1 much\n");
        assert!(read(dir.path()).unwrap_err().contains("line 2"));
    }
}
