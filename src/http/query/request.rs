//! What a caller asks, as it is on the wire, and its one place of validation.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};

use crate::error::Result;
use crate::http::checks::{Checks, segment};
use crate::http::object;
use crate::rewrite::conversation::Role;
use crate::service::question::{Mode, Question, Search};

const MAX_QUERY_CHARS: usize = 8_000;
const MAX_MESSAGES: usize = 200;
const MAX_MESSAGES_CHARS: usize = 200_000;
const MAX_FACTS: usize = 64;
const MAX_FACT_KEY_CHARS: usize = 64;
const MAX_FACT_CHARS: usize = 1_000;
const MAX_LOCALE_CHARS: usize = 35;
const MAX_COLLECTION_CHARS: usize = 64;
/// Longest name of a user.
pub const MAX_USER_CHARS: usize = 128;
const DEFAULT_VARIANTS: usize = 3;
const DEFAULT_REWRITE_MS: u64 = 400;
const DEFAULT_TOP_K: usize = 10;
/// Room for the passages in an answering model's prompt.
const CONTEXT_TOKENS: usize = 2_000;

/// A query with its conversation and context.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "query": "那有啥好吃的",
    "messages": [
        {"role": "user", "content": "开原有什么好玩的呢"},
        {"role": "assistant", "content": "有咸州古城、象牙山风景区"}
    ],
    "context": {
        "now": "2024-07-02T10:00:00+08:00",
        "locale": "zh-CN",
        "facts": {"product": "CRM系统", "region": "华东区"}
    },
    "collection": "docs",
    "mode": "auto",
    "max_variants": 3,
    "max_rewrite_ms": 400,
    "stream": false
}))]
pub struct RewriteRequest {
    /// May be left out: then the last user message is the query.
    #[schema(max_length = 8000)]
    query: Option<String>,
    /// The conversation so far, oldest first.
    #[schema(max_items = 200)]
    #[serde(default, deserialize_with = "object::optional_list")]
    messages: Option<Vec<MessageInput>>,
    #[serde(default, deserialize_with = "object::optional")]
    context: Option<ContextInput>,
    /// Whose glossary is used.
    collection: Option<String>,
    mode: Option<ModeInput>,
    /// Most search queries wanted.
    #[schema(minimum = 1, maximum = 8, default = 3)]
    max_variants: Option<i64>,
    /// Milliseconds for the rewrite.
    #[schema(minimum = 1, maximum = 60000, default = 400)]
    max_rewrite_ms: Option<i64>,
    /// Whether the answer comes as server-sent events.
    #[schema(default = false)]
    stream: Option<bool>,
    /// Who asks, by a name of the caller's choice that is no person's own; what is kept of the
    /// request can be deleted by it.
    #[schema(max_length = 128)]
    user: Option<String>,
}

/// A query with its conversation and context, and what is wanted of the passages.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "query": "那有啥好吃的",
    "messages": [
        {"role": "user", "content": "开原有什么好玩的呢"},
        {"role": "assistant", "content": "有咸州古城、象牙山风景区"}
    ],
    "context": {"now": "2024-07-02T10:00:00+08:00", "facts": {"region": "华东区"}},
    "collection": "docs",
    "top_k": 10,
    "filter": {"must": [{"key": "lang", "match": {"value": "zh"}}]},
    "include_context": true
}))]
pub struct SearchRequest {
    /// May be left out: then the last user message is the query.
    #[schema(max_length = 8000)]
    query: Option<String>,
    /// The conversation so far, oldest first.
    #[schema(max_items = 200)]
    #[serde(default, deserialize_with = "object::optional_list")]
    messages: Option<Vec<MessageInput>>,
    #[serde(default, deserialize_with = "object::optional")]
    context: Option<ContextInput>,
    /// What is searched.
    #[schema(value_type = String, required)]
    collection: Option<String>,
    mode: Option<ModeInput>,
    /// Most search queries wanted.
    #[schema(minimum = 1, maximum = 8, default = 3)]
    max_variants: Option<i64>,
    /// Milliseconds for the rewrite.
    #[schema(minimum = 1, maximum = 60000, default = 400)]
    max_rewrite_ms: Option<i64>,
    /// Whether the answer comes as server-sent events.
    #[schema(default = false)]
    stream: Option<bool>,
    /// Who asks, by a name of the caller's choice that is no person's own; what is kept of the
    /// request can be deleted by it.
    #[schema(max_length = 128)]
    user: Option<String>,
    /// Passages wanted.
    #[schema(minimum = 1, maximum = 100, default = 10)]
    top_k: Option<i64>,
    /// `must`, `should` and `must_not` conditions on metadata, as Qdrant writes them.
    #[schema(value_type = Option<Object>)]
    filter: Option<Map<String, Value>>,
    /// Whether the reranker orders the best passages anew; without one it changes nothing.
    #[schema(default = true)]
    rerank: Option<bool>,
    /// Whether the passages are also wanted as one text for an answering model.
    #[schema(default = false)]
    include_context: Option<bool>,
}

