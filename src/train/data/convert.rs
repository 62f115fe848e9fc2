//! One row of any form to training rows: by the dataset's description, or by the row's shape.

use serde_json::Value;

use super::ReadOptions;
use super::chat::{self, Chat};
use super::dataset_info::{Columns, Entry, Formatting, Tags};
use super::fields::{Fields, keys, present, required_flag, required_list, text};
use super::passages::Passages;
use super::rows::{Row, RowSource, Task};
use super::{alpaca, asked, openai, pairs, rewrite, sharegpt, trl};

/// How the rows of an input are to be understood.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    pub task: Task,
    pub options: &'a ReadOptions,
    pub entry: Option<&'a Entry>,
    pub passages: Option<&'a Passages>,
}

/// What a good row becomes.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// At least one row.
    Rows(Vec<Row>),
    /// Nothing, because its rewrite is not covered by its history.
    Uncovered,
}

/// The forms that are told apart by their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Messages,
    Alpaca,
    Rewrite,
    Trl,
}

/// Converts a row, or says why it cannot be used.
pub fn convert(row: &Fields, source: &RowSource, reading: Reading<'_>) -> Result<Outcome, String> {
    if reading.task == Task::Contrastive {
        return pair(row, source, reading);
    }
    if reading.task == Task::Reward {
        if !row.contains_key("query") {
            return Err(unknown(row, reading.task));
        }
        return Ok(Outcome::Rows(vec![asked::row(row, source, reading.options)?]));
    }
    let rows = match (reading.entry, shape(row)) {
        (Some(entry), _) => {
            chat_rows(row, entry.formatting, &entry.columns, &entry.tags, source, reading)
        }
        (None, Some(Shape::Messages)) => messages_by_shape(row, source, reading),
        (None, Some(Shape::Alpaca)) => {
            let columns = usual_columns(row);
            chat_rows(row, Formatting::Alpaca, &columns, &Tags::default(), source, reading)
        }
        (None, Some(Shape::Rewrite)) => return own(row, source, reading),
        (None, Some(Shape::Trl)) => {
            refuse_verdict(row, "label", reading.task)?;
            trl::rows(row, reading.task, source, reading.options)
        }
        (None, None) => Err(unknown(row, reading.task)),
    };
    Ok(Outcome::Rows(rows?))
}

fn pair(row: &Fields, source: &RowSource, reading: Reading<'_>) -> Result<Outcome, String> {
    if !pairs::fits(row) {
        return Err(unknown(row, reading.task));
    }
    Ok(Outcome::Rows(vec![pairs::row(row, source, reading.passages)?]))
}

fn own(row: &Fields, source: &RowSource, reading: Reading<'_>) -> Result<Outcome, String> {
    if rewrite::is_uncovered(row)? && reading.options.drop_uncovered {
        return Ok(Outcome::Uncovered);
    }
    refuse_verdict(row, "desirable", reading.task)?;
    Ok(Outcome::Rows(vec![rewrite::row(row, reading.task, source, reading.options)?]))
}

/// The form whose keys the row has, if it is one that the trainers of chats know.
fn shape(row: &Fields) -> Option<Shape> {
    let has = |key: &str| row.contains_key(key);
    if has("messages") || has("conversations") {
        Some(Shape::Messages)
    } else if has("instruction") {
        Some(Shape::Alpaca)
    } else if has("query") && (has("rewrite") || has("chosen")) {
        Some(Shape::Rewrite)
    } else if (has("prompt") && has("completion")) || (has("chosen") && has("rejected")) {
        Some(Shape::Trl)
    } else {
        None
    }
}

fn unknown(row: &Fields, task: Task) -> String {
    let wanted = match task {
        Task::Sft => "`messages`, `conversations`, `instruction` and `output`, `prompt` and `completion`, or `history`, `query` and `rewrite`".to_owned(),
        Task::Preference => "`prompt`, `chosen` and `rejected`, or `history`, `query`, `chosen` and `rejected`".to_owned(),
        Task::Kto => "`prompt`, `completion` and `label`, `messages` and `kto_tag`, or `history`, `query`, `rewrite` and `desirable`".to_owned(),
        Task::Contrastive => pairs::wanted(),
        Task::Reward => "`query`, and of `history`, `relevant` and `complete` what there is".to_owned(),
    };
    format!(
        "its keys ({}) are of no known form of {} data, which has {wanted}",
        keys(row),
        task.name()
    )
}

