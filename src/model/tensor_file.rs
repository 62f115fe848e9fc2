//! Tensors to and from safetensors bytes, in f32, f16, bf16 and the integer types that counters
//! need. What is written never depends on the order in which the caller lists its tensors.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Write};
use std::path::Path;

use candle_core::{DType, Device, Tensor, WithDType};
use half::{bf16, f16};
use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, TensorInfo};

use crate::error::{Error, Kind, Result};

/// Tensors by name, as a file holds them.
pub type NamedTensor = (String, Tensor);

/// What a file says of itself; always with `format: pt`, which older transformers insist on.
pub type FileMetadata = BTreeMap<String, String>;

/// The header's length is stored in this many bytes, and the data start at a multiple of them.
const ALIGNMENT_BYTES: usize = 8;
/// Values turned into bytes at a time.
const CHUNK_VALUES: usize = 16_384;

/// Writes one safetensors file and returns once the disk has it.
///
/// # Errors
/// As [`write_to`]; what was written of a file that failed is removed.
pub fn save(path: &Path, tensors: &[NamedTensor], metadata: &FileMetadata) -> Result<()> {
    let written = save_at(path, tensors, metadata);
    if written.is_err() {
        // The first error is the one worth telling; a file that cannot be removed changes nothing.
        fs_err::remove_file(path).ok();
    }
    written
}

/// The same file in memory.
///
/// # Errors
/// As [`write_to`].
pub fn to_bytes(tensors: &[NamedTensor], metadata: &FileMetadata) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_to(&mut bytes, Path::new("memory"), tensors, metadata)?;
    Ok(bytes)
}

/// Writes the header and then tensor after tensor, so that only one of them is ever held twice.
/// `path` is for messages only.
///
/// # Errors
/// `train_non_finite` before the first byte when a value is NaN or infinite; `tensor_file` for a
/// type that is not written or a name given twice; `disk_full`.
pub fn write_to(
    out: &mut impl Write,
    path: &Path,
    tensors: &[NamedTensor],
    metadata: &FileMetadata,
) -> Result<()> {
    check_finite(tensors)?;
    let ordered = ordered(tensors)?;
    let header = header(&ordered, metadata)?;
    let failed = |source| write_failed(path, source);
    out.write_all(&(header.len() as u64).to_le_bytes()).map_err(failed)?;
    out.write_all(&header).map_err(failed)?;
    for (_, tensor) in ordered {
        write_tensor(out, path, tensor)?;
    }
    Ok(())
}

/// Reads a file onto a device.
///
/// # Errors
/// `tensor_file` when the bytes are not a whole safetensors file.
pub fn load(path: &Path, device: &Device) -> Result<HashMap<String, Tensor>> {
    let bytes = fs_err::read(path)?;
    from_bytes(&bytes, device).map_err(|error| damaged(format!("{}: {error}", path.display())))
}

/// Reads a file into the memory of the processor.
///
/// # Errors
/// As [`load`].
pub fn load_cpu(path: &Path) -> Result<HashMap<String, Tensor>> {
    load(path, &Device::Cpu)
}

/// Reads a file onto the device that another tensor lies on.
///
/// # Errors
/// As [`load`].
pub fn load_beside(path: &Path, neighbour: &Tensor) -> Result<HashMap<String, Tensor>> {
    load(path, neighbour.device())
}

/// What [`to_bytes`] made, on a device.
///
/// # Errors
/// As [`load`].
pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<HashMap<String, Tensor>> {
    let parsed = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let read = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let dtype = DType::try_from(view.dtype())?;
        let tensor = Tensor::from_raw_buffer(view.data(), dtype, view.shape(), device)?;
        Ok((name.to_owned(), tensor))
    };
    parsed.iter().map(read).collect()
}

/// The shape of every tensor of a file, read from its header alone.
///
/// # Errors
/// `tensor_file` when the header cannot be read.
pub fn shapes(path: &Path) -> Result<BTreeMap<String, Vec<usize>>> {
    let mut file = fs_err::File::open(path)?;
    let described = read_header(&mut file).map_err(|error| {
        damaged(format!("{}: its header cannot be read: {error}", path.display()))
    })?;
    Ok(described.tensors().into_iter().map(|(name, info)| (name, info.shape.clone())).collect())
}

