//! The checks that look at the machine: directory, disk, database, index, clock, limits.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use time::macros::datetime;

use super::{Check, address, models};
use crate::config::Config;
use crate::config::database::DatabaseUrl;
use crate::error::Result;
use crate::store::inspect::{IndexUse, Schema, index_use, schema};

const GIBIBYTE: u64 = 1 << 30;
/// Below it a server soon has to refuse documents.
const LITTLE_DISK_BYTES: u64 = GIBIBYTE;
/// Below it the database may not even take a key.
const NO_DISK_BYTES: u64 = 64 << 20;
/// Descriptors beside those of callers: the database, the index's segments, models.
const OWN_FILES: u64 = 512;
/// Files of tomorrow mean that the clock was set back; a little is only drift.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
/// No build of this program is older.
const EARLIEST: time::OffsetDateTime = datetime!(2026-01-01 0:00 UTC);

/// Looks at everything that a server needs.
///
/// # Errors
/// When the settings cannot be read; whatever is wrong with the machine is a check.
pub async fn all(config: &Config) -> Result<Vec<Check>> {
    let addresses = config.addresses()?;
    let is_elsewhere = |key: &str| addresses.contains_key(key);
    let dir = config.data.dir.as_path();
    let mut checks = vec![directory(dir), disk(dir)];
    if !is_elsewhere("database.url") {
        checks.push(database(dir, &config.database.url).await);
    }
    if !is_elsewhere("vectors.url") {
        checks.push(index(dir));
    }
    checks.extend(models::all(config, is_elsewhere("rewriter.url")).await?);
    for (key, url) in &addresses {
        checks.extend(address::reachable(key, url).await);
    }
    checks.extend([gpu(), threads(), clock(dir), open_files(config.http.max_connections)]);
    Ok(checks)
}

/// The directory itself, or the one that it would be made in.
fn existing(dir: &Path) -> PathBuf {
    let found = dir.ancestors().find(|path| path.is_dir());
    found.unwrap_or(Path::new("/")).to_owned()
}

fn directory(dir: &Path) -> Check {
    let name = "data directory";
    let target = existing(dir);
    let probe = target.join(format!(".querent-doctor-{}", std::process::id()));
    let written = fs_err::write(&probe, b"written and removed by querent doctor");
    let removed = written.and_then(|()| fs_err::remove_file(&probe));
    match removed {
        Err(error) => {
            let advice =
                "give the user that runs querent the right to write there, or set [data] dir";
            Check::fail(name, error.to_string(), advice)
        }
        Ok(()) if target == dir => Check::ok(name, format!("{} can be written", dir.display())),
        Ok(()) => Check::ok(name, format!("{} will be made at the first start", dir.display())),
    }
}

fn disk(dir: &Path) -> Check {
    let name = "disk";
    let Ok(free) = fs4::available_space(existing(dir)) else {
        return Check::warn(name, "how much is free cannot be told", "look at it with `df`");
    };
    let detail = format!("{:.1} GiB free for {}", free as f64 / GIBIBYTE as f64, dir.display());
    match free {
        0..NO_DISK_BYTES => {
            Check::fail(name, detail, "make room, or set [data] dir to a larger disk")
        }
        NO_DISK_BYTES..LITTLE_DISK_BYTES => {
            Check::warn(name, detail, "make room before documents are ingested")
        }
        _ => Check::ok(name, detail),
    }
}

async fn database(dir: &Path, url: &DatabaseUrl) -> Check {
    let name = "database";
    match schema(dir, url).await {
        Ok(Schema::Missing) => Check::ok(name, "none yet; it is made at the first start"),
        Ok(Schema::Known { applied, outstanding: 0 }) => {
            Check::ok(name, format!("answers; all {applied} migrations are applied"))
        }
        Ok(Schema::Known { outstanding, .. }) => {
            let detail = format!("answers; {outstanding} migrations are outstanding");
            Check::warn(
                name,
                detail,
                "back it up; the next start applies them, as does `querent migrate`",
            )
        }
        Ok(Schema::Foreign { migration }) => {
            let detail = format!("migration {migration} is not one of this version");
            Check::fail(name, detail, "run the querent that wrote it, or a newer one")
        }
        Err(error) => Check::fail(
            name,
            error.to_string(),
            "look at `[database] url` and its server; for SQLite, at querent.db and its rights",
        ),
    }
}