/// The columns of a row that no dataset describes.
fn usual_columns(row: &Fields) -> Columns {
    let name = |name: &str| Some(name.to_owned());
    let first = |one: &str, other: &str| name(if row.contains_key(one) { one } else { other });
    Columns {
        history: name("history"),
        messages: first("messages", "conversations"),
        system: name("system"),
        tools: name("tools"),
        images: name("images"),
        videos: name("videos"),
        audios: name("audios"),
        chosen: name("chosen"),
        rejected: name("rejected"),
        kto_tag: first("kto_tag", "label"),
        ..Columns::default()
    }
}

/// Messages in OpenAI's words or ShareGPT's, told apart by the keys of the first one.
fn messages_by_shape(
    row: &Fields,
    source: &RowSource,
    reading: Reading<'_>,
) -> Result<Vec<Row>, String> {
    let columns = usual_columns(row);
    let first = row.get(sharegpt::key(&columns.messages)).and_then(|items| items.get(0));
    let (formatting, tags) = match first {
        Some(first) if first.get("role").is_some() => (Formatting::OpenAi, Tags::openai()),
        _ => (Formatting::ShareGpt, Tags::default()),
    };
    chat_rows(row, formatting, &columns, &tags, source, reading)
}

fn chat_rows(
    row: &Fields,
    formatting: Formatting,
    columns: &Columns,
    tags: &Tags,
    source: &RowSource,
    reading: Reading<'_>,
) -> Result<Vec<Row>, String> {
    check_plain(row, columns)?;
    let options = reading.options;
    if let Some(kto_tag) = &columns.kto_tag {
        refuse_verdict(row, kto_tag, reading.task)?;
    }
    let mut chat = match formatting {
        Formatting::Alpaca => alpaca::question(row, columns)?,
        Formatting::ShareGpt | Formatting::OpenAi => messages(row, formatting, columns, tags)?,
    };
    if formatting == Formatting::OpenAi && options.nemotron_thinking_off {
        openai::turn_thinking_off(&mut chat);
    }
    let answer = |column: &Option<String>| match formatting {
        Formatting::Alpaca => alpaca::answer(row, column),
        _ => answer_message(row, sharegpt::key(column), formatting, tags),
    };
    if reading.task == Task::Preference {
        let (chosen, rejected) = (answer(&columns.chosen)?, answer(&columns.rejected)?);
        return chat::preference(chat, chosen, rejected, source, options);
    }
    if formatting == Formatting::Alpaca {
        chat.messages.push(answer(&columns.response)?);
    }
    match reading.task {
        Task::Kto => {
            let desirable = required_flag(row, sharegpt::key(&columns.kto_tag))?;
            chat::judged(chat, desirable, source, options)
        }
        _ => chat::completions(chat, source, options),
    }
}

/// The messages of a row; the `system` column holds where no message of the system leads.
fn messages(
    row: &Fields,
    formatting: Formatting,
    columns: &Columns,
    tags: &Tags,
) -> Result<Chat, String> {
    let items = required_list(row, sharegpt::key(&columns.messages))?;
    let mut chat = match formatting {
        Formatting::OpenAi => openai::chat(items, tags)?,
        _ => sharegpt::chat(items, tags)?,
    };
    if let (None, Some(column)) = (&chat.system, &columns.system) {
        chat.system = text(row, column)?.map(str::to_owned);
    }
    Ok(chat)
}

/// The chosen or the rejected answer of a ranked chat: one message.
fn answer_message(
    row: &Fields,
    column: &str,
    formatting: Formatting,
    tags: &Tags,
) -> Result<chat::Message, String> {
    let item = row.get(column).unwrap_or(&Value::Null);
    let message = match formatting {
        Formatting::OpenAi => openai::message(item, tags),
        _ => sharegpt::message(item, tags),
    };
    message.map_err(|reason| format!("`{column}`: {reason}"))
}

/// Refuses what the trainer would not show to the model.
fn check_plain(row: &Fields, columns: &Columns) -> Result<(), String> {
    let unseen = [&columns.tools, &columns.images, &columns.videos, &columns.audios];
    for column in unseen.into_iter().flatten() {
        let is_empty = match present(row, column) {
            None => true,
            Some(Value::String(text)) => matches!(text.trim(), "" | "[]"),
            Some(Value::Array(items)) => items.is_empty(),
            Some(_) => false,
        };
        if !is_empty {
            return Err(format!("it has `{column}`, which would not be shown to the model"));
        }
    }
    Ok(())
}

/// An answer with a verdict may be a bad one: it is not for imitation.
fn refuse_verdict(row: &Fields, key: &str, task: Task) -> Result<(), String> {
    match row.get(key) {
        Some(Value::Bool(verdict)) if task == Task::Sft => {
            Err(format!("`{key}` is {verdict}: an answer with a verdict is for KTO, not for SFT"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
