//! `querent doctor`: every setting with where it came from, then whether this machine can run a
//! server with them. Changes nothing but what a first start would: it unpacks a starter model.

mod address;
mod checks;
mod models;

use serde_json::json;

use super::{Global, output};
use crate::config::Config;
use crate::config::origin::{Origin, Setting};
use crate::error::{Error, Kind, Result};

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    /// A server runs, but not as well as it could.
    Warn,
    /// A server does not start, or cannot do its work.
    Fail,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Check {
    name: String,
    status: Status,
    /// What was found.
    detail: String,
    /// What to do about it; empty when all is well.
    advice: String,
}

impl Check {
    fn ok(name: &str, detail: impl Into<String>) -> Self {
        Self::new(name, Status::Ok, detail, "")
    }

    fn warn(name: &str, detail: impl Into<String>, advice: &str) -> Self {
        Self::new(name, Status::Warn, detail, advice)
    }

    fn fail(name: &str, detail: impl Into<String>, advice: &str) -> Self {
        Self::new(name, Status::Fail, detail, advice)
    }

    fn new(name: &str, status: Status, detail: impl Into<String>, advice: &str) -> Self {
        Self { name: name.to_owned(), status, detail: detail.into(), advice: advice.to_owned() }
    }
}

pub async fn run(mut config: Config, global: &Global) -> Result<()> {
    let settings = config.settings(global.config.as_deref())?;
    if global.json {
        settings.iter().try_for_each(print_setting_json)?;
    } else {
        print_settings(&settings)?;
    }
    config.data.dir = std::path::absolute(&config.data.dir)?;
    let checks = checks::all(&config).await?;
    for check in &checks {
        output::line(&if global.json { check_json(check) } else { check_text(check) })?;
    }
    let failed: Vec<&str> = checks
        .iter()
        .filter(|check| check.status == Status::Fail)
        .map(|check| check.name.as_str())
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let message =
        format!("{} of {} checks failed: {}", failed.len(), checks.len(), failed.join(", "));
    Err(Error::new(Kind::Unavailable, "doctor_failed", message))
}

fn print_settings(settings: &[Setting]) -> Result<()> {
    let values: Vec<String> = settings.iter().map(|setting| plain(&setting.shown)).collect();
    let key_width = settings.iter().map(|setting| setting.key.len()).max().unwrap_or(0);
    let value_width = values.iter().map(String::len).filter(|len| *len <= 48).max().unwrap_or(0);
    for (setting, value) in settings.iter().zip(&values) {
        let origin = match &setting.origin {
            Origin::Default => "default".to_owned(),
            other => origin(other),
        };
        let (key, origin) = (&setting.key, origin);
        output::line(&format!("{key:key_width$}  {value:value_width$}  {origin}"))?;
    }
    output::line("")
}

/// A value without JSON's quotation marks.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".to_owned(),
        Origin::File(path) => path.clone(),
        Origin::Variable(name) => name.clone(),
        Origin::Flag => "a flag".to_owned(),
    }
}

fn print_setting_json(setting: &Setting) -> Result<()> {
    let kind = match setting.origin {
        Origin::Default => "default",
        Origin::File(_) => "file",
        Origin::Variable(_) => "environment",
        Origin::Flag => "flag",
    };
    let line = json!({
        "setting": setting.key, "value": setting.shown,
        "origin": kind, "from": origin(&setting.origin),
    });
    output::line(&line.to_string())
}

fn check_json(check: &Check) -> String {
    let status = check.status.as_str();
    json!({"check": check.name, "status": status, "detail": check.detail, "advice": check.advice})
        .to_string()
}

fn check_text(check: &Check) -> String {
    let line = format!("{:4}  {}: {}", check.status.as_str(), check.name, check.detail);
    if check.advice.is_empty() { line } else { format!("{line}\n      -> {}", check.advice) }
}
