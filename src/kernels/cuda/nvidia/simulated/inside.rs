//! The tests that `run` runs, each in a process of its own; by themselves they have nothing to do.

use std::path::PathBuf;

use super::{calls, left, opened};
use crate::kernels::cuda::check::{Random, check_all};
use crate::kernels::cuda::nvidia::column_major::tests::factor;
use crate::kernels::cuda::nvidia::count;
use crate::kernels::cuda::{Argument, Buffer, CudaError, Device, Matrix, Numbers, Product, Tensor, emulator};

#[test]
#[ignore = "run by others"]
fn everything() {
    let Some(device) = opened(0) else { return };
    let device = device.unwrap();
    assert_eq!(count().unwrap(), 1);
    let description = device.description();
    assert_eq!((description.name.as_str(), description.compute_capability), ("Simulated", (9, 0)));
    assert_eq!((description.multiprocessors, description.shared_memory_per_block), (8, 99 << 10));

    for comparison in check_all(&device).unwrap() {
        assert!(comparison.holds(), "{comparison:?}");
    }
    assert!(calls("look up") <= calls("launch"));
    copies(&device);
    products(&device);
    from_many_threads(&device);
    drop(device);
    assert_eq!(left(), 0, "all was given back");
}

/// Long and short copies, each of which arrives although the host goes on.
fn copies(device: &Device) {
    let (waits, numbers) = (calls("synchronize") + calls("wait"), |seed| Random::new(seed).numbers(200));
    let many: Vec<_> = (0..500).map(|seed| Buffer::from_slice(device, &numbers(seed)).unwrap()).collect();
    assert_eq!(calls("synchronize") + calls("wait"), waits, "nobody waits for short copies");
    for (seed, buffer) in many.iter().enumerate() {
        assert_eq!(buffer.to_vec().unwrap(), numbers(seed as u64));
    }
    // Four slots of 4 MiB are passed twice.
    for length in [1_u32, 1 << 20, (1 << 20) + 1, 9_000_001] {
        let values: Vec<u32> = (0..length).map(|value: u32| value.wrapping_mul(0x9e37_79b9)).collect();
        let buffer = Buffer::from_slice(device, &values).unwrap();
        let mut end = [0; 1];
        buffer.read(length as usize - 1, &mut end).unwrap();
        assert_eq!(end, values[length as usize - 1..]);
        assert!(buffer.to_vec().unwrap() == values, "{length} numbers");
    }
    let mut buffer = Buffer::from_slice(device, &[1_u8, 2, 3]).unwrap();
    buffer.fill_with_zeros().unwrap();
    buffer.write(1, &[]).unwrap();
    assert_eq!(buffer.to_vec().unwrap(), [0; 3]);
}

/// All kinds of products, against the emulator's.
fn products(device: &Device) {
    let reference = emulator::device();
    let mut random = Random::new(9);
    for (rows, inner, columns) in [(3, 5, 2), (8, 16, 24), (1, 7, 1), (0, 3, 4), (3, 4, 0)] {
        for (left_numbers, result_numbers) in
            [(Numbers::Bf16, Numbers::Bf16), (Numbers::Bf16, Numbers::Float32), (Numbers::Float32, Numbers::Float32)]
        {
            for case in 0..64 {
                let bit = |number: usize| case >> number & 1 == 1;
                let (batches, gap, first) = (if bit(2) { 3 } else { 1 }, 3 * usize::from(bit(3)), usize::from(bit(3)));
                let (left, left_size) = factor(rows, inner, bit(0), gap, batches);
                let (right, right_size) = factor(inner, columns, bit(1), gap, batches);
                let (result, result_size) = factor(rows, columns, false, gap, batches);
                let values = [left_size, right_size, result_size, columns].map(|size| random.numbers(size + first));
                let outcomes = [device, &reference].map(|device| {
                    let kinds = [left_numbers, left_numbers, result_numbers, result_numbers];
                    let [lefts, rights, results, biases] = std::array::from_fn(|operand| {
                        Tensor::from_slice(device, kinds[operand], &values[operand]).unwrap()
                    });
                    let place = |tensor: &Tensor, matrix: Matrix| Matrix {
                        address: tensor.address().plus(first * tensor.numbers().bytes()),
                        numbers: tensor.numbers(),
                        ..matrix
                    };
                    let product = Product {
                        left: place(&lefts, left),
                        right: place(&rights, right),
                        result: place(&results, result),
                        bias: bit(4).then(|| biases.address().plus(first * biases.numbers().bytes())),
                        add: bit(5),
                        batches,
                        tf32: true,
                    };
                    device.multiply(&product).unwrap_or_else(|error| panic!("{error}"));
                    results.to_vec().unwrap()
                });
                let tolerance = if result_numbers == Numbers::Bf16 { 1e-2 } else { 1e-5 };
                let close = |(a, b): (&f32, &f32)| (a - b).abs() <= tolerance * b.abs().max(1.0);
                assert!(outcomes[0].iter().zip(&outcomes[1]).all(close), "{rows} {inner} {columns} case {case}");
            }
        }
    }
    let (chosen, [left, right, result]) = (calls("heuristic"), [[4, 8], [8, 4], [4, 4]]);
    let buffers = [left, right, result].map(|[rows, columns]| Buffer::<f32>::zeros(device, rows * columns).unwrap());
    for _ in 0..10 {
        let matrix = |of: usize, [rows, columns]: [usize; 2]| {
            Matrix::dense(buffers[of].view().address(), Numbers::Float32, rows, columns)
        };
        let (left, right, result) = (matrix(0, left), matrix(1, right), matrix(2, result));
        let product = Product { left, right, result, bias: None, add: false, batches: 1, tf32: false };
        device.multiply(&product).unwrap();
    }
    assert_eq!(calls("heuristic"), chosen + 1, "an algorithm is chosen once");
}

