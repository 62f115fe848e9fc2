//! Whether a model fits the memory that is left, before any of it is loaded: a server that is
//! killed for memory tells nobody why.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::GgmlDType;
use serde::Deserialize;

use super::files::ModelFolder;
use super::qwen::{GgufWeights, QwenConfig};
use crate::error::{Error, Kind, Result};

/// Bytes of the numbers that dense tensors are computed with.
const F32_BYTES: u64 = 4;
/// A header beyond this is no header of weights.
const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Shown figures are in these.
const GIGABYTE: f64 = 1e9;

/// The bytes that weights take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Once they are loaded.
    pub resident: u64,
    /// And beside that for a while, as they are loaded.
    pub loading: u64,
}

/// Refuses a model whose weights, `n_copies` times, and a cache of `cache_bytes` do not fit.
///
/// # Errors
/// `model_memory` with both figures and what to do, `model_files` or `model_weights` for weights
/// that cannot be measured.
pub fn check(folder: &ModelFolder, n_copies: u64, cache_bytes: u64) -> Result<()> {
    let Some(available) = available_bytes() else { return Ok(()) };
    let weights = footprint(folder)?;
    let resident = weights.resident.saturating_mul(n_copies);
    let needed = resident.saturating_add(weights.loading).saturating_add(cache_bytes);
    if needed <= available {
        return Ok(());
    }
    let message = format!(
        "{} needs {} of memory (weights {}, loading {}, cache {}) and {} is available; use a \
         smaller or a quantised (GGUF) model, or let a server rewrite: [rewriter] url",
        folder.name(),
        shown(needed),
        shown(resident),
        shown(weights.loading),
        shown(cache_bytes),
        shown(available),
    );
    Err(Error::new(Kind::TooLarge, "model_memory", message))
}

/// The keys and values of `n_tokens` of one row.
pub fn cache_bytes(config: &QwenConfig, n_tokens: usize) -> u64 {
    let per_token = 2 * config.n_layers * config.n_kv_heads * config.head_dim;
    (per_token as u64).saturating_mul(n_tokens as u64).saturating_mul(F32_BYTES)
}

/// The weights as this server holds them: dense ones as f32, quantised matrices as they are.
///
/// # Errors
/// `model_files` or `model_weights` for files that cannot be read.
pub fn footprint(folder: &ModelFolder) -> Result<Footprint> {
    match folder.gguf() {
        Some(path) => of_gguf(path),
        None => of_safetensors(&folder.safetensors()?),
    }
}

fn of_gguf(path: &Path) -> Result<Footprint> {
    let weights = GgufWeights::open(path, &Device::Cpu)?;
    let mut footprint = Footprint { resident: 0, loading: 0 };
    for (name, info) in &weights.content().tensor_infos {
        let dims = info.shape.dims();
        let n_elements = elements(dims.iter().map(|dim| *dim as u64));
        let blocks = n_elements / info.ggml_dtype.block_size() as u64;
        let stored = blocks.saturating_mul(info.ggml_dtype.type_size() as u64);
        let is_dense = matches!(info.ggml_dtype, GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16)
            || dims.len() < 2
            || name == "token_embd.weight";
        let held = if is_dense { n_elements.saturating_mul(F32_BYTES) } else { stored };
        footprint.resident = footprint.resident.saturating_add(held);
        footprint.loading = footprint.loading.max(stored);
    }
    Ok(footprint)
}

fn of_safetensors(files: &[PathBuf]) -> Result<Footprint> {
    let mut footprint = Footprint { resident: 0, loading: 0 };
    for file in files {
        let held = n_elements(file)?.saturating_mul(F32_BYTES);
        footprint.resident = footprint.resident.saturating_add(held);
        // A whole file is read before its tensors are made.
        footprint.loading = footprint.loading.max(fs_err::metadata(file)?.len());
    }
    Ok(footprint)
}