fn index(dir: &Path) -> Check {
    let name = "index";
    match index_use(dir) {
        Ok(IndexUse::Missing) => Check::ok(name, "none yet; it is built from the database"),
        Ok(IndexUse::Free) => Check::ok(name, "no other process uses it"),
        Ok(IndexUse::Taken) => {
            Check::ok(name, "a running querent uses it; a second one on this directory is refused")
        }
        Err(error) => {
            Check::fail(name, error.to_string(), "look at the rights of its `vectors` directory")
        }
    }
}

fn gpu() -> Check {
    let name = "gpu";
    let is_here = Path::new("/dev/nvidia0").exists();
    match (cfg!(feature = "cuda"), is_here) {
        (true, true) => Check::ok(name, "support is compiled in, and there is one"),
        (true, false) => {
            let advice = "start with the NVIDIA driver, or use a build without the feature `cuda`";
            Check::warn(name, "support is compiled in, and there is no /dev/nvidia0", advice)
        }
        (false, true) => {
            let detail = "there is one, and support is not compiled in: models run on the CPU";
            Check::ok(name, detail)
        }
        (false, false) => {
            Check::ok(name, "none, and no support compiled in: models run on the CPU")
        }
    }
}

/// The program starts itself anew with the variable set where it can ([`crate::model::threads`]).
fn threads() -> Check {
    let (name, variable) = ("threads", "RAYON_NUM_THREADS");
    match std::env::var(variable) {
        Ok(set) if set.parse::<usize>().is_ok_and(|n| n > 0) => {
            Check::ok(name, format!("{variable} is {set}"))
        }
        _ => {
            let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
            let advice = format!("set {variable}={n_threads} where the server is started");
            Check::warn(
                name,
                format!("{variable} is not set, which costs time at every step"),
                &advice,
            )
        }
    }
}

/// Dates in queries are resolved and keys expire by the clock.
fn clock(dir: &Path) -> Check {
    let (name, now) = ("clock", SystemTime::now());
    let advice = "set the clock; dates in queries and the expiry of keys depend on it";
    let shown = time::OffsetDateTime::from(now);
    if shown < EARLIEST {
        return Check::fail(name, format!("it says {}", shown.date()), advice);
    }
    let newest = fs_err::read_dir(dir).ok().into_iter().flatten().flatten();
    let newest = newest.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max();
    match newest {
        Some(newest) if newest > now + CLOCK_TOLERANCE => {
            Check::warn(name, "files of the data directory are from the future", advice)
        }
        _ => Check::ok(
            name,
            format!("{} {:02}:{:02} UTC", shown.date(), shown.hour(), shown.minute()),
        ),
    }
}

fn open_files(n_connections: usize) -> Check {
    let name = "open files";
    let wanted = n_connections as u64 + OWN_FILES;
    match rlimit::Resource::NOFILE.get() {
        Err(error) => Check::warn(name, error.to_string(), "look at it with `ulimit -n`"),
        Ok((limit, _)) if limit < wanted => {
            let detail = format!("{limit} allowed; [http] max_connections asks for {wanted}");
            Check::warn(
                name,
                detail,
                "raise it with `ulimit -n` or LimitNOFILE=, or lower max_connections",
            )
        }
        Ok((limit, _)) => Check::ok(name, format!("{limit} allowed")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_made_fails() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(directory(dir.path()).status, Status::Ok);
        assert_eq!(directory(&dir.path().join("a/b")).status, Status::Ok);
        assert!(!dir.path().join("a").exists() && dir.path().read_dir().unwrap().count() == 0);
        assert_eq!(directory(Path::new("/proc/nothing")).status, Status::Fail);
    }

    #[test]
    fn the_limit_of_files_is_held_against_the_connections() {
        assert_eq!(open_files(usize::MAX >> 8).status, Status::Warn);
        assert_eq!(open_files(0).status, Status::Ok);
    }
}
