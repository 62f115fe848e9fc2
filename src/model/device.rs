//! Where training computes.

use candle_core::{DType, Device};

use crate::error::Result;

/// The first CUDA device where this program was built for CUDA and there is one, else the CPU. A
/// CUDA device has one real stream, so that whichever thread submits, the order of the program
/// holds; use it from one thread all the same.
pub fn best() -> Result<Device> {
    if cfg!(feature = "cuda") && candle_core::utils::cuda_is_available() {
        Ok(Device::new_cuda_with_stream(0)?)
    } else {
        Ok(Device::Cpu)
    }
}

/// The processor, for what is only read.
pub fn cpu() -> Device {
    Device::Cpu
}

/// What training computes in: bf16 on a GPU, f32 on the processor, unless it is asked for.
pub fn training_dtype(device: &Device, bf16: Option<bool>) -> DType {
    if bf16.unwrap_or(device.is_cuda()) { DType::BF16 } else { DType::F32 }
}
