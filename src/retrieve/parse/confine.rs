//! A process that gives up what it does not need before it reads what a stranger wrote.
//!
//! Afterwards it has a bounded amount of memory and time, writes no file, opens nothing, connects
//! to nothing and starts nothing: on Linux the kernel refuses all but a few system calls, and of
//! reading and writing all but the pipes it was started with. Whatever a parser is made to do by a
//! hostile file ends there.

use rlimit::Resource;

use crate::error::{Error, Result};

/// Descriptors that may be open; a parser opens none.
const MAX_OPEN_FILES: u64 = 16;

/// How much a process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Address space beyond what is in use when the limit is set.
    pub memory_bytes: u64,
    /// Computing time in all.
    pub cpu_seconds: u64,
}

/// Confines this process, for good.
///
/// # Errors
/// `Kind::Internal` when the system refuses a limit or the filter; the process must not go on to
/// read anything then.
pub fn confine(limits: Limits) -> Result<()> {
    let memory = address_space_bytes()?.saturating_add(limits.memory_bytes);
    // The first of the two ends the process with a signal that can be told apart.
    let (soft, hard) = (limits.cpu_seconds, limits.cpu_seconds.saturating_add(1));
    for (resource, soft, hard) in [
        (Resource::AS, memory, memory),
        (Resource::CPU, soft, hard),
        (Resource::NOFILE, MAX_OPEN_FILES, MAX_OPEN_FILES),
        (Resource::FSIZE, 0, 0),
        (Resource::CORE, 0, 0),
    ] {
        resource.set(soft, hard).map_err(|error| Error::failed("limit a parser", error))?;
    }
    #[cfg(target_os = "linux")]
    filter::install()?;
    Ok(())
}

/// The address space in use. The program's own file counts, and the models are in it.
#[cfg(target_os = "linux")]
fn address_space_bytes() -> Result<u64> {
    let status = fs_err::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    let kibibytes = kibibytes.ok_or_else(|| Error::internal("/proc/self/status has no VmSize"))?;
    Ok(kibibytes.saturating_mul(1024))
}

/// Elsewhere nothing tells it cheaply: this is more than a program maps when it starts.
#[cfg(not(target_os = "linux"))]
fn address_space_bytes() -> Result<u64> {
    Ok(1 << 32)
}

#[cfg(target_os = "linux")]
mod filter {
    //! The system calls that are left. What is not named here answers `EPERM`.

    use std::collections::BTreeMap;
    use std::io::{stderr, stdin, stdout};
    use std::os::fd::AsRawFd;

    use seccompiler::SeccompCmpArgLen::Dword;
    use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
    use seccompiler::{
        BackendError, BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule,
        TargetArch,
    };

    use crate::error::{Error, Result};

    /// Memory, locks, the clock, signals to itself and the end.
    const ALLOWED: [i64; 21] = [
        libc::SYS_brk,
        libc::SYS_clock_gettime,
        libc::SYS_close,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_gettid,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_set_robust_list,
        libc::SYS_sigaltstack,
        libc::SYS_uname,
    ];

    pub(super) fn install() -> Result<()> {
        let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(unusable)?;
        let filter = SeccompFilter::new(
            rules().map_err(unusable)?,
            SeccompAction::Errno(libc::EPERM.unsigned_abs()),
            SeccompAction::Allow,
            arch,
        );
        let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(unusable)?;
        seccompiler::apply_filter_all_threads(&program).map_err(unusable)
    }

    fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::failed("filter the system calls of a parser", error)
    }

    fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
        let pipe = |fd: i32| condition(0, Eq, i64::from(fd));
        let into = [stdout().as_raw_fd(), stderr().as_raw_fd()];
        let not_executable = || condition(2, MaskedEq(bits(libc::PROT_EXEC)), 0);
        let anonymous = bits(libc::MAP_ANONYMOUS);
        let itself = i64::from(std::process::id());
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            ALLOWED.into_iter().map(|call| (call, Vec::new())).collect();
        // Only the pipes that it was started with: a descriptor of the server that slipped
        // through is of no use.
        rules.insert(libc::SYS_read, vec![all([pipe(stdin().as_raw_fd())?])?]);
        for call in [libc::SYS_write, libc::SYS_writev] {
            let each = into.into_iter().map(|fd| all([pipe(fd)?]));
            rules.insert(call, each.collect::<Result<_, _>>()?);
        }
        // Memory that is no file, and none that can be executed.
        let anonymous = condition(3, MaskedEq(anonymous), anonymous.cast_signed())?;
        rules.insert(libc::SYS_mmap, vec![all([not_executable()?, anonymous])?]);
        rules.insert(libc::SYS_mprotect, vec![all([not_executable()?])?]);
        // `abort` sends its signal this way.
        rules.insert(libc::SYS_tgkill, vec![all([condition(0, Eq, itself)?])?]);
        Ok(rules)
    }

    fn bits(flag: i32) -> u64 {
        u64::from(flag.unsigned_abs())
    }

    fn condition(
        argument: u8,
        operator: seccompiler::SeccompCmpOp,
        value: i64,
    ) -> Result<SeccompCondition, BackendError> {
        SeccompCondition::new(argument, Dword, operator, value.cast_unsigned())
    }

    fn all<const N: usize>(conditions: [SeccompCondition; N]) -> Result<SeccompRule, BackendError> {
        SeccompRule::new(conditions.into())
    }
}
