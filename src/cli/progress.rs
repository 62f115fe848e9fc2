//! Waiting for a task with a bar, on a terminal only.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::{Error, Kind, Result};
use crate::service::Services;
use crate::store::TenantId;
use crate::store::tasks::{Task, TaskStatus};

/// Between two looks at a task.
const LOOK: Duration = Duration::from_millis(100);

/// A bar over `n_steps`; it draws nothing where stderr is no terminal.
pub fn bar(n_steps: u64, what: &str) -> ProgressBar {
    drawn(n_steps, what, "{msg} {wide_bar} {pos}/{len} {eta}")
}

/// A bar over bytes whose number is not known yet.
pub fn byte_bar(what: &str) -> ProgressBar {
    drawn(0, what, "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

fn drawn(n_steps: u64, what: &str, template: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(n_steps), target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}

/// Waits until a task has ended and advances `bar` by its documents.
///
/// # Errors
/// `ingest_failed` naming the first document at fault.
pub async fn wait(
    services: &Services,
    tenant: &TenantId,
    task_id: &str,
    bar: &ProgressBar,
) -> Result<Task> {
    let before = bar.position();
    loop {
        let task = services.store().get_task(tenant, task_id).await?;
        bar.set_position(before + task.done);
        match task.status {
            TaskStatus::Succeeded => return Ok(task),
            TaskStatus::Failed => return Err(failure(&task)),
            TaskStatus::Queued | TaskStatus::Running => tokio::time::sleep(LOOK).await,
        }
    }
}

fn failure(task: &Task) -> Error {
    let first = task.errors.first();
    let reason = first.map_or_else(
        || "no reason was recorded".to_owned(),
        |error| format!("{}: {}", error.document_id, error.message),
    );
    let message = format!("{} of {} documents failed; {reason}", task.errors.len(), task.total);
    Error::new(Kind::Invalid, "ingest_failed", message)
}
