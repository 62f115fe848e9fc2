//! Where training computes.

use candle_core::Device;

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
