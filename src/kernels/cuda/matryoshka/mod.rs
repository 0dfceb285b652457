//! MatryoshkaLoss over MultipleNegativesRankingLoss on the device, for a group of micro-batches at once: the CPU
//! engine's (`training/losses/matryoshka.rs`), each micro-batch's positives being negatives of its own anchors alone.
//!
//! Products over the columns from one dimension to the next make all dimensions' scores, and the gradients by them go
//! back through the same columns once. Micro-batches of the same size that stand one after the other share products; a
//! large one is cut into tiles of anchors.

mod tiles;

use super::{Address, Buffer, CudaError, Device, Matrix, Numbers, Product, View};
use tiles::{BLOCK, TILE_BYTES, Tile, runs, tiles};

/// Numbers of the kernels' `AnchorScores`.
const SCORES: usize = 4;

/// The loss, and room on the device that it needs; it grows with the largest group.
#[derive(Debug)]
pub(crate) struct Matryoshka {
    device: Device,
    scale: f32,
    /// Ascending, none twice.
    dims: Vec<usize>,
    dims_there: Buffer<u32>,
    /// `[dims]`, ascending as they.
    weights: Buffer<f32>,
    tile_bytes: usize,
    /// `[dims, batches, rows, stride]` of a tile.
    dots: Buffer<f32>,
    /// `[dims, batches, rows]` of a tile: the kernels' `AnchorScores`, [`SCORES`] numbers each.
    scores: Buffer<f32>,
    /// `[dims, batches, row blocks, pairs]` of a tile.
    partial: Buffer<f32>,
    /// `[dims, rows]` of the group.
    norms: Buffer<f32>,
    along: Buffer<f32>,
    /// `[rows]` of the group, of which anchors' are used.
    losses: Buffer<f64>,
}

/// A group under way.
#[derive(Debug, Clone, Copy)]
struct Group {
    embeddings: View<f32>,
    d_embeddings: View<f32>,
    dimension: usize,
    rows: usize,
    share: f32,
}

