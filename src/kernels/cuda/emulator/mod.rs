//! A device that is none: runs the kernels' sources on the CPU (`emulator.hpp`), so that tests need no GPU.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use libloading::Library;
use sha2::{Digest, Sha256};

use super::driver::{Address, Argument, Description, Driver, Free, Launch, Matrix, Numbers, Product};
use super::source::SOURCE;
use super::{CudaError, Device};

const PAGE: usize = 4096;
const MEMORY: usize = 4 << 30;

/// Calls a kernel: grid, threads, bytes of dynamic shared memory, pointers to the arguments.
type Entry = unsafe extern "C" fn(*const u32, *const u32, u32, *mut *mut c_void);
type Arity = unsafe extern "C" fn() -> u32;

/// A device whose memory is the host's.
#[derive(Debug)]
struct Emulator {
    description: Description,
    held: Mutex<HashMap<u64, usize>>,
    /// The most bytes that may be held.
    limit: usize,
}

/// A device for tests.
pub(crate) fn device() -> Device {
    device_with_memory(MEMORY)
}

/// A device for tests with so many bytes of memory.
pub(crate) fn device_with_memory(limit: usize) -> Device {
    let description = Description {
        name: "emulated".into(),
        compute_capability: (8, 0),
        multiprocessors: 4,
        shared_memory_per_block: 99 << 10,
        memory: limit,
    };
    Device::new(Emulator { description, held: Mutex::default(), limit })
}

/// The kernels, compiled once for all tests of a run, and again only where the sources have changed.
fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    // SAFETY: the library was made from our sources; loading it runs no code but C++'s own.
    LIBRARY.get_or_init(|| unsafe { Library::new(library_file()) }.expect("the library can be opened"))
}

/// The file of the compiled kernels, which is made where it is missing, by one of those who ask.
pub(crate) fn library_file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let names = kernel_names(SOURCE);
        let entries: String = names.iter().map(|name| entry(name)).collect();
        let text = format!("{}\n{SOURCE}\n{entries}", include_str!("emulator.hpp"));
        let hash = hex::encode(Sha256::digest(&text));
        let folder = std::env::temp_dir().join("matryo-emulated-kernels");
        let library = folder.join(format!("{}.so", &hash[..16]));
        if !library.exists() {
            std::fs::create_dir_all(&folder).expect("the folder is made");
            compile(&text, &folder.join(format!("{}-{}", &hash[..16], std::process::id())), &library);
        }
        library
    })
}

