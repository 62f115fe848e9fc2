//! SQuAD's form, which CMRC and DRCD have too: questions under their paragraphs. A question is
//! complete, so whatever changes it is too much.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Set, passage};
use crate::service::evaluation::suite::SuiteTurn;

#[derive(Debug, Deserialize)]
struct File {
    data: Vec<Article>,
}

#[derive(Debug, Deserialize)]
struct Article {
    #[serde(default)]
    title: String,
    paragraphs: Vec<Paragraph>,
}

#[derive(Debug, Deserialize)]
struct Paragraph {
    context: String,
    qas: Vec<Question>,
}

#[derive(Debug, Deserialize)]
struct Question {
    id: String,
    question: String,
}

pub fn parse(text: &str) -> Result<Set, String> {
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut set = Set::default();
    for (article_idx, article) in file.data.into_iter().enumerate() {
        for (idx, paragraph) in article.paragraphs.into_iter().enumerate() {
            let id = format!("{article_idx}-{idx}");
            for question in paragraph.qas {
                set.turns.push(SuiteTurn {
                    id: question.id,
                    // Questions of one paragraph are not independent.
                    conversation: Some(id.clone()),
                    golds: vec![question.question.clone()],
                    query: question.question,
                    grades: HashMap::from([(id.clone(), 1)]),
                    ..SuiteTurn::default()
                });
            }
            set.documents.push(passage(id, Some(article.title.clone()), paragraph.context));
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::metrics::rewriting::Need;

    #[test]
    fn a_question_is_answered_by_its_paragraph_and_needs_nothing() {
        let text = r#"{"version":"1","data":[{"title":"Tides","paragraphs":[
            {"context":"The moon pulls the sea.","qas":[]},
            {"context":"Tides rise twice a day.","qas":[{"id":"q1","question":"How often do tides rise?","answers":[]}]}]}]}"#;
        let set = parse(text).unwrap();
        assert_eq!((set.documents.len(), set.documents[1].title.as_deref()), (2, Some("Tides")));
        assert_ne!(set.documents[0].id, set.documents[1].id);
        assert_eq!(set.turns[0].grades[&set.documents[1].id], 1);
        assert_eq!(set.turns[0].need(), Some(Need::Nothing));
    }
}
