//! What Linux tells of this process. Elsewhere, or where `/proc` is hidden, nothing is known.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Clock ticks of `/proc/self/stat` in a second: 100 on every Linux that can be built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// Figures of this process; none where they cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    pub resident_bytes: Option<f64>,
    pub open_files: Option<f64>,
    pub max_files: Option<f64>,
    /// Since the Unix epoch.
    pub started_at_seconds: Option<f64>,
}

/// Reads them now.
pub fn observe() -> Process {
    let read = |name: &str| fs_err::read_to_string(format!("/proc/self/{name}")).ok();
    let open_files = fs_err::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    Process {
        resident_bytes: read("status").as_deref().and_then(resident_bytes),
        open_files,
        max_files: read("limits").as_deref().and_then(max_files),
        started_at_seconds: started_at(),
    }
}

fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn max_files(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn started_at() -> Option<f64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let uptime = fs_err::read_to_string("/proc/uptime").ok()?;
    let stat = fs_err::read_to_string("/proc/self/stat").ok()?;
    let age = age(&uptime, &stat)?;
    Some(now.saturating_sub(age).as_secs_f64())
}

/// How long ago the process started.
fn age(uptime: &str, stat: &str) -> Option<Duration> {
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    // The name of the program stands in brackets and may hold spaces; the fields follow it.
    let fields = stat.rsplit_once(')')?.1;
    let ticks: f64 = fields.split_whitespace().nth(19)?.parse().ok()?;
    Duration::try_from_secs_f64((uptime - ticks / TICKS_PER_SECOND).max(0.0)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_as_linux_writes_them() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t   12 kB\n"), Some(12_288.0));
        let limits = "Max open files            1024                 4096         files\n";
        assert_eq!(max_files(limits), Some(1_024.0));
        let stat =
            format!("7 (a b) c) S {}", (4..=40).map(|n| format!("{n}00 ")).collect::<String>());
        assert_eq!(age("100.5 3.0\n", &stat), Some(Duration::from_millis(78_500)));
        for odd in ["", "VmRSS: x kB", "Max open files unlimited"] {
            assert_eq!((resident_bytes(odd), max_files(odd), age(odd, odd)), (None, None, None));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_and_files() {
        let process = observe();
        assert!(process.resident_bytes.is_some_and(|bytes| bytes > 1e6), "{process:?}");
        assert!(process.open_files.is_some_and(|count| count >= 3.0), "{process:?}");
        assert!(process.started_at_seconds.is_some_and(|at| at > 1.7e9), "{process:?}");
    }
}