impl Matryoshka {
    /// The loss at `dims`, each with its weight, in any order; `scale` multiplies cosine similarities.
    ///
    /// # Errors
    /// As the device says.
    ///
    /// # Panics
    /// Where there is no dimension, or not a weight for each.
    pub(crate) fn new(device: &Device, dims: &[usize], weights: &[f32], scale: f32) -> Result<Self, CudaError> {
        assert!(!dims.is_empty() && dims.len() == weights.len(), "{dims:?} {weights:?}");
        let mut weighted: Vec<(usize, f32)> = dims.iter().copied().zip(weights.iter().copied()).collect();
        weighted.sort_by_key(|(dim, _)| *dim);
        // A dimension that stands there twice is one of both weights.
        weighted.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 += if same { next.1 } else { 0.0 };
            same
        });
        let (dims, weights): (Vec<usize>, Vec<f32>) = weighted.into_iter().unzip();
        let dims_there: Vec<u32> = dims.iter().map(|dim| *dim as u32).collect();
        let none = || Buffer::new(device, 0);
        Ok(Self {
            device: device.clone(),
            scale,
            dims,
            dims_there: Buffer::from_slice(device, &dims_there)?,
            weights: Buffer::from_slice(device, &weights)?,
            tile_bytes: TILE_BYTES,
            dots: none()?,
            scores: none()?,
            partial: none()?,
            norms: none()?,
            along: none()?,
            losses: Buffer::new(device, 0)?,
        })
    }

    /// With other room for a tile's scores.
    pub(crate) fn with_tile_bytes(self, tile_bytes: usize) -> Self {
        Self { tile_bytes, ..self }
    }

    /// Takes the memory of any group of so many rows, so that none is taken while one is under way.
    ///
    /// # Errors
    /// As the device says; what was taken before stays.
    pub(crate) fn reserve(&mut self, rows: usize) -> Result<(), CudaError> {
        let (dims, pairs) = (self.dims.len(), rows / 2);
        // However many micro-batches they are, all dot products are no more than those of one.
        let anchor = dims * pairs.next_multiple_of(4);
        let dots = (pairs * anchor).min((self.tile_bytes / size_of::<f32>()).max(anchor));
        self.dots.grow(dots)?;
        self.scores.grow(dims * pairs * SCORES)?;
        self.partial.grow(dots / BLOCK + dims * pairs)?;
        self.of_rows(rows)
    }

    /// Takes the memory of what there is for each row of a group.
    fn of_rows(&mut self, rows: usize) -> Result<(), CudaError> {
        let dims = self.dims.len();
        self.norms.grow(dims * rows)?;
        self.along.grow(dims * rows)?;
        self.losses.grow(rows)
    }

    /// Adds `share` times each micro-batch's loss to `loss[0]`, and writes `share` times its gradient to
    /// `d_embeddings`, every number of it. `embeddings` and `d_embeddings` are `[rows, dimension]`; micro-batch b takes
    /// `2 * pairs[b]` rows after those before it, anchors first, then their positives in the same order. A loss that is
    /// not finite makes the sum so.
    ///
    /// # Errors
    /// As the device says.
    ///
    /// # Panics
    /// Where the rows are not those of `pairs`, or a dimension is not from 1 to `dimension`.
    pub(crate) fn forward_backward(
        &mut self,
        embeddings: View<f32>,
        dimension: usize,
        pairs: &[usize],
        share: f32,
        d_embeddings: View<f32>,
        loss: View<f64>,
    ) -> Result<(), CudaError> {
        let rows = 2 * pairs.iter().sum::<usize>();
        assert!(self.dims.iter().all(|dim| (1..=dimension).contains(dim)), "{:?} of {dimension}", self.dims);
        assert!(embeddings.len() == rows * dimension && d_embeddings.len() == rows * dimension, "{rows} rows");
        let group = Group { embeddings, d_embeddings, dimension, rows, share };
        if rows == 0 {
            return Ok(());
        }
        let dims = self.dims.len();
        self.of_rows(rows)?;
        self.inverse_norms(&group)?;
        let mut first_row = 0;
        for (pairs, batches) in runs(pairs).filter(|(pairs, _)| *pairs > 0) {
            for tile in tiles(first_row, pairs, batches, dims, self.tile_bytes) {
                self.tile(&group, &tile)?;
            }
            let losses = self.losses.view();
            let arguments = [loss.into(), losses.into(), first_row.into(), pairs.into(), batches.into(), share.into()];
            self.device.launch("matryoshka_sum", [1, 1, 1], 256, 0, &arguments)?;
            first_row += 2 * pairs * batches;
        }
        self.take_back(&group)
    }

    fn inverse_norms(&self, group: &Group) -> Result<(), CudaError> {
        let arguments = [
            self.norms.view().into(),
            group.embeddings.into(),
            self.dims_there.view().into(),
            self.dims.len().into(),
            group.rows.into(),
            group.dimension.into(),
        ];
        self.device.launch("matryoshka_norms", [group.rows.div_ceil(4), 1, 1], 128, 0, &arguments)
    }

    fn take_back(&self, group: &Group) -> Result<(), CudaError> {
        let arguments = [
            group.d_embeddings.into(),
            group.embeddings.into(),
            self.along.view().into(),
            self.dims_there.view().into(),
            self.dims.len().into(),
            group.rows.into(),
            group.dimension.into(),
        ];
        self.device.launch("matryoshka_take_back", [group.rows, 1, 1], 128, 0, &arguments)
    }

    /// A tile's losses, its part of the gradient, and of what is taken back at the end.
    fn tile(&mut self, group: &Group, tile: &Tile) -> Result<(), CudaError> {
        let dims = self.dims.len();
        self.dots.grow(dims * tile.lines() * tile.stride())?;
        self.scores.grow(dims * tile.lines() * SCORES)?;
        self.partial.grow(dims * tile.batches * tile.row_blocks() * tile.pairs)?;
        for number in 0..dims {
            self.dot_products(group, tile, number)?;
        }
        self.cross_entropy(group, tile)?;
        for number in 0..dims {
            self.through_columns(group, tile, number)?;
        }
        Ok(())
    }

    /// The columns that dimension `number` has beyond the one before.
    fn columns(&self, number: usize) -> (usize, usize) {
        (number.checked_sub(1).map_or(0, |before| self.dims[before]), self.dims[number])
    }

    /// A tile's dot products over those columns, later the gradients by them: `[rows, pairs]` of each micro-batch.
    fn square(&self, tile: &Tile, number: usize) -> Matrix {
        let first: Address = self.dots.view().address();
        let address = first.plus(number * tile.lines() * tile.stride() * size_of::<f32>());
        let square = Matrix::dense(address, Numbers::Float32, tile.rows, tile.pairs);
        square.strided(tile.stride()).batched(tile.rows * tile.stride())
    }

    fn dot_products(&self, group: &Group, tile: &Tile, number: usize) -> Result<(), CudaError> {
        let columns = self.columns(number);
        let part = |from, rows| tile.part(group.embeddings, group.dimension, from, rows, columns);
        let (left, right) = (part(tile.first_anchor, tile.rows), part(tile.pairs, tile.pairs).transposed());
        self.device.multiply(&product(left, right, self.square(tile, number), false, tile.batches))
    }

    /// Turns dot products into gradients by them.
    fn cross_entropy(&self, group: &Group, tile: &Tile) -> Result<(), CudaError> {
        let (dims, factor) = (self.dims.len(), group.share / tile.pairs as f32);
        let arguments = [
            self.dots.view().into(),
            self.scores.view().into(),
            self.along.view().into(),
            self.losses.view().into(),
            self.norms.view().into(),
            self.weights.view().into(),
            dims.into(),
            group.rows.into(),
            tile.first_row.into(),
            tile.first_anchor.into(),
            tile.pairs.into(),
            tile.stride().into(),
            self.scale.into(),
            factor.into(),
        ];
        let threads = (tile.pairs / 4).next_multiple_of(32).clamp(32, 256);
        self.device.launch("matryoshka_rows", [tile.rows, tile.batches, 1], threads, 0, &arguments)?;
        let arguments = [
            self.dots.view().into(),
            self.partial.view().into(),
            self.scores.view().into(),
            self.norms.view().into(),
            self.weights.view().into(),
            dims.into(),
            group.rows.into(),
            tile.first_row.into(),
            tile.first_anchor.into(),
            tile.rows.into(),
            tile.pairs.into(),
            tile.stride().into(),
            factor.into(),
        ];
        let grid = [tile.pairs.div_ceil(BLOCK), tile.row_blocks(), tile.batches];
        self.device.launch("matryoshka_gradient", grid, 256, 0, &arguments)?;
        let arguments = [
            self.along.view().into(),
            self.partial.view().into(),
            self.norms.view().into(),
            group.rows.into(),
            tile.first_row.into(),
            tile.pairs.into(),
            tile.row_blocks().into(),
            u32::from(tile.first_anchor > 0).into(),
        ];
        self.device.launch("matryoshka_columns", [tile.pairs.div_ceil(128), dims, tile.batches], 128, 0, &arguments)
    }

    /// Carries the gradient by dot products back through the columns that they share.
    fn through_columns(&self, group: &Group, tile: &Tile, number: usize) -> Result<(), CudaError> {
        let (columns, square) = (self.columns(number), self.square(tile, number));
        let part = |matrix, from, rows| tile.part(matrix, group.dimension, from, rows, columns);
        let anchors = |matrix| part(matrix, tile.first_anchor, tile.rows);
        let positives = |matrix| part(matrix, tile.pairs, tile.pairs);
        let to_anchors = product(square, positives(group.embeddings), anchors(group.d_embeddings), false, tile.batches);
        self.device.multiply(&to_anchors)?;
        let (left, add) = (square.transposed(), tile.first_anchor > 0);
        let to_positives = product(left, anchors(group.embeddings), positives(group.d_embeddings), add, tile.batches);
        self.device.multiply(&to_positives)
    }
}

