//! What the driver's own program tells of the GPUs of this machine. Where it is not there, or does
//! not answer, nothing is known.

use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::process::Command;

const PROGRAM: &str = "nvidia-smi";
const ARGUMENTS: [&str; 2] = ["--query-gpu=index,memory.used", "--format=csv,noheader,nounits"];
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
const MIB: f64 = 1_048_576.0;

/// Set once the program was found missing: a driver does not come while a process runs.
static IS_MISSING: AtomicBool = AtomicBool::new(false);

/// The bytes in use on each GPU, by its index.
pub async fn memory_in_use() -> Vec<(u32, f64)> {
    if IS_MISSING.load(Ordering::Relaxed) {
        return Vec::new();
    }
    let mut command = Command::new(PROGRAM);
    command.args(ARGUMENTS).stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(ANSWER_TIMEOUT, command.output()).await {
        Ok(Ok(output)) if output.status.success() => {
            parse(&String::from_utf8_lossy(&output.stdout))
        }
        Ok(Err(_)) => {
            IS_MISSING.store(true, Ordering::Relaxed);
            Vec::new()
        }
        Ok(Ok(_)) | Err(_) => Vec::new(),
    }
}

/// Lines of an index and MiB. A figure that the driver does not give is `[N/A]`.
fn parse(lines: &str) -> Vec<(u32, f64)> {
    let gpu = |line: &str| {
        let (index, mebibytes) = line.split_once(',')?;
        let mebibytes: f64 = mebibytes.trim().parse().ok()?;
        Some((index.trim().parse().ok()?, mebibytes * MIB))
    };
    lines.lines().filter_map(gpu).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_gpus_and_what_is_not_known_is_left_out() {
        let known = parse("0, 1523\n1, 0\n2, [N/A]\n\nno devices were found\n");
        assert_eq!(known, [(0, 1_523.0 * MIB), (1, 0.0)]);
    }
}
