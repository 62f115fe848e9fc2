//! How many threads compute.
//!
//! candle asks for the number of cores at every product of matrices, and on Linux it reads all of
//! `/proc/cpuinfo` to find it, unless `RAYON_NUM_THREADS` names it. For models as small as the
//! starters that reading costs more than a third of a search. A program cannot change its own
//! environment safely once it may have threads, so it is started anew with the variable set.

/// The variable that rayon and candle both follow.
const VARIABLE: &str = "RAYON_NUM_THREADS";

/// Starts this program anew, as the same process, with the number of threads in its environment,
/// unless it stands there already. Call it first of all. Where that is not possible it returns,
/// and everything works, only slower.
pub fn settle() {
    if std::env::var_os(VARIABLE).is_none() {
        start_anew();
    }
}

/// Physical cores, because two threads of one core multiply no faster than one; fewer where the
/// process may not use them all.
fn n_threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    num_cpus::get_physical().clamp(1, allowed)
}

#[cfg(unix)]
fn start_anew() {
    use std::os::unix::process::CommandExt;

    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    // It only comes back when it failed.
    let _ = command.args(arguments).env(VARIABLE, n_threads().to_string()).exec();
}

#[cfg(not(unix))]
fn start_anew() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_thread_and_never_more_than_may_run() {
        let allowed = std::thread::available_parallelism().unwrap().get();
        assert!((1..=allowed).contains(&n_threads()));
    }
}
