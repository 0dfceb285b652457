//! Tests of all calls into CUDA without a GPU: `simulated.cpp` stands for the driver, NVRTC and cuBLASLt, and runs the
//! emulator's kernels. What it takes for right is what NVIDIA's manuals say; that GPUs agree is proved by
//! `matryo gpu-check` alone.
//!
//! The libraries are found as NVIDIA's are, by name in LD_LIBRARY_PATH, which is read when a process starts: each test
//! runs another, ignored one in a process of its own.

mod inside;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use libloading::Library;
use sha2::{Digest, Sha256};

use super::open;
use crate::kernels::cuda::{CudaError, Device, emulator};

const ALL: [&str; 3] = ["libcuda", "libnvrtc", "libcublasLt"];

/// The compiled simulation.
fn compiled(define: Option<&str>) -> PathBuf {
    // Tests of one process come here at once.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = super::lock(&ONE_AT_A_TIME);
    let source = include_str!("simulated.cpp");
    let hash = hex::encode(Sha256::digest(format!("{source}{define:?}")));
    let folder = std::env::temp_dir().join("matryo-simulated-cuda");
    let library = folder.join(format!("{}.so", &hash[..16]));
    if !library.exists() {
        std::fs::create_dir_all(&folder).unwrap();
        let beside = folder.join(format!("{}-{}", &hash[..16], std::process::id()));
        let (text, object) = (beside.with_extension("cpp"), beside.with_extension("so.tmp"));
        std::fs::write(&text, source).unwrap();
        let mut compiler = Command::new(std::env::var("CXX").unwrap_or_else(|_| "c++".into()));
        compiler.args(["-std=c++17", "-O1", "-w", "-fPIC", "-shared", "-pthread"]);
        compiler.args(define.map(|name| format!("-D{name}"))).arg(&text).arg("-o").arg(&object).arg("-ldl");
        let output = compiler.output().expect("a C++ compiler is there (Debian's package g++)");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::rename(&object, &library).unwrap();
        std::fs::remove_file(&text).unwrap();
    }
    library
}

/// Runs an ignored test of this file where these libraries are there, with settings of the simulation.
fn run(test: &str, libraries: &[&str], define: Option<&str>, settings: &[(&str, &str)]) {
    let hash = hex::encode(Sha256::digest(format!("{settings:?}{libraries:?}")));
    let name = format!("matryo-simulated-{}-{test}-{}", std::process::id(), &hash[..8]);
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for library in libraries {
        for ending in ["so", "so.1"] {
            std::os::unix::fs::symlink(compiled(define), folder.join(format!("{library}.{ending}"))).unwrap();
        }
    }
    let (_, module) = module_path!().split_once("::").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("{module}::inside::{test}"), "--exact", "--ignored", "--nocapture"]);
    command.env("LD_LIBRARY_PATH", &folder).env("SIMULATED_CACHE", folder.join("cache"));
    command.env("SIMULATED_KERNELS", emulator::library_file());
    command.envs(settings.iter().map(|(name, value)| (format!("SIMULATED_{name}"), value)));
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success() && text.contains("1 passed"), "{test} {settings:?}: {text}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// Opening as `run` has set things up; none where a test was not started by it.
fn opened(number: usize) -> Option<Result<Device, CudaError>> {
    let cache = std::env::var_os("SIMULATED_CACHE")?;
    Some(open(number, Path::new(&cache)))
}

/// The simulation itself, to be asked what happened.
fn simulation() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    // SAFETY: it is open already.
    LIBRARY.get_or_init(|| unsafe { Library::new("libcuda.so") }.unwrap())
}

/// How often something was called.
fn calls(name: &str) -> usize {
    let name = std::ffi::CString::new(name).unwrap();
    // SAFETY: the function takes a text and gives a number.
    unsafe {
        simulation().get::<unsafe extern "C" fn(*const std::ffi::c_char) -> usize>("simulated_count").unwrap()(
            name.as_ptr(),
        )
    }
}

/// Objects, memory and contexts that were not given back.
fn left() -> usize {
    // SAFETY: the function gives a number.
    unsafe { simulation().get::<unsafe extern "C" fn() -> usize>("simulated_left").unwrap()() }
}

#[test]
fn kernels_products_and_copies_come_out_as_on_the_emulator() {
    run("everything", &ALL, None, &[]);
    run("everything", &ALL, None, &[("POOLS", "0")]);
}

#[test]
fn memory_that_was_freed_is_taken_again_and_none_left_is_said() {
    run("memory", &ALL, None, &[("MEMORY", "100000000")]);
    run("memory", &ALL, None, &[("MEMORY", "100000000"), ("POOLS", "0")]);
}

#[test]
fn after_a_failure_everything_fails_and_nothing_panics() {
    run("failure", &ALL, None, &[]);
}

#[test]
fn kernels_are_compiled_once() {
    run("cache", &ALL, None, &[]);
}

#[test]
fn what_is_missing_is_said() {
    let refused = |libraries: &[&str], define, settings: &[(&str, &str)], words: &str, count: &str| {
        let expected = [("WORDS", words), ("COUNT", count)];
        run("refused", libraries, define, &[settings, &expected].concat());
    };
    refused(&ALL, None, &[("DEVICES", "0")], "NVIDIA's driver shows no GPU.", "0");
    refused(&ALL, None, &[("INIT", "999")], "(for CUDA 12.8) does not start: ", "error");
    refused(&ALL, None, &[("NUMBER", "1")], "there is no GPU 1: there is one, number 0.", "1");
    refused(&ALL, None, &[("NUMBER", "5"), ("DEVICES", "3")], "there is no GPU 5: there are 0 to 2.", "3");
    refused(&ALL, None, &[("GENERATION", "75")], "GPU 0 (Simulated) is of compute capability 7.5; 8.0 or later", "1");
    refused(&ALL, None, &[("DRIVER", "11080")], "NVIDIA's driver is too old: it is for CUDA 11.8; CUDA 12", "error");
    let lacking = "NVIDIA's driver is too old: libcuda has no function cuMemPoolTrimTo;";
    refused(&ALL, Some("WITHOUT_TRIM"), &[], lacking, "error");
    refused(&ALL, None, &[("NVRTC", "13000")], "libnvrtc is of version 13.0 and the driver for CUDA 12.8; it", "1");
    refused(&ALL, None, &[("CUBLAS", "130000")], "libcublasLt is of version 13.0 and the driver for CUDA 12.8;", "1");
    refused(&["libcuda", "libcublasLt"], None, &[], "libnvrtc cannot be opened; it compiles the GPU's kernels.", "1");
    let products = "libcublasLt cannot be opened; it multiplies matrices. Where libcublasLt.so.12 is installed";
    refused(&["libcuda", "libnvrtc"], None, &[], products, "1");
}
