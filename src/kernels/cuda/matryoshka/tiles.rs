//! How a group of micro-batches is cut into tiles, each of which takes one launch of every kernel and product.

use crate::kernels::cuda::{Matrix, Numbers, View};

/// Bytes that the scores of a tile may take at all dimensions together.
pub(super) const TILE_BYTES: usize = 64 << 20;
/// Anchors whose gradients one block of `matryoshka_gradient` adds up, and positives that it takes.
pub(super) const BLOCK: usize = 32;
/// The most blocks that a launch may have beside its first direction.
const MOST_BATCHES: usize = 65_535;

/// `rows` anchors from `first_anchor` on of each of `batches` micro-batches of `pairs` pairs, of which the first begins
/// at row `first_row` of the group.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tile {
    pub(super) first_row: usize,
    pub(super) batches: usize,
    pub(super) pairs: usize,
    pub(super) first_anchor: usize,
    pub(super) rows: usize,
}

impl Tile {
    /// From one anchor's dot products to the next's: a multiple of 16 bytes.
    pub(super) fn stride(&self) -> usize {
        self.pairs.next_multiple_of(4)
    }

    /// Anchors of all its micro-batches.
    pub(super) fn lines(&self) -> usize {
        self.batches * self.rows
    }

    pub(super) fn row_blocks(&self) -> usize {
        self.rows.div_ceil(BLOCK)
    }

    /// Rows `from..from + rows` and some columns of every micro-batch, of a matrix like the embeddings.
    pub(super) fn part(
        &self,
        matrix: View<f32>,
        dimension: usize,
        from: usize,
        rows: usize,
        columns: (usize, usize),
    ) -> Matrix {
        let address = matrix.address().plus(((self.first_row + from) * dimension + columns.0) * size_of::<f32>());
        let part = Matrix::dense(address, Numbers::Float32, rows, columns.1 - columns.0);
        part.strided(dimension).batched(2 * self.pairs * dimension)
    }
}

/// Runs of micro-batches of the same size: (pairs, how many).
pub(super) fn runs(pairs: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    pairs.chunk_by(|a, b| a == b).map(|run| (run[0], run.len()))
}

/// The tiles of `batches` micro-batches of `pairs` pairs from `first_row` on, whose scores at all dimensions take at
/// most `tile_bytes` wherever that leaves one anchor.
pub(super) fn tiles(first_row: usize, pairs: usize, batches: usize, dims: usize, tile_bytes: usize) -> Vec<Tile> {
    let whole = Tile { first_row, batches, pairs, first_anchor: 0, rows: pairs };
    let anchors = (tile_bytes / (dims * whole.stride() * size_of::<f32>())).max(1);
    if anchors < pairs {
        let rows = if anchors > BLOCK { anchors / BLOCK * BLOCK } else { anchors };
        let of_batch = |batch: usize| {
            let first_row = first_row + batch * 2 * pairs;
            let firsts = (0..pairs).step_by(rows);
            firsts.map(move |first| Tile {
                first_row,
                batches: 1,
                first_anchor: first,
                rows: rows.min(pairs - first),
                ..whole
            })
        };
        return (0..batches).flat_map(of_batch).collect();
    }
    let at_once = (anchors / pairs).min(MOST_BATCHES);
    let of_batches = |first: usize| {
        let (first_row, batches) = (first_row + first * 2 * pairs, at_once.min(batches - first));
        Tile { first_row, batches, ..whole }
    };
    (0..batches).step_by(at_once).map(of_batches).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_stay_within_their_bytes_and_cover_all_anchors() {
        // 16 micro-batches of 32 pairs go at once.
        let recipe = tiles(0, 32, 16, 5, TILE_BYTES);
        assert_eq!(recipe, [Tile { first_row: 0, batches: 16, pairs: 32, first_anchor: 0, rows: 32 }]);
        for (pairs, batches, bytes) in
            [(8192, 1, TILE_BYTES), (65, 3, 5 * 68 * 4 * 40), (9, 7, 5 * 12 * 4 * 20), (3, 2, 1)]
        {
            let tiles = tiles(10, pairs, batches, 5, bytes);
            let mut row = (10, 0);
            for tile in &tiles {
                assert!(5 * tile.lines() * tile.stride() * 4 <= bytes || tile.lines() == 1);
                assert_eq!((tile.first_row, tile.first_anchor), row);
                row.1 += tile.rows;
                if row.1 == pairs {
                    row = (row.0 + tile.batches * 2 * pairs, 0);
                }
            }
            assert_eq!(row, (10 + batches * 2 * pairs, 0));
        }
    }

    #[test]
    fn runs_are_of_equal_sizes() {
        assert!(runs(&[32, 32, 9, 32]).eq([(32, 2), (9, 1), (32, 1)]));
    }
}
