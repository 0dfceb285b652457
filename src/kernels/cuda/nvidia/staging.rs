//! Copies between host and device, through memory that the device reads and writes by itself: from any other, the
//! driver would copy piece by piece while the caller waits.

use cudarc::driver::result;
use cudarc::driver::sys;

use super::context::Context;
use super::failure::text;
use super::ring::{Piece, Ring};
use crate::kernels::cuda::CudaError;

/// Small copies of several steps fit a slot; pieces are long enough for the bus's full speed.
const SLOT: usize = 4 << 20;
const UPLOAD_SLOTS: usize = 4;
/// One is filled while the other is read.
const DOWNLOAD_SLOTS: usize = 2;

/// The host's memory that the device can reach, with an event for each slot.
#[derive(Debug)]
struct Pinned {
    start: *mut u8,
    events: Vec<sys::CUevent>,
}

// SAFETY: the memory belongs to this alone, and CUDA's handles may be used by any thread.
unsafe impl Send for Pinned {}

impl Pinned {
    fn new(context: &Context, slots: usize) -> Result<Self, CudaError> {
        let what = "take memory of the host";
        context.bind()?;
        // SAFETY: what stands in it is not read before it is written.
        let start = unsafe { result::malloc_host(slots * SLOT, 0) };
        // Not by way of the context: it is not the GPU that is out of memory here.
        let start = start.map_err(|error| CudaError::Failed { what, message: text(error) })?.cast();
        let mut pinned = Self { start, events: Vec::new() };
        for _ in 0..slots {
            // Without times an event costs less.
            let event = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING);
            pinned.events.push(context.check(what, event)?);
        }
        Ok(pinned)
    }

    /// Marks all that was asked so far.
    fn mark(&self, context: &Context, slot: usize) -> Result<(), CudaError> {
        // SAFETY: event and stream are of one context.
        context.check("record an event", unsafe { result::event::record(self.events[slot], context.stream()) })
    }

    /// Waits for what was marked.
    fn wait(&self, context: &Context, slot: usize, what: &'static str) -> Result<(), CudaError> {
        // SAFETY: the event is ours.
        context.check(what, unsafe { result::event::synchronize(self.events[slot]) })
    }

    /// `length` bytes from `place` on, which must be within the slots.
    ///
    /// # Safety
    /// No copy may be on its way there, and no other such slice be in use.
    unsafe fn part(&mut self, place: usize, length: usize) -> &mut [u8] {
        assert!(place + length <= self.events.len() * SLOT);
        // SAFETY: within what was allocated; the caller says that nobody else uses it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(place), length) }
    }
}

impl Drop for Pinned {
    /// The driver's drop has bound the context and waited for all copies; where only opening failed, there were none.
    fn drop(&mut self) {
        for event in &self.events {
            // SAFETY: the event is ours, and used no more.
            let _ = unsafe { result::event::destroy(*event) };
        }
        // SAFETY: as above, of the memory.
        let _ = unsafe { result::free_host(self.start.cast()) };
    }
}

/// Copies to the device, for which nobody waits.
#[derive(Debug)]
pub(super) struct Uploads {
    pinned: Pinned,
    ring: Ring,
}

impl Uploads {
    pub(super) fn new(context: &Context) -> Result<Self, CudaError> {
        Ok(Self { pinned: Pinned::new(context, UPLOAD_SLOTS)?, ring: Ring::new(UPLOAD_SLOTS, SLOT) })
    }

    /// Copies; the bytes may be changed afterwards.
    ///
    /// # Safety
    /// There must be room for the bytes.
    pub(super) unsafe fn copy(
        &mut self,
        context: &Context,
        bytes: &[u8],
        to: sys::CUdeviceptr,
    ) -> Result<(), CudaError> {
        let what = "copy to the GPU";
        context.bind()?;
        let mut done = 0;
        while done < bytes.len() {
            let Piece { place, length, left, entered } = self.ring.take(bytes.len() - done);
            if let Some(slot) = left {
                self.pinned.mark(context, slot)?;
            }
            if let Some(slot) = entered {
                self.pinned.wait(context, slot, what)?;
            }
            // SAFETY: the ring gives places from which all copies have arrived.
            let part = unsafe { self.pinned.part(place, length) };
            part.copy_from_slice(&bytes[done..done + length]);
            // SAFETY: both places have so many bytes, and the ring's stays as it is until its event.
            let asked = unsafe { result::memcpy_htod_async(to + done as u64, part, context.stream()) };
            context.check(what, asked)?;
            done += length;
        }
        Ok(())
    }
}

/// Copies from the device, which are waited for.
#[derive(Debug)]
pub(super) struct Downloads(Pinned);

impl Downloads {
    pub(super) fn new(context: &Context) -> Result<Self, CudaError> {
        Pinned::new(context, DOWNLOAD_SLOTS).map(Self)
    }

    /// Copies, and returns when all is there.
    ///
    /// # Safety
    /// There must be so many bytes.
    pub(super) unsafe fn copy(
        &mut self,
        context: &Context,
        from: sys::CUdeviceptr,
        bytes: &mut [u8],
    ) -> Result<(), CudaError> {
        let what = "copy from the GPU";
        context.bind()?;
        let (length, pieces) = (bytes.len(), bytes.len().div_ceil(SLOT));
        let mut parts = bytes.chunks_mut(SLOT);
        // The device is asked for piece `number` before piece `number - 1` is read.
        for number in 0..=pieces {
            if number < pieces {
                let (slot, first) = (number % DOWNLOAD_SLOTS, number * SLOT);
                // SAFETY: the slot's last piece was read in the round before.
                let part = unsafe { self.0.part(slot * SLOT, SLOT.min(length - first)) };
                // SAFETY: both places have so many bytes.
                let asked = unsafe { result::memcpy_dtoh_async(part, from + first as u64, context.stream()) };
                context.check(what, asked)?;
                self.0.mark(context, slot)?;
            }
            if let Some(number) = number.checked_sub(1) {
                let slot = number % DOWNLOAD_SLOTS;
                self.0.wait(context, slot, what)?;
                if let Some(to) = parts.next() {
                    // SAFETY: the copy to the slot has ended.
                    to.copy_from_slice(unsafe { self.0.part(slot * SLOT, to.len()) });
                }
            }
        }
        Ok(())
    }
}