fn compile(text: &str, beside: &Path, library: &Path) {
    let (source, object) = (beside.with_extension("cpp"), beside.with_extension("so.tmp"));
    std::fs::write(&source, text).expect("the sources are written");
    let output = Command::new(std::env::var("CXX").unwrap_or_else(|_| "c++".into()))
        .args(["-std=c++17", "-O2", "-ffp-contract=off", "-fno-strict-aliasing", "-w", "-fPIC", "-shared", "-pthread"])
        .arg(&source)
        .arg("-o")
        .arg(&object)
        .output()
        .expect("a C++ compiler is there (Debian's package g++)");
    assert!(output.status.success(), "{}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&object, library).expect("the library gets its name");
    std::fs::remove_file(&source).expect("the sources are no longer needed");
}

/// The names of all kernels: what stands between `__global__ void` and a parenthesis.
pub(crate) fn kernel_names(source: &str) -> Vec<String> {
    let names = source.split("__global__ void ").skip(1).map(|rest| {
        // An attribute may stand before the name.
        let rest = rest
            .strip_prefix("__launch_bounds__")
            .map_or(rest, |rest| rest.split_once(')').map_or("", |(_, rest)| rest));
        rest.split('(').next().unwrap_or_default().trim().to_owned()
    });
    names.collect()
}

fn entry(name: &str) -> String {
    format!(
        "extern \"C\" void emulate_{name}(const unsigned *g, const unsigned *t, unsigned s, void **a) {{ \
         emulator::run({name}, g, t, s, a); }}\n\
         extern \"C\" unsigned arity_{name}() {{ return emulator::arity({name}); }}\n"
    )
}

impl Driver for Emulator {
    fn description(&self) -> &Description {
        &self.description
    }

    /// Memory that ends where a page begins that nobody may touch, full of what is not a number.
    fn allocate(&self, bytes: usize) -> Result<Address, CudaError> {
        let mut held = self.held.lock().expect("no test panicked here");
        if held.values().sum::<usize>() + bytes > self.limit {
            return Err(CudaError::OutOfMemory { asked: bytes });
        }
        let room = bytes.next_multiple_of(16);
        let pages = room.next_multiple_of(PAGE);
        // SAFETY: the mapping is new; its last page is made unreachable, and the rest is written within its bounds.
        let address = unsafe {
            let start = libc::mmap(
                std::ptr::null_mut(),
                pages + PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert!(start != libc::MAP_FAILED, "no memory for the emulated device");
            assert_eq!(libc::mprotect(start.byte_add(pages), PAGE, libc::PROT_NONE), 0);
            let first = start.byte_add(pages - room);
            std::ptr::write_bytes(first.cast::<u8>(), 0xff, room);
            first as u64
        };
        held.insert(address, bytes);
        Ok(Address(address))
    }

    fn free(&self, address: Address, bytes: usize) {
        let known = self.held.lock().expect("no test panicked here").remove(&address.0);
        assert_eq!(known, Some(bytes), "what is freed was allocated");
        let pages = bytes.next_multiple_of(16).next_multiple_of(PAGE);
        let start = (address.0 as usize + bytes.next_multiple_of(16) - pages) as *mut c_void;
        // SAFETY: the mapping that `allocate` made, which nobody uses any more.
        assert_eq!(unsafe { libc::munmap(start, pages + PAGE) }, 0);
    }

    fn upload(&self, bytes: &[u8], to: Address) -> Result<(), CudaError> {
        // SAFETY: the caller's view lies within a buffer that it holds.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.0 as *mut u8, bytes.len()) };
        Ok(())
    }

    fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), CudaError> {
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(from.0 as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    fn zero(&self, at: Address, bytes: usize) -> Result<(), CudaError> {
        // SAFETY: as above.
        unsafe { std::ptr::write_bytes(at.0 as *mut u8, 0, bytes) };
        Ok(())
    }

    fn launch(&self, launch: &Launch, arguments: &[Argument]) -> Result<(), CudaError> {
        assert!(launch.shared as usize <= self.description.shared_memory_per_block, "{launch:?}");
        let mut words: Vec<u64> = arguments.iter().map(|argument| argument.word()).collect();
        let mut pointers: Vec<*mut c_void> = words.iter_mut().map(|word| std::ptr::from_mut(word).cast()).collect();
        // SAFETY: both functions are generated for each kernel; the arguments' number is checked, their kinds are the
        // launching function's business, and memory is that of buffers, with guards behind them.
        unsafe {
            let arity = library().get::<Arity>(format!("arity_{}", launch.kernel)).expect("there is such a kernel");
            assert_eq!(arity() as usize, arguments.len(), "arguments of {}", launch.kernel);
            let entry = library().get::<Entry>(format!("emulate_{}", launch.kernel)).expect("it was found before");
            entry(launch.grid.as_ptr(), [launch.threads, 1, 1].as_ptr(), launch.shared, pointers.as_mut_ptr());
        }
        Ok(())
    }

    fn multiply(&self, product: &Product) -> Result<(), CudaError> {
        let Product { left, right, result, .. } = product;
        assert_eq!((left.rows, left.columns, right.columns), (result.rows, right.rows, result.columns), "{product:?}");
        assert_eq!(left.numbers, right.numbers);
        assert!(!result.transposed);
        for batch in 0..product.batches {
            let (left, right) = (read(left, batch), read(right, batch));
            let mut sums = if product.add { read(result, batch) } else { vec![0.0; result.rows * result.columns] };
            let inner = product.left.columns;
            for (row, sums) in sums.chunks_exact_mut(result.columns.max(1)).enumerate() {
                for (k, factor) in left[row * inner..(row + 1) * inner].iter().enumerate() {
                    let right = &right[k * result.columns..(k + 1) * result.columns];
                    sums.iter_mut().zip(right).for_each(|(sum, value)| *sum += factor * value);
                }
                if let Some(bias) = product.bias {
                    let bias = Matrix::dense(bias, result.numbers, 1, result.columns);
                    sums.iter_mut().zip(read(&bias, 0)).for_each(|(sum, bias)| *sum += bias);
                }
            }
            for (place, sum) in sums.iter().enumerate() {
                write(result, batch, place / result.columns, place % result.columns, *sum);
            }
        }
        Ok(())
    }

    fn synchronize(&self) -> Result<(), CudaError> {
        Ok(())
    }

    fn memory(&self) -> Result<Free, CudaError> {
        let held: usize = self.held.lock().expect("no test panicked here").values().sum();
        Ok(Free { free: self.limit - held, total: self.limit })
    }
}

/// Where a number of a matrix lies.
fn place(matrix: &Matrix, batch: usize, row: usize, column: usize) -> u64 {
    let (row, column) = if matrix.transposed { (column, row) } else { (row, column) };
    let number = batch * matrix.batch_stride + row * matrix.stride + column;
    matrix.address.plus(number * matrix.numbers.bytes()).0
}

fn read(matrix: &Matrix, batch: usize) -> Vec<f32> {
    let places = (0..matrix.rows).flat_map(|row| (0..matrix.columns).map(move |column| (row, column)));
    let number = |(row, column)| {
        let place = place(matrix, batch, row, column);
        // SAFETY: within the matrix, which the caller holds; a mistake ends at the guard behind the buffer.
        unsafe {
            match matrix.numbers {
                Numbers::Bf16 => f32::from_bits(u32::from((place as *const u16).read()) << 16),
                Numbers::Float32 => (place as *const f32).read(),
            }
        }
    };
    places.map(number).collect()
}

fn write(matrix: &Matrix, batch: usize, row: usize, column: usize, value: f32) {
    let place = place(matrix, batch, row, column);
    // SAFETY: as in `read`.
    unsafe {
        match matrix.numbers {
            Numbers::Bf16 => (place as *mut half::bf16).write(half::bf16::from_f32(value)),
            Numbers::Float32 => (place as *mut f32).write(value),
        }
    }
}
