//! The device's memory, held as long as it is needed, and what of it was held at once.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytemuck::Pod;

use super::driver::{Address, Argument, Driver, Launch, Numbers, Product};
use super::{CudaError, Description, Free};
use crate::kernels::KernelTime;

/// A device, shared by all that lies on it.
#[derive(Debug, Clone)]
pub(crate) struct Device(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    driver: Box<dyn Driver>,
    held: AtomicUsize,
    most_held: AtomicUsize,
    /// Launches and seconds by kernel, where they are timed.
    profile: Mutex<Option<BTreeMap<String, (u64, f64)>>>,
    is_profiled: AtomicBool,
}

impl Device {
    pub(crate) fn new(driver: impl Driver + 'static) -> Self {
        Self(Arc::new(Shared {
            driver: Box::new(driver),
            held: AtomicUsize::new(0),
            most_held: AtomicUsize::new(0),
            profile: Mutex::default(),
            is_profiled: AtomicBool::new(false),
        }))
    }

    /// What it is.
    pub(crate) fn description(&self) -> &Description {
        self.0.driver.description()
    }

    /// Runs a kernel; [`Driver::launch`].
    pub(crate) fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: usize,
        shared: usize,
        arguments: &[Argument],
    ) -> Result<(), CudaError> {
        let grid = grid.map(|blocks| u32::try_from(blocks).expect("it fits 32 bits"));
        let launch = Launch { kernel, grid, threads: threads as u32, shared: shared as u32 };
        self.timed(|| kernel.to_owned(), || self.0.driver.launch(&launch, arguments))
    }

    /// Multiplies matrices; [`Driver::multiply`].
    pub(crate) fn multiply(&self, product: &Product) -> Result<(), CudaError> {
        let Product { left, right, batches, .. } = product;
        let name = || match batches {
            1 if right.transposed => format!("product by [{}, {}], transposed", right.columns, right.rows),
            1 if left.transposed => format!("product to [{}, {}]", left.rows, right.columns),
            1 => format!("product by [{}, {}]", right.rows, right.columns),
            _ => "products of a batch".into(),
        };
        self.timed(name, || self.0.driver.multiply(product))
    }

    /// Does something on the device; waits for it, and keeps the time, where that is wanted.
    fn timed(
        &self,
        name: impl FnOnce() -> String,
        work: impl FnOnce() -> Result<(), CudaError>,
    ) -> Result<(), CudaError> {
        if !self.0.is_profiled.load(Ordering::Relaxed) {
            return work();
        }
        let started = Instant::now();
        work()?;
        self.0.driver.synchronize()?;
        if let Some(times) = &mut *self.0.profile.lock().unwrap_or_else(PoisonError::into_inner) {
            let time = times.entry(name()).or_default();
            *time = (time.0 + 1, time.1 + started.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// Times each kernel from now on, and waits for it.
    pub(crate) fn start_profile(&self) {
        *self.0.profile.lock().unwrap_or_else(PoisonError::into_inner) = Some(BTreeMap::new());
        self.0.is_profiled.store(true, Ordering::Relaxed);
    }

    /// What kernels took since then, the longest first.
    pub(crate) fn profile(&self) -> Vec<KernelTime> {
        let times = self.0.profile.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
        let mut times: Vec<KernelTime> =
            times.into_iter().map(|(name, (launches, seconds))| KernelTime { name, launches, seconds }).collect();
        times.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
        times
    }

    /// Waits until all that was asked is done.
    #[cfg(test)]
    pub(crate) fn synchronize(&self) -> Result<(), CudaError> {
        self.0.driver.synchronize()
    }

    /// How much memory is free now.
    pub(crate) fn memory(&self) -> Result<Free, CudaError> {
        self.0.driver.memory()
    }

    /// The most bytes that were held at once since the last [`Device::forget_most_held`].
    pub(crate) fn most_held(&self) -> usize {
        self.0.most_held.load(Ordering::Relaxed)
    }

    /// Counts the most bytes held from now on.
    pub(crate) fn forget_most_held(&self) {
        self.0.most_held.store(self.0.held.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Numbers in the device's memory.
#[derive(Debug)]
pub(crate) struct Buffer<T> {
    device: Device,
    address: Address,
    length: usize,
    numbers: PhantomData<T>,
}

impl<T: Pod> Buffer<T> {
    /// Room for `length` numbers, which are not defined yet.
    ///
    /// # Errors
    /// [`CudaError::OutOfMemory`] where there is too little.
    pub(crate) fn new(device: &Device, length: usize) -> Result<Self, CudaError> {
        let bytes = (length * size_of::<T>()).max(1);
        let address = device.0.driver.allocate(bytes)?;
        let held = device.0.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        device.0.most_held.fetch_max(held, Ordering::Relaxed);
        Ok(Self { device: device.clone(), address, length, numbers: PhantomData })
    }

    /// Zeros.
    ///
    /// # Errors
    /// As [`Buffer::new`].
    pub(crate) fn zeros(device: &Device, length: usize) -> Result<Self, CudaError> {
        let mut buffer = Self::new(device, length)?;
        buffer.fill_with_zeros()?;
        Ok(buffer)
    }

    /// A copy of what the host has.
    ///
    /// # Errors
    /// As [`Buffer::new`].
    pub(crate) fn from_slice(device: &Device, values: &[T]) -> Result<Self, CudaError> {
        let mut buffer = Self::new(device, values.len())?;
        buffer.write(0, values)?;
        Ok(buffer)
    }

    /// How many numbers it holds.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Makes room for `length` numbers where there is less; what stood there is lost then.
    ///
    /// # Errors
    /// As [`Buffer::new`].
    pub(crate) fn grow(&mut self, length: usize) -> Result<(), CudaError> {
        if self.length < length {
            let device = self.device.clone();
            // The old room goes first, so that both need not fit.
            *self = Self::new(&device, 0)?;
            *self = Self::new(&device, length)?;
        }
        Ok(())
    }

    /// All of it.
    pub(crate) fn view(&self) -> View<T> {
        View { address: self.address, length: self.length, numbers: PhantomData }
    }

    /// Writes numbers from place `first` on.
    ///
    /// # Errors
    /// As CUDA says.
    pub(crate) fn write(&mut self, first: usize, values: &[T]) -> Result<(), CudaError> {
        let to = self.view().part(first, values.len());
        self.device.0.driver.upload(bytemuck::cast_slice(values), to.address)
    }

    /// Reads numbers from place `first` on, and waits for them.
    ///
    /// # Errors
    /// As CUDA says, also of what was asked before.
    pub(crate) fn read(&self, first: usize, values: &mut [T]) -> Result<(), CudaError> {
        let from = self.view().part(first, values.len());
        self.device.0.driver.download(from.address, bytemuck::cast_slice_mut(values))
    }

    /// All numbers.
    ///
    /// # Errors
    /// As [`Buffer::read`].
    pub(crate) fn to_vec(&self) -> Result<Vec<T>, CudaError> {
        let mut values = vec![T::zeroed(); self.length];
        self.read(0, &mut values)?;
        Ok(values)
    }

    /// Sets all to 0.
    ///
    /// # Errors
    /// As CUDA says.
    pub(crate) fn fill_with_zeros(&mut self) -> Result<(), CudaError> {
        self.device.0.driver.zero(self.address, self.length * size_of::<T>())
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        let bytes = (self.length * size_of::<T>()).max(1);
        self.device.0.held.fetch_sub(bytes, Ordering::Relaxed);
        self.device.0.driver.free(self.address, bytes);
    }
}

/// Where numbers lie on the device. It does not keep them there: whoever launches a kernel holds the buffer.
#[derive(Debug)]
pub(crate) struct View<T> {
    address: Address,
    length: usize,
    numbers: PhantomData<T>,
}

impl<T> Clone for View<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for View<T> {}

impl<T> View<T> {
    /// The first number's address.
    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// How many numbers it spans.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// `length` numbers from place `first` on.
    ///
    /// # Panics
    /// Where they are not all within.
    pub(crate) fn part(&self, first: usize, length: usize) -> Self {
        assert!(first + length <= self.length, "{first} + {length} of {}", self.length);
        Self { address: self.address.plus(first * size_of::<T>()), length, numbers: PhantomData }
    }
}

impl<T> From<View<T>> for Argument {
    fn from(view: View<T>) -> Self {
        Self::Address(view.address)
    }
}

/// Activations: bfloat16 or float32, as the job's precision says.
#[derive(Debug)]
pub(crate) struct Tensor {
    numbers: Numbers,
    buffer: Buffer<u8>,
}

impl Tensor {
    /// Room for `length` numbers, which are not defined yet.
    ///
    /// # Errors
    /// As [`Buffer::new`].
    pub(crate) fn new(device: &Device, numbers: Numbers, length: usize) -> Result<Self, CudaError> {
        Ok(Self { numbers, buffer: Buffer::new(device, length * numbers.bytes())? })
    }

    /// Numbers of the host, rounded.
    ///
    /// # Errors
    /// As [`Buffer::new`].
    pub(crate) fn from_slice(device: &Device, numbers: Numbers, values: &[f32]) -> Result<Self, CudaError> {
        let buffer = match numbers {
            Numbers::Float32 => Buffer::from_slice(device, bytemuck::cast_slice(values))?,
            Numbers::Bf16 => {
                let rounded: Vec<u16> = values.iter().map(|value| half::bf16::from_f32(*value).to_bits()).collect();
                Buffer::from_slice(device, bytemuck::cast_slice(&rounded))?
            }
        };
        Ok(Self { numbers, buffer })
    }

    /// As [`Buffer::grow`].
    ///
    /// # Errors
    /// As [`Buffer::new`].
    pub(crate) fn grow(&mut self, length: usize) -> Result<(), CudaError> {
        self.buffer.grow(length * self.numbers.bytes())
    }

    /// Its numbers.
    pub(crate) fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// The first number's address.
    pub(crate) fn address(&self) -> Address {
        self.buffer.view().address()
    }

    /// All numbers, on the host.
    ///
    /// # Errors
    /// As [`Buffer::read`].
    pub(crate) fn to_vec(&self) -> Result<Vec<f32>, CudaError> {
        let bytes = self.buffer.to_vec()?;
        Ok(match self.numbers {
            Numbers::Float32 => bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect(),
            Numbers::Bf16 => bytes.as_chunks().0.iter().map(|two| half::bf16::from_le_bytes(*two).to_f32()).collect(),
        })
    }
}
