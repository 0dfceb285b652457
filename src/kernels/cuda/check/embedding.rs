//! Embeddings, forward, and gradients by tables.

use crate::kernels::cuda::embedding::{Embedding, GatherPlan, add_gathered, embed};
use crate::kernels::cuda::norm::{Kept, Shape};
use crate::kernels::cuda::{Buffer, CudaError, Device, Numbers, Tensor};
use crate::kernels::embedding::{embed as embed_here, scatter_add};

use super::norm::{EPSILON, Mask, Weights, rounded, tolerance};
use super::{Comparison, Random};

const VOCABULARY: usize = 60;
const POSITIONS: usize = 19;

/// Ids of which the first stands for a third of all tokens, as `[CLS]` and `[SEP]` do.
fn ids(random: &mut Random, rows: usize, end: usize) -> Vec<u32> {
    (0..rows).map(|_| if random.below(3) == 0 { 1 } else { random.below(end) as u32 }).collect()
}

fn forward(device: &Device, shape: Shape, rate: f32, random: &mut Random) -> Result<Vec<Comparison>, CudaError> {
    let Shape { numbers, rows, columns } = shape;
    let count = rows * columns;
    let mask = Mask::draw(device, rows, columns, rate)?;
    let weights = Weights::new(device, random, columns)?;
    let [words, positions, token_type] = [VOCABULARY, POSITIONS, 1].map(|rows| random.numbers(rows * columns));
    let (word_ids, position_ids) = (ids(random, rows, VOCABULARY), ids(random, rows, POSITIONS));
    let ids_there = [Buffer::from_slice(device, &word_ids)?, Buffer::from_slice(device, &position_ids)?];
    let words_there = Buffer::from_slice(device, &words)?;
    let positions_there = Buffer::from_slice(device, &positions)?;
    let token_type_there = Buffer::from_slice(device, &token_type)?;
    let from = Embedding {
        ids: ids_there[0].view().address(),
        positions: ids_there[1].view().address(),
        words: words_there.view().address(),
        position_table: positions_there.view().address(),
        token_type: token_type_there.view().address(),
        norm: weights.places(),
        epsilon: EPSILON,
        mask: mask.row_mask(),
    };
    let (normalized_there, inverse_there) = (Tensor::new(device, numbers, count)?, Buffer::<f32>::new(device, rows)?);
    let (unkept, output_there) = (Tensor::new(device, numbers, count)?, Tensor::new(device, numbers, count)?);
    embed(device, shape, &from, Kept::NOTHING, unkept.address())?;
    let kept = Kept { normalized: normalized_there.address(), inverse: inverse_there.view().address() };
    embed(device, shape, &from, kept, output_there.address())?;

    let (mut normalized, mut inverse, mut output) = (vec![0.0; count], vec![0.0; rows], vec![0.0; count]);
    embed_here(
        0,
        &word_ids,
        &position_ids,
        &words,
        &positions,
        &token_type,
        weights.norm(),
        mask.stream,
        &mut normalized,
        &mut inverse,
        &mut output,
    );
    let (name, allowed) = (format!("embedding of {rows} × {columns}, {numbers:?}"), tolerance(numbers));
    let result = output_there.to_vec()?;
    Ok(vec![
        Comparison::new(format!("{name}, output"), &result, &output, allowed),
        Comparison::new(format!("{name}, normalized"), &normalized_there.to_vec()?, &normalized, allowed),
        Comparison::new(format!("{name}, 1 / deviation"), &inverse_there.to_vec()?, &inverse, 2e-6),
        Comparison::new(format!("{name}, nothing kept"), &unkept.to_vec()?, &result, 0.0),
    ])
}

fn backward(device: &Device, shape: Shape, random: &mut Random) -> Result<Vec<Comparison>, CudaError> {
    let Shape { numbers, rows, columns } = shape;
    let (there, d_rows) = rounded(device, numbers, &random.numbers(rows * columns))?;
    let ids = ids(random, rows, VOCABULARY);
    let plan = GatherPlan::new(&ids);
    let words = Buffer::from_slice(device, plan.words())?;
    let before = random.numbers(VOCABULARY * columns);
    let mut scratch = Buffer::new(device, 0)?;
    let mut run = || {
        let table = Buffer::from_slice(device, &before)?;
        let gradient = table.view().address();
        add_gathered(device, shape, &plan, words.view(), there.address(), gradient, &mut scratch)?;
        table.to_vec()
    };
    let (result, again) = (run()?, run()?);
    let mut expected = before.clone();
    scatter_add(&ids, &d_rows, columns, &mut expected);
    let name = format!("gradient of a table by {rows} × {columns}, {numbers:?}");
    Ok(vec![
        Comparison::new(name.clone(), &result, &expected, 2e-6),
        Comparison::new(format!("{name}, again"), &again, &result, 0.0),
    ])
}

pub(super) fn check(device: &Device) -> Result<Vec<Comparison>, CudaError> {
    let (mut comparisons, mut random) = (Vec::new(), Random::new(3));
    for numbers in [Numbers::Bf16, Numbers::Float32] {
        let sizes = [(1, 8, 0.0), (77, 384, 0.1), (13, 768, 0.1), (6, 1024, 0.0), (7, 520, 0.2), (5, 1032, 0.1)];
        for (rows, columns, rate) in sizes {
            comparisons.extend(forward(device, Shape { numbers, rows, columns }, rate, &mut random)?);
        }
        for (rows, columns) in [(1, 8), (77, 384), (1001, 264)] {
            comparisons.extend(backward(device, Shape { numbers, rows, columns }, &mut random)?);
        }
    }
    Ok(comparisons)
}

#[cfg(test)]
mod tests {
    #[test]
    fn embeddings_are_the_cpus() {
        let device = crate::kernels::cuda::emulator::device();
        super::super::tests::assert_all_hold(&super::check(&device).expect("the emulator fails at nothing"));
    }
}