/// A product of exact float32 factors.
fn product(left: Matrix, right: Matrix, result: Matrix, add: bool, batches: usize) -> Product {
    Product { left, right, result, bias: None, add, batches, tf32: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cuda::check::Random;
    use crate::kernels::cuda::emulator;

    #[test]
    fn what_was_taken_before_a_group_is_enough_for_it() {
        let (device, dimension) = (emulator::device(), 16);
        for (pairs, tile_bytes) in [
            (&[32, 32, 32, 9][..], TILE_BYTES),
            (&[2], TILE_BYTES),
            (&[9, 9, 2, 65], TILE_BYTES),
            (&[9; 7], 2 * 12 * 4 * 20),
            (&[130, 9, 9], 2 * 132 * 4 * 70),
            (&[65], 2 * 68 * 4 * 10),
            (&[65, 1, 40], 1),
        ] {
            let rows = 2 * pairs.iter().sum::<usize>();
            let embeddings = Buffer::from_slice(&device, &Random::new(3).numbers(rows * dimension)).unwrap();
            let d_embeddings = Buffer::<f32>::zeros(&device, rows * dimension).unwrap();
            let sum = Buffer::<f64>::zeros(&device, 1).unwrap();
            let mut loss = Matryoshka::new(&device, &[16, 4], &[1.0, 1.0], 20.0).unwrap().with_tile_bytes(tile_bytes);
            loss.reserve(rows).unwrap();
            let taken = |loss: &Matryoshka| {
                let of_rows = [&loss.norms, &loss.along].map(Buffer::len);
                ([&loss.dots, &loss.scores, &loss.partial].map(Buffer::len), of_rows, loss.losses.len())
            };
            let before = taken(&loss);
            let (given, made) = (embeddings.view(), d_embeddings.view());
            loss.forward_backward(given, dimension, pairs, 1.0, made, sum.view()).unwrap();
            assert_eq!(taken(&loss), before, "{pairs:?}");
        }
    }
}