/// One message, in the shape of OpenAI's; other fields than these are ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub struct MessageInput {
    role: RoleInput,
    #[schema(schema_with = content_schema)]
    #[serde(default)]
    content: Value,
}

/// Who said it.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleInput {
    User,
    Assistant,
    System,
    /// The same as `system`.
    Developer,
    /// Skipped.
    Tool,
    /// Skipped.
    Function,
}

/// What is known beyond the conversation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContextInput {
    /// The asker's clock with its zone, in RFC 3339. Without it no date is resolved.
    #[schema(format = DateTime)]
    now: Option<String>,
    /// A BCP 47 tag.
    locale: Option<String>,
    /// Known facts of the session: `product`, `region`, `metric`, `unit`, `period` and others.
    /// Values are strings, numbers or booleans.
    #[schema(value_type = Option<Object>)]
    facts: Option<Map<String, Value>>,
}

/// Whether the query may be rewritten.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModeInput {
    /// If it needs to be.
    Auto,
    Always,
    Never,
}

/// A question that has been checked.
#[derive(Debug)]
pub struct Asked {
    pub question: Question,
    /// Where each of the question's messages stands among the request's.
    pub positions: Vec<usize>,
    /// Whether the answer is wanted as events.
    pub stream: bool,
}

/// A search that has been checked.
#[derive(Debug)]
pub struct AskedSearch {
    pub search: Search,
    /// Where each of the question's messages stands among the request's.
    pub positions: Vec<usize>,
    /// Whether the answer is wanted as events.
    pub stream: bool,
}

impl RewriteRequest {
    pub fn check(self) -> Result<Asked> {
        let mut checks = Checks::default();
        let asked = self.read(&mut checks)?;
        checks.finish()?;
        Ok(asked)
    }

    fn read(self, checks: &mut Checks) -> Result<Asked> {
        if let Some(user) = &self.user {
            checks.line("/user", user, MAX_USER_CHARS);
        }
        let mut turns = read_messages(self.messages.unwrap_or_default(), checks);
        let query = match self.query {
            Some(query) => {
                turns.drop_repeated(&query);
                Some(query)
            }
            None => turns.take_query(),
        };
        let context = self.context.unwrap_or_default();
        if let Some(collection) = &self.collection {
            checks.line("/collection", collection, MAX_COLLECTION_CHARS);
        }
        let question = Question {
            query: check_query(query, checks),
            now: read_now(context.now.as_deref(), checks),
            locale: read_locale(context.locale, checks),
            facts: read_facts(context.facts.unwrap_or_default(), checks),
            collection: self.collection,
            mode: self.mode.map_or(Mode::Auto, Mode::from),
            max_variants: checks.number(
                "/max_variants",
                self.max_variants,
                1..=8,
                DEFAULT_VARIANTS,
            ),
            max_rewrite_ms: checks.number(
                "/max_rewrite_ms",
                self.max_rewrite_ms,
                1..=60_000,
                DEFAULT_REWRITE_MS,
            ),
            messages: turns.messages,
            user: self.user,
        };
        let stream = self.stream.unwrap_or(false);
        Ok(Asked { question, positions: turns.positions, stream })
    }
}

impl SearchRequest {
    pub fn check(self) -> Result<AskedSearch> {
        let mut checks = Checks::default();
        if self.collection.is_none() {
            checks.refuse("/collection", "is missing: a search needs one");
        }
        let top_k = checks.number("/top_k", self.top_k, 1..=100, DEFAULT_TOP_K);
        let asked = RewriteRequest {
            query: self.query,
            messages: self.messages,
            context: self.context,
            collection: self.collection,
            mode: self.mode,
            max_variants: self.max_variants,
            max_rewrite_ms: self.max_rewrite_ms,
            stream: self.stream,
            user: self.user,
        }
        .read(&mut checks)?;
        checks.finish()?;
        let search = Search {
            question: asked.question,
            top_k,
            filter: self.filter.map(Value::Object),
            rerank: self.rerank.unwrap_or(true),
            include_context: self.include_context.unwrap_or(false),
            context_tokens: CONTEXT_TOKENS,
        };
        Ok(AskedSearch { search, positions: asked.positions, stream: asked.stream })
    }
}

impl From<ModeInput> for Mode {
    fn from(mode: ModeInput) -> Self {
        match mode {
            ModeInput::Auto => Self::Auto,
            ModeInput::Always => Self::Always,
            ModeInput::Never => Self::Never,
        }
    }
}

/// The messages that carry text, and where each stood in the request.
#[derive(Default)]
struct Turns {
    messages: Vec<(Role, String)>,
    positions: Vec<usize>,
}

impl Turns {
    /// Takes the last user message out as the query, and what comes after it away.
    fn take_query(&mut self) -> Option<String> {
        let index = self.messages.iter().rposition(|(role, _)| *role == Role::User)?;
        self.truncate(index + 1);
        self.positions.pop();
        self.messages.pop().map(|(_, text)| text)
    }

    /// Many clients send the query and the conversation with the query in it: it is one turn.
    fn drop_repeated(&mut self, query: &str) {
        let is_query = |(role, text): &(Role, String)| *role == Role::User && text == query;
        if self.messages.last().is_some_and(is_query) {
            self.truncate(self.messages.len() - 1);
        }
    }