/// A tensor of the processor's memory.
///
/// # Errors
/// When the shape does not hold as many values.
pub fn on_cpu(values: Vec<f32>, shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// Refuses tensors with a value that is NaN or infinite, naming the first.
///
/// # Errors
/// `train_non_finite`.
pub fn check_finite(tensors: &[NamedTensor]) -> Result<()> {
    for (name, tensor) in tensors {
        if tensor.dtype().is_float() && !is_finite(tensor)? {
            return Err(Error::invalid(
                "train_non_finite",
                format!(
                    "tensor `{name}` holds a value that is not a finite number, so it was not \
                     saved; lower the learning rate and resume from the last checkpoint"
                ),
            ));
        }
    }
    Ok(())
}

/// The error of a write that failed; a full disk is said as such.
pub fn write_failed(path: &Path, source: io::Error) -> Error {
    let shown = path.display();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::new(
            Kind::Unavailable,
            "disk_full",
            format!(
                "the disk is full: {shown} could not be written; free space or choose another folder, then run again"
            ),
        ),
        _ => Error::new(Kind::Unavailable, "disk_write", format!("{shown} could not be written"))
            .caused_by(source),
    }
}

fn save_at(path: &Path, tensors: &[NamedTensor], metadata: &FileMetadata) -> Result<()> {
    let failed = |source| write_failed(path, source);
    let mut file = fs_err::File::create(path).map_err(failed)?;
    write_to(&mut file, path, tensors, metadata)?;
    file.sync_all().map_err(failed)
}

/// Zero times a finite number is zero; times NaN or infinity it is NaN. Unlike a sum of the values
/// or their maximum this cannot overflow and does not depend on how a device compares NaN.
fn is_finite(tensor: &Tensor) -> Result<bool> {
    let zeros = tensor.detach().affine(0.0, 0.0)?.to_dtype(DType::F32)?;
    Ok(zeros.sum_all()?.to_scalar::<f32>()? == 0.0)
}

/// Widest types first, as the format's own library aligns them, then by name.
fn ordered(tensors: &[NamedTensor]) -> Result<Vec<(&str, &Tensor)>> {
    let mut ordered: Vec<(&str, &Tensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let width = |tensor: &Tensor| tensor.dtype().size_in_bytes();
    ordered.sort_by(|a, b| width(b.1).cmp(&width(a.1)).then(a.0.cmp(b.0)));
    let mut names: Vec<&str> = ordered.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(damaged(format!("two tensors are called `{}`", pair[0]))),
        None => Ok(ordered),
    }
}

fn header(tensors: &[(&str, &Tensor)], metadata: &FileMetadata) -> Result<Vec<u8>> {
    let mut offset = 0;
    let mut infos = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let end = offset + tensor.elem_count() * tensor.dtype().size_in_bytes();
        let dtype = tensor.dtype().into();
        let data_offsets = (offset, end);
        infos.push((
            (*name).to_owned(),
            TensorInfo { dtype, shape: tensor.dims().to_vec(), data_offsets },
        ));
        offset = end;
    }
    let mut said: HashMap<String, String> = metadata.clone().into_iter().collect();
    said.insert("format".into(), "pt".into());
    let described = Metadata::new(Some(said), infos).map_err(damaged)?;
    let mut bytes = serde_json::to_vec(&described)?;
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT_BYTES), b' ');
    Ok(bytes)
}