/// Numbers in a safetensors file, by its header.
fn n_elements(path: &Path) -> Result<u64> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        shape: Vec<u64>,
    }
    let damaged = |what: &dyn std::fmt::Display| {
        Error::invalid("model_weights", format!("{}: {what}", path.display()))
    };
    let mut file = fs_err::File::open(path)?;
    let mut n_bytes = [0; 8];
    file.read_exact(&mut n_bytes).map_err(|error| damaged(&error))?;
    let n_bytes = u64::from_le_bytes(n_bytes);
    if n_bytes > MAX_HEADER_BYTES {
        return Err(damaged(&format!("its header claims {n_bytes} bytes")));
    }
    let mut header = Vec::new();
    file.take(n_bytes).read_to_end(&mut header)?;
    let entries: BTreeMap<String, Entry> =
        serde_json::from_slice(&header).map_err(|error| damaged(&error))?;
    let tensors = entries.into_iter().filter(|(name, _)| name != "__metadata__");
    let each = tensors.map(|(_, entry)| elements(entry.shape.into_iter()));
    Ok(each.fold(0, u64::saturating_add))
}

fn elements(dims: impl Iterator<Item = u64>) -> u64 {
    dims.fold(1, u64::saturating_mul)
}

/// Memory that this process may still take; none where the system does not say (not Linux).
pub fn available_bytes() -> Option<u64> {
    let machine = of_machine(&fs_err::read_to_string("/proc/meminfo").ok()?)?;
    Some(of_groups().map_or(machine, |group| group.min(machine)))
}

/// `MemAvailable` of `/proc/meminfo`.
fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The least that a control group (v2) of this process, or one around it, leaves.
fn of_groups() -> Option<u64> {
    let groups = fs_err::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let root = Path::new("/sys/fs/cgroup");
    let dir = root.join(own.trim_start_matches('/'));
    let within = dir.ancestors().take_while(|dir| dir.starts_with(root));
    within.filter_map(of_group).min()
}

fn of_group(dir: &Path) -> Option<u64> {
    let read = |name: &str| fs_err::read_to_string(dir.join(name)).ok();
    left_in_group(&read("memory.max")?, &read("memory.current")?, &read("memory.stat")?)
}

/// What a group leaves. The file cache counts as used there, but gives way.
fn left_in_group(max: &str, current: &str, stat: &str) -> Option<u64> {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let gives_way = |name: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(number).unwrap_or(0)
    };
    let cache = gives_way("inactive_file") + gives_way("active_file");
    // Without a limit `max` is the word.
    Some(number(max)?.saturating_sub(number(current)?.saturating_sub(cache)))
}

fn shown(n_bytes: u64) -> String {
    let gigabytes = n_bytes as f64 / GIGABYTE;
    if gigabytes < 0.1 { format!("{:.3} GB", gigabytes) } else { format!("{gigabytes:.1} GB") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_and_the_group_say_what_is_left() {
        let meminfo = "MemTotal: 8 kB\nMemFree: 1 kB\nMemAvailable:       5 kB\n";
        assert_eq!(of_machine(meminfo), Some(5 * 1024));
        assert_eq!(of_machine("MemTotal: 8 kB\n"), None);
        let stat = "anon 500\nfile 450\ninactive_file 100\nactive_file 200\n";
        assert_eq!(left_in_group("1000\n", "900\n", stat), Some(400));
        assert_eq!(left_in_group("1000\n", "2000\n", ""), Some(0));
        assert_eq!(left_in_group("max\n", "900\n", stat), None);
        assert!(cfg!(not(target_os = "linux")) || available_bytes().is_some_and(|left| left > 0));
    }

    #[test]
    fn weights_are_measured_by_their_headers() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures");
        for name in ["qwen3-tiny", "qwen3-tiny.gguf"] {
            let path = fixtures.join(name);
            let folder = ModelFolder::open(&path).unwrap();
            let measured = footprint(&folder).unwrap();
            assert!(measured.resident > 0 && measured.loading > 0, "{name}: {measured:?}");
            check(&folder, 2, 0).unwrap();
            let error = check(&folder, 1, u64::MAX / 2).unwrap_err();
            assert_eq!(error.code, "model_memory");
        }
    }

    #[test]
    fn a_half_float_starter_takes_twice_its_file() {
        let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/starter-rewriter");
        let measured = footprint(&ModelFolder::open(&starter).unwrap()).unwrap();
        let on_disk = std::fs::metadata(starter.join("model.safetensors")).unwrap().len();
        assert_eq!(measured.loading, on_disk);
        let ratio = measured.resident as f64 / on_disk as f64;
        assert!((1.9..=2.0).contains(&ratio), "{ratio}");
    }
}