/// A thread that was never seen is bound to the context; one that is needs nothing.
fn from_many_threads(device: &Device) {
    let set = calls("set current");
    std::thread::scope(|scope| {
        for seed in 0..8 {
            scope.spawn(move || {
                for round in 0..50 {
                    let values = Random::new(100 * seed + round).numbers(3000);
                    assert_eq!(Buffer::from_slice(device, &values).unwrap().to_vec().unwrap(), values);
                }
            });
        }
    });
    assert_eq!(calls("set current"), set + 8);
}

#[test]
#[ignore = "run by others"]
fn memory() {
    let Some(device) = opened(0) else { return };
    let device = device.unwrap();
    let before = device.memory().unwrap();
    assert!(before.free < before.total && before.total == 100_000_000, "{before:?}");
    // What is freed is not yet free, since nobody waited.
    for _ in 0..20 {
        Buffer::<u8>::zeros(&device, 40_000_000).unwrap();
    }
    let held = Buffer::<u8>::new(&device, 40_000_000).unwrap();
    let error = Buffer::<u8>::new(&device, 60_000_000).unwrap_err();
    assert!(matches!(error, CudaError::OutOfMemory { asked: 60_000_000 }), "{error}");
    assert_eq!(device.memory().unwrap().free, before.free - 40_000_000);
    drop(held);
    device.synchronize().unwrap();
    assert_eq!(device.memory().unwrap(), before);
    Buffer::<u8>::new(&device, 60_000_000).unwrap();
    drop(device);
    assert_eq!(left(), 0, "all was given back");
}

#[test]
#[ignore = "run by others"]
fn failure() {
    let Some(device) = opened(0) else { return };
    let device = device.unwrap();
    let buffer = Buffer::<f32>::zeros(&device, 100).unwrap();
    let error = device.launch("no_such_kernel", [1, 1, 1], 32, 0, &[]).unwrap_err().to_string();
    assert_eq!(error, "CUDA failed to find a kernel: no_such_kernel: CUDA_ERROR_NOT_FOUND: in words");
    let large = device.launch("dropout_rows", [1, 1, 1], 32, 99 << 10, &[]).unwrap_err().to_string();
    assert!(large.starts_with("CUDA failed to launch a kernel: dropout_rows: "), "{large}");
    device.launch("dropout_rows", [0, 1, 1], 32, 0, &[]).unwrap();
    // Shared memory beyond 48 KiB is promised to a kernel once; 98 KiB are there for it.
    let (place, promised) = (buffer.view().into(), calls("promise"));
    let words = [8_u32, 0, 0, 0, 1].map(Argument::from);
    let arguments = [&[place, place, place][..], &words].concat();
    for shared in [48 << 10, 60 << 10, 98 << 10] {
        device.launch("dropout_rows", [1, 1, 1], 32, shared, &arguments).unwrap();
    }
    device.synchronize().unwrap();
    assert_eq!((promised, calls("promise")), (1, 1), "the launch that failed asked for it");
    // A product that cuBLASLt has no algorithm for.
    let matrix = |rows, columns| Matrix::dense(buffer.view().address(), Numbers::Float32, rows, columns);
    let (left, right, result) = (matrix(2, 0), matrix(0, 3), matrix(2, 3));
    let product = Product { left, right, result, bias: None, add: false, batches: 1, tf32: false };
    let error = device.multiply(&product).unwrap_err().to_string();
    assert!(
        error.starts_with("CUDA failed to multiply matrices: CUBLAS_STATUS_NOT_SUPPORTED: in words (Prod"),
        "{error}"
    );

    // The GPU reports what it met when somebody waits, and then for ever.
    let out_of_reach = Matrix { address: buffer.view().address().plus(1 << 40), ..matrix(1, 1) };
    device.multiply(&Product { left: matrix(1, 1), right: matrix(1, 1), result: out_of_reach, ..product }).unwrap();
    let error = buffer.to_vec().unwrap_err().to_string();
    assert_eq!(error, "CUDA failed to copy from the GPU: CUDA_ERROR_ILLEGAL_ADDRESS: in words");
    for _ in 0..2 {
        device.synchronize().unwrap_err();
        Buffer::<f32>::zeros(&device, 100).unwrap_err();
        device.multiply(&product).unwrap_err();
        device.launch("dropout_rows", [1, 1, 1], 32, 0, &[]).unwrap_err();
    }
    drop(buffer);
    drop(device);
}

#[test]
#[ignore = "run by others"]
fn cache() {
    let Some(device) = opened(0) else { return };
    drop(device.unwrap());
    drop(opened(0).unwrap().unwrap());
    assert_eq!(calls("compile"), 1);
    let folder = PathBuf::from(std::env::var_os("SIMULATED_CACHE").unwrap());
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    std::fs::write(&files[0], "damaged").unwrap();
    drop(opened(0).unwrap().unwrap());
    assert_eq!((files.len(), calls("compile"), left()), (1, 2, 0));
}

#[test]
#[ignore = "run by others"]
fn refused() {
    let number = std::env::var("SIMULATED_NUMBER").map_or(0, |number| number.parse().unwrap());
    let Some(device) = opened(number) else { return };
    let counted = count().map_or_else(|_| "error".to_owned(), |count| count.to_string());
    assert_eq!(counted, std::env::var("SIMULATED_COUNT").unwrap());
    let words = std::env::var("SIMULATED_WORDS").unwrap();
    match device {
        Err(CudaError::Unavailable(text)) => assert!(text.contains(&words), "{text}"),
        // NVIDIA's own library may be where the simulation's is missing.
        other => assert!(words.contains("cannot be opened"), "{other:?}"),
    }
}