fn read_header(file: &mut impl Read) -> Result<Metadata> {
    let mut length = [0; ALIGNMENT_BYTES];
    file.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let mut json = Vec::new();
    file.take(length).read_to_end(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

fn write_tensor(out: &mut impl Write, path: &Path, tensor: &Tensor) -> Result<()> {
    match tensor.dtype() {
        DType::F32 => write_values(out, path, tensor, f32::to_le_bytes),
        DType::F16 => write_values(out, path, tensor, f16::to_le_bytes),
        DType::BF16 => write_values(out, path, tensor, bf16::to_le_bytes),
        DType::U32 => write_values(out, path, tensor, u32::to_le_bytes),
        DType::I64 => write_values(out, path, tensor, i64::to_le_bytes),
        DType::U8 => write_values(out, path, tensor, u8::to_le_bytes),
        other => Err(damaged(format!("tensors of type {other:?} are not written"))),
    }
}

fn write_values<T: WithDType, const N: usize>(
    out: &mut impl Write,
    path: &Path,
    tensor: &Tensor,
    to_bytes: impl Fn(T) -> [u8; N],
) -> Result<()> {
    let values = tensor.flatten_all()?.to_vec1::<T>()?;
    for chunk in values.chunks(CHUNK_VALUES) {
        let bytes: Vec<u8> = chunk.iter().flat_map(|value| to_bytes(*value)).collect();
        out.write_all(&bytes).map_err(|source| write_failed(path, source))?;
    }
    Ok(())
}

fn damaged(message: impl std::fmt::Display) -> Error {
    Error::invalid("tensor_file", message.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        on_cpu((0..n).map(|value| value as f32 / 8.0 - 1.0).collect(), shape).unwrap()
    }

    fn named(name: &str, tensor: Tensor) -> NamedTensor {
        (name.to_owned(), tensor)
    }

    #[test]
    fn tensors_come_back_with_their_types_and_the_order_given_does_not_show() {
        let transposed = ramp(&[3, 2]).t().unwrap();
        let tensors = [
            named("b", transposed.clone()),
            named("a", ramp(&[4]).to_dtype(DType::BF16).unwrap()),
            named("c", ramp(&[2, 2]).to_dtype(DType::F16).unwrap()),
            named("empty", ramp(&[0, 3])),
        ];
        let bytes = to_bytes(&tensors, &FileMetadata::new()).unwrap();
        let turned: Vec<NamedTensor> = tensors.iter().rev().cloned().collect();
        assert_eq!(to_bytes(&turned, &FileMetadata::new()).unwrap(), bytes);
        let read = from_bytes(&bytes, &Device::Cpu).unwrap();
        assert_eq!(read.len(), 4);
        assert_eq!(read["b"].to_vec2::<f32>().unwrap(), transposed.to_vec2::<f32>().unwrap());
        assert_eq!((read["a"].dtype(), read["c"].dtype()), (DType::BF16, DType::F16));
        let halves = read["a"].to_dtype(DType::F32).unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(halves, [-1.0, -0.875, -0.75, -0.625]);
        let (_, described) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(described.metadata().as_ref().unwrap()["format"], "pt");
    }

    #[test]
    fn shapes_come_from_the_header_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.safetensors");
        save(&path, &[named("x", ramp(&[2, 5]))], &FileMetadata::new()).unwrap();
        assert_eq!(shapes(&path).unwrap()["x"], [2, 5]);
        fs_err::write(&path, b"no").unwrap();
        assert_eq!(shapes(&path).unwrap_err().code, "tensor_file");
    }

    #[test]
    fn a_value_that_is_not_finite_is_refused_by_name_and_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.safetensors");
        for (bad, dtype) in
            [(f32::NAN, DType::F32), (f32::INFINITY, DType::BF16), (f32::NEG_INFINITY, DType::F16)]
        {
            let tensor = on_cpu(vec![0.0, bad, 1.0], &[3]).unwrap().to_dtype(dtype).unwrap();
            let tensors = [named("good", ramp(&[2])), named("layers.0.bad", tensor)];
            let error = save(&path, &tensors, &FileMetadata::new()).unwrap_err();
            assert_eq!(error.code, "train_non_finite");
            assert!(error.message.contains("layers.0.bad"), "{error}");
            assert!(!path.exists());
        }
        let great = on_cpu(vec![f32::MAX, f32::MAX], &[2]).unwrap();
        save(&path, &[named("great", great)], &FileMetadata::new()).unwrap();
    }

    #[test]
    fn a_full_disk_is_one_sentence() {
        let mut full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let tensors = [named("x", ramp(&[9]))];
        let path = Path::new("/out/x.safetensors");
        let error = write_to(&mut full, path, &tensors, &FileMetadata::new()).unwrap_err();
        assert_eq!(error.code, "disk_full");
        assert!(error.to_string().starts_with("the disk is full: /out/x.safetensors"), "{error}");
        let quota = write_failed(path, io::Error::from(io::ErrorKind::QuotaExceeded));
        assert_eq!(quota.code, "disk_full");
        let other = write_failed(path, io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(other.code, "disk_write");
    }

    #[test]
    fn two_tensors_of_one_name_and_damaged_bytes_are_refused() {
        let twice = [named("x", ramp(&[1])), named("x", ramp(&[2]))];
        assert_eq!(to_bytes(&twice, &FileMetadata::new()).unwrap_err().code, "tensor_file");
        let bytes = to_bytes(&twice[..1], &FileMetadata::new()).unwrap();
        let error = from_bytes(&bytes[..bytes.len() - 1], &Device::Cpu).unwrap_err();
        assert_eq!(error.code, "tensor_file");
    }
}
