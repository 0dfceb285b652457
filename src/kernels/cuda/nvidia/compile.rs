//! The kernels' sources compiled for the device at hand, once: what NVRTC made is kept in a folder.

use std::ffi::{CStr, CString, c_char};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use cudarc::nvrtc::{result, sys};
use sha2::{Digest, Sha256};

use super::libraries::Version;
use crate::kernels::cuda::CudaError;

/// Bytes of the checksum before an image in its file.
const CHECKSUM: usize = 32;

/// What is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// The device's own instructions.
    Device(u32),
    /// An older generation's portable ones, which the driver translates.
    Portable(u32),
}

impl Target {
    /// The device's own generation, or else the newest before it that the compiler knows.
    fn of((major, minor): (u32, u32), known: &[u32]) -> Option<Self> {
        let device = 10 * major + minor;
        if known.contains(&device) {
            return Some(Self::Device(device));
        }
        known.iter().copied().filter(|generation| *generation < device).max().map(Self::Portable)
    }

    fn architecture(self) -> String {
        match self {
            Self::Device(generation) => format!("sm_{generation}"),
            Self::Portable(generation) => format!("compute_{generation}"),
        }
    }

    /// Products and sums may be one instruction, but nothing is rounded more than that: no fast mathematics.
    fn options(self) -> Vec<String> {
        vec![format!("--gpu-architecture={}", self.architecture()), "--std=c++17".into(), "--fmad=true".into()]
    }

    /// A file's name: it tells what an image is made from.
    fn file(self, source: &str, nvrtc: Version) -> String {
        let mut hash = Sha256::new();
        for part in [source, &self.options().join(" "), &nvrtc.to_string()] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        format!("kernels-{}-{}.bin", self.architecture(), &hex::encode(hash.finalize())[..16])
    }
}

/// The image of the kernels for a device of this compute capability, which the driver loads.
///
/// # Errors
/// [`CudaError::Compilation`] where they do not compile.
pub(super) fn kernels(source: &str, device: (u32, u32), nvrtc: Version, folder: &Path) -> Result<Vec<u8>, CudaError> {
    let target = Target::of(device, &known_generations()?).ok_or_else(|| {
        CudaError::Unavailable(format!(
            "libnvrtc of CUDA {nvrtc} compiles for no GPU of compute capability {}.{} or before; install another",
            device.0, device.1
        ))
    })?;
    cached(&folder.join(target.file(source, nvrtc)), || {
        let begin = Instant::now();
        let image = compile(source, target)?;
        let (seconds, architecture) = (begin.elapsed().as_secs_f64(), target.architecture());
        tracing::info!(seconds, architecture, nvrtc = %nvrtc, "compiled the GPU's kernels");
        Ok(image)
    })
}

/// What stands in the file, or else what `make` gives, which is written there.
fn cached(path: &Path, make: impl FnOnce() -> Result<Vec<u8>, CudaError>) -> Result<Vec<u8>, CudaError> {
    if let Some(image) = read(path) {
        return Ok(image);
    }
    let image = make()?;
    if let Err(error) = write(path, &image) {
        // The next start compiles again, which takes seconds.
        tracing::warn!(%error, path = %path.display(), "the compiled kernels could not be kept");
    }
    Ok(image)
}

/// An image whose checksum is right.
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = fs::read(path).ok()?;
    let (checksum, image) = bytes.split_at_checked(CHECKSUM)?;
    if image.is_empty() || Sha256::digest(image)[..] != *checksum {
        tracing::warn!(path = %path.display(), "compiled kernels are damaged, and compiled again");
        return None;
    }
    bytes.drain(..CHECKSUM);
    Some(bytes)
}

