//! Masks: the CPU's, bit for bit.

use crate::kernels::cuda::dropout::{Site, draw_probabilities, draw_rows, mask_starts, probability_words, row_words};
use crate::kernels::cuda::{Buffer, CudaError, Device};
use crate::kernels::dropout::DropoutStream;

use super::Comparison;

const SEED: u64 = 0x0123_4567_89ab_cdef;

/// What the CPU keeps of a unit's `count` numbers, as factors.
fn factors(unit: u32, micro_batch: u32, site: Site, count: usize) -> Vec<f32> {
    let mut values = vec![1.0; count];
    let stream = DropoutStream::new(SEED, micro_batch.into(), site.number, site.rate).expect("the rate is above 0");
    stream.apply(unit, &mut values);
    values
}

/// Bits as factors.
fn read(words: &[u32], count: usize, scale: f32) -> Vec<f32> {
    (0..count).map(|bit| if words[bit / 32] >> (bit % 32) & 1 == 1 { scale } else { 0.0 }).collect()
}

pub(super) fn check(device: &Device) -> Result<Vec<Comparison>, CudaError> {
    let mut comparisons = Vec::new();
    for (columns, rate) in [(384, 0.1), (768, 0.3), (100, 0.5)] {
        let site = Site { seed: SEED, number: 5, rate };
        let (units, micro_batches) = ([0_u32, 7, 3, 40_000], [9_u32, 9, 8, 1 << 20]);
        let mask = Buffer::new(device, units.len() * row_words(columns))?;
        let places = (Buffer::from_slice(device, &units)?, Buffer::from_slice(device, &micro_batches)?);
        draw_rows(device, site, columns, (places.0.view(), places.1.view()), &mask)?;
        let words = mask.to_vec()?;
        let rows = words.chunks(row_words(columns));
        let result: Vec<f32> = rows.flat_map(|row| read(row, columns, site.scale())).collect();
        let expected = units.iter().zip(micro_batches).flat_map(|(unit, batch)| factors(*unit, batch, site, columns));
        let name = format!("dropout of rows of {columns}");
        comparisons.push(Comparison::new(name, &result, &expected.collect::<Vec<_>>(), 0.0));
    }

    let (lengths, heads) = ([1_usize, 16, 33, 70], 3);
    let site = Site { seed: SEED, number: 4, rate: 0.1 };
    let starts = mask_starts(lengths);
    let (units, micro_batches) = ([0_u32, 1, 2, 0], [4_u32, 4, 4, 5]);
    let mask = Buffer::new(device, probability_words(starts[lengths.len()], heads))?;
    let [starts_there, units_there, batches_there] = [&starts[..], &units, &micro_batches]
        .map(|values| Buffer::from_slice(device, values))
        .map(|buffer| buffer.expect("a few words fit"));
    let places = (units_there.view(), batches_there.view());
    draw_probabilities(device, site, heads, starts_there.view(), places, &mask)?;
    let words = mask.to_vec()?;
    let (mut result, mut expected) = (Vec::new(), Vec::new());
    for (sequence, length) in lengths.iter().enumerate() {
        let (start, groups) = (starts[sequence] as usize, (starts[sequence + 1] - starts[sequence]) as usize);
        for head in 0..heads {
            let first = 8 * (start * heads + head * groups);
            result.extend(read(&words[first..first + 8 * groups], length * length, site.scale()));
            let unit = units[sequence] * heads as u32 + head as u32;
            expected.extend(factors(unit, micro_batches[sequence], site, length * length));
        }
    }
    comparisons.push(Comparison::new("dropout of probabilities", &result, &expected, 0.0));
    Ok(comparisons)
}