    fn truncate(&mut self, length: usize) {
        self.messages.truncate(length);
        self.positions.truncate(length);
    }
}

fn check_query(query: Option<String>, checks: &mut Checks) -> String {
    match query {
        Some(query) if !query.trim().is_empty() => {
            checks.text("/query", &query, MAX_QUERY_CHARS);
            query
        }
        Some(_) => {
            checks.refuse("/query", "is empty");
            String::new()
        }
        None => {
            checks.refuse("/query", "is missing, and no user message stands for it");
            String::new()
        }
    }
}

fn read_messages(messages: Vec<MessageInput>, checks: &mut Checks) -> Turns {
    let mut turns = Turns::default();
    if messages.len() > MAX_MESSAGES {
        let n_messages = messages.len();
        checks.refuse("/messages", format!("has {n_messages} entries, more than {MAX_MESSAGES}"));
        return turns;
    }
    let mut n_chars = 0;
    for (position, message) in messages.into_iter().enumerate() {
        let place = format!("/messages/{position}");
        let Some(role) = read_role(message.role) else { continue };
        let text = read_content(message.content, &format!("{place}/content"), checks);
        n_chars += text.chars().count();
        if !text.trim().is_empty() {
            turns.messages.push((role, text));
            turns.positions.push(position);
        }
    }
    if n_chars > MAX_MESSAGES_CHARS {
        let detail = format!("has {n_chars} characters in all, more than {MAX_MESSAGES_CHARS}");
        checks.refuse("/messages", detail);
    }
    turns
}

/// None for messages that are skipped.
fn read_role(role: RoleInput) -> Option<Role> {
    match role {
        RoleInput::User => Some(Role::User),
        RoleInput::Assistant => Some(Role::Assistant),
        RoleInput::System | RoleInput::Developer => Some(Role::System),
        RoleInput::Tool | RoleInput::Function => None,
    }
}

/// The text of a message. An assistant's message that only calls a tool has none.
fn read_content(content: Value, place: &str, checks: &mut Checks) -> String {
    let text = match content {
        Value::String(text) => text,
        Value::Null => String::new(),
        Value::Array(parts) => read_parts(&parts, place, checks),
        _ => {
            checks.refuse(place, "is neither a string nor a list of parts");
            String::new()
        }
    };
    if text.contains('\0') {
        checks.refuse(place, "contains the character U+0000");
    }
    text
}

fn read_parts(parts: &[Value], place: &str, checks: &mut Checks) -> String {
    let mut texts = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        let kind = part.get("type").and_then(Value::as_str);
        match (kind, part.get("text").and_then(Value::as_str)) {
            (Some("text"), Some(text)) => texts.push(text),
            _ => checks.refuse(
                format!("{place}/{index}"),
                "is not {\"type\": \"text\", \"text\": \"…\"}: only text is read",
            ),
        }
    }
    texts.join("\n")
}

fn read_now(now: Option<&str>, checks: &mut Checks) -> Option<OffsetDateTime> {
    let now = OffsetDateTime::parse(now?, &Rfc3339);
    if now.is_err() {
        let detail = "is not a time in RFC 3339, such as 2024-07-02T10:00:00+08:00";
        checks.refuse("/context/now", detail);
    }
    now.ok()
}

fn read_locale(locale: Option<String>, checks: &mut Checks) -> Option<String> {
    let locale = locale?;
    let is_tag = locale.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if locale.is_empty() || locale.len() > MAX_LOCALE_CHARS || !is_tag {
        checks.refuse("/context/locale", "is not a BCP 47 tag such as zh-CN");
    }
    Some(locale)
}

fn read_facts(facts: Map<String, Value>, checks: &mut Checks) -> BTreeMap<String, String> {
    if facts.len() > MAX_FACTS {
        let n_facts = facts.len();
        checks.refuse("/context/facts", format!("has {n_facts} entries, more than {MAX_FACTS}"));
        return BTreeMap::new();
    }
    let mut texts = BTreeMap::new();
    for (key, value) in facts {
        let place = format!("/context/facts/{}", segment(&key));
        checks.line(&place, &key, MAX_FACT_KEY_CHARS);
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                checks.refuse(&place, "is not a string, a number or a boolean");
                continue;
            }
        };
        checks.text(&place, &text, MAX_FACT_CHARS);
        texts.insert(key, text);
    }
    texts
}

/// The description of a message's content, which has several forms.
fn content_schema() -> Schema {
    let part = ObjectBuilder::new()
        .property(
            "type",
            ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["text"])),
        )
        .required("type")
        .property("text", ObjectBuilder::new().schema_type(Type::String))
        .required("text");
    OneOfBuilder::new()
        .description(Some("A string, a list of text parts, or null when there is no text."))
        .item(ObjectBuilder::new().schema_type(Type::String))
        .item(ArrayBuilder::new().items(part))
        .item(ObjectBuilder::new().schema_type(Type::Null))
        .into()
}