/// Written beside and renamed, so that what stands under the name is whole, whoever else writes it.
fn write(path: &Path, image: &[u8]) -> std::io::Result<()> {
    static WRITTEN: AtomicUsize = AtomicUsize::new(0);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let beside = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
    let bytes = [&Sha256::digest(image)[..], image].concat();
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// The generations that the compiler knows, such as 90.
fn known_generations() -> Result<Vec<u32>, CudaError> {
    let mut count = 0;
    // SAFETY: `libraries` found the function, and it writes one number.
    check(unsafe { sys::nvrtcGetNumSupportedArchs(&raw mut count) }.result())?;
    let mut generations = vec![0_i32; usize::try_from(count).unwrap_or(0)];
    // SAFETY: as above; it writes as many numbers as it told of.
    check(unsafe { sys::nvrtcGetSupportedArchs(generations.as_mut_ptr()) }.result())?;
    Ok(generations.into_iter().filter_map(|generation| u32::try_from(generation).ok()).collect())
}

/// A program of NVRTC's, given back when dropped.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: the program is ours, and used no more.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

/// The image of a source: instructions, or text that ends with a zero.
fn compile(source: &str, target: Target) -> Result<Vec<u8>, CudaError> {
    let text = |text: &str| CString::new(text).map_err(|_| CudaError::Compilation("a zero in the sources".into()));
    let (source, name) = (text(source)?, c"matryo.cu");
    let program = Program(check(result::create_program(&source, Some(name)))?);
    // SAFETY: the program was created above.
    if let Err(error) = unsafe { result::compile_program(program.0, &target.options()) } {
        // SAFETY: as above.
        let log = unsafe { result::get_program_log(program.0) }.unwrap_or_default();
        let log: Vec<u8> = log.iter().map(|letter| *letter as u8).take_while(|letter| *letter != 0).collect();
        let (error, log) = (words(error), String::from_utf8_lossy(&log).trim().to_owned());
        return Err(CudaError::Compilation(if log.is_empty() { error } else { format!("{error}: {log}") }));
    }
    type Size = unsafe fn(sys::nvrtcProgram, *mut usize) -> sys::nvrtcResult;
    type Write = unsafe fn(sys::nvrtcProgram, *mut c_char) -> sys::nvrtcResult;
    let (size, write): (Size, Write) = match target {
        Target::Device(_) => (sys::nvrtcGetCUBINSize, sys::nvrtcGetCUBIN),
        Target::Portable(_) => (sys::nvrtcGetPTXSize, sys::nvrtcGetPTX),
    };
    let mut bytes = 0;
    // SAFETY: the program was compiled for this kind of image.
    check(unsafe { size(program.0, &raw mut bytes) }.result())?;
    let mut image = vec![0_u8; bytes];
    // SAFETY: as above; there is room for as many bytes as it told of.
    check(unsafe { write(program.0, image.as_mut_ptr().cast()) }.result())?;
    if image.is_empty() {
        return Err(CudaError::Compilation(format!("nothing came out for {}", target.architecture())));
    }
    Ok(image)
}

/// NVRTC's result as ours.
fn check<T>(result: Result<T, result::NvrtcError>) -> Result<T, CudaError> {
    result.map_err(|error| CudaError::Compilation(words(error)))
}

/// An error in NVRTC's words.
fn words(error: result::NvrtcError) -> String {
    // SAFETY: it only looks the error up, and gives a constant of the library.
    let text = unsafe {
        let text = sys::nvrtcGetErrorString(error.0);
        (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
    };
    text.unwrap_or_else(|| format!("NVRTC's error {}", error.0 as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cuda::nvidia::libraries;
    use crate::kernels::cuda::source::SOURCE;

    const NVRTC: Version = Version { major: 12, minor: 8 };

    /// A folder of this test's own.
    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("matryo-compile-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn the_devices_own_generation_is_compiled_for_or_the_newest_before_it() {
        let known = [75, 80, 86, 89, 90, 100, 120];
        assert_eq!(Target::of((9, 0), &known), Some(Target::Device(90)));
        assert_eq!(Target::of((12, 0), &known), Some(Target::Device(120)));
        assert_eq!(Target::of((10, 3), &known), Some(Target::Portable(100)));
        assert_eq!(Target::of((15, 0), &known), Some(Target::Portable(120)));
        assert_eq!(Target::of((7, 0), &known), None);
        assert_eq!(Target::Portable(100).options()[0], "--gpu-architecture=compute_100");
    }

    #[test]
    fn a_files_name_tells_what_the_image_is_made_from() {
        let name = Target::Device(90).file("a", NVRTC);
        assert!(name.starts_with("kernels-sm_90-") && name.ends_with(".bin") && name.len() == 34, "{name}");
        assert_eq!(name, Target::Device(90).file("a", NVRTC));
        assert_ne!(name, Target::Device(90).file("b", NVRTC));
        assert_ne!(name, Target::Device(80).file("a", NVRTC));
        assert_ne!(name, Target::Portable(90).file("a", NVRTC));
        assert_ne!(name, Target::Device(90).file("a", Version { major: 12, minor: 9 }));
    }

    #[test]
    fn an_image_is_made_once_and_again_where_its_file_is_damaged() {
        let folder = folder("cache");
        let path = folder.join("deeper/kernels.bin");
        let never = || Err(CudaError::Compilation("it is there".into()));
        assert_eq!(cached(&path, || Ok(b"image".to_vec())).unwrap(), b"image");
        assert_eq!(cached(&path, never).unwrap(), b"image");
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        changed[CHECKSUM + 1] ^= 1;
        for damaged in [&whole[..whole.len() - 1], &whole[..CHECKSUM], &whole[..3], b"", &changed] {
            fs::write(&path, damaged).unwrap();
            assert!(cached(&path, never).is_err());
            assert_eq!(cached(&path, || Ok(b"image".to_vec())).unwrap(), b"image");
            assert_eq!(fs::read(&path).unwrap(), whole);
        }
        let names: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(names, [path]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_error() {
        let image = cached(Path::new("/proc/no/such/folder/kernels.bin"), || Ok(vec![1])).unwrap();
        assert_eq!(image, [1]);
    }

    /// Needs `libnvrtc` in LD_LIBRARY_PATH, and passes without: `tests/cuda/run` brings it.
    #[test]
    fn nvrtc_compiles_the_sources() {
        let Ok(nvrtc) = libraries::nvrtc(Version { major: 99, minor: 0 }) else {
            eprintln!("skipped: there is no libnvrtc");
            return;
        };
        let folder = folder("nvrtc");
        let known = known_generations().unwrap();
        assert!(known.contains(&80) && known.contains(&90), "{known:?}");
        for device in [(8, 0), (9, 0)] {
            let image = kernels(SOURCE, device, nvrtc, &folder).unwrap();
            assert!(image.starts_with(b"\x7fELF"), "an image of instructions");
            let again = Instant::now();
            assert_eq!(kernels(SOURCE, device, nvrtc, &folder).unwrap(), image);
            assert!(again.elapsed().as_millis() < 100, "it was kept");
        }
        let portable = kernels(SOURCE, (99, 0), nvrtc, &folder).unwrap();
        assert_eq!(portable.last(), Some(&0), "a text that ends");
        let portable = String::from_utf8(portable).unwrap();
        assert!(portable.contains(".entry dropout_rows("), "{portable}");
        let error = kernels("extern \"C\" __global__ void k() { missing(); }", (9, 0), nvrtc, &folder).unwrap_err();
        assert!(matches!(&error, CudaError::Compilation(text) if text.contains("\"missing\"")), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
