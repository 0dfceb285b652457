//! Exact search on the device: the best documents for each query at every dimension, in one pass over the documents, as
//! the CPU engine's (`evaluation/search.rs`). Tiles of queries meet tiles of documents; a tile's dot products grow from
//! the smallest dimension to the largest, and at each one what is good enough is merged into lists.

use super::{Buffer, CudaError, Device, Matrix, Numbers, Product, View};

/// Bytes that a tile's dot products may take.
const TILE_BYTES: usize = 64 << 20;
/// Documents of a tile; a multiple of 4.
const TILE_DOCUMENTS: usize = 16_384;
/// Threads of `search_merge`.
const THREADS: usize = 256;
/// The most documents that can be asked for: with those that `search_merge` looks at between two barriers they fill its
/// room.
const MOST: usize = 1024;

/// The rows and scores of the documents found for a query, the best first.
pub(crate) type Hits = Vec<(u32, f32)>;

/// A search under way: queries at every dimension, and the best documents that they have met.
#[derive(Debug)]
pub(crate) struct Search {
    device: Device,
    /// `[queries, dimension]`.
    queries: Buffer<f32>,
    count: usize,
    dimension: usize,
    k: usize,
    /// Ascending, none twice.
    dims: Vec<usize>,
    dims_there: Buffer<u32>,
    /// Where each dimension that was asked for stands among them.
    asked: Vec<usize>,
    /// `[dims, queries]`.
    query_scales: Buffer<f32>,
    /// Keys, the best first, `[dims, queries, k]`.
    best: Buffer<u64>,
    tile_bytes: usize,
    tile_documents: usize,
    /// `[queries, documents]` of a tile.
    dots: Buffer<f32>,
    /// `[dims, documents]` of a tile.
    document_scales: Buffer<f32>,
}

impl Search {
    /// Will find the `k` best documents for each query (`[queries, dimension]`) by cosine similarity of embeddings cut
    /// to each of `dims`, which may stand in any order.
    ///
    /// # Errors
    /// As the device says.
    ///
    /// # Panics
    /// Where `k` is not from 1 to 1,024, or a dimension not from 1 to the embeddings' own.
    pub(crate) fn new(
        device: &Device,
        queries: Buffer<f32>,
        dimension: usize,
        dims: &[usize],
        k: usize,
    ) -> Result<Self, CudaError> {
        assert!((1..=MOST).contains(&k), "{k} documents");
        assert!(dims.iter().all(|dim| (1..=dimension).contains(dim)), "{dims:?} of {dimension}");
        let mut ascending = dims.to_vec();
        ascending.sort_unstable();
        ascending.dedup();
        let asked = dims.iter().map(|dim| ascending.partition_point(|other| other < dim)).collect();
        let dims_there: Vec<u32> = ascending.iter().map(|dim| *dim as u32).collect();
        let count = queries.len() / dimension;
        let search = Self {
            device: device.clone(),
            count,
            dimension,
            k,
            dims_there: Buffer::from_slice(device, &dims_there)?,
            asked,
            query_scales: Buffer::new(device, ascending.len() * count)?,
            best: Buffer::zeros(device, ascending.len() * count * k)?,
            tile_bytes: TILE_BYTES,
            tile_documents: TILE_DOCUMENTS,
            dots: Buffer::new(device, 0)?,
            document_scales: Buffer::new(device, 0)?,
            dims: ascending,
            queries,
        };
        search.scales(search.queries.view(), count, &search.query_scales, count)?;
        Ok(search)
    }

    /// With other room for a tile's dot products, and so many documents in it.
    ///
    /// # Panics
    /// Where these are not a multiple of 4, as loads of 16 bytes need.
    pub(crate) fn with_tiles(self, tile_bytes: usize, tile_documents: usize) -> Self {
        assert!(tile_documents > 0 && tile_documents.is_multiple_of(4), "{tile_documents} documents");
        Self { tile_bytes, tile_documents, ..self }
    }

    /// Meets every query with a chunk of documents (`[rows.len(), dimension]`); `rows` names them, none twice in a
    /// search. Documents of equal scores are told apart by their rows, so the order in which they come changes nothing.
    ///
    /// # Errors
    /// As the device says.
    ///
    /// # Panics
    /// Where there are not as many documents as names.
    pub(crate) fn offer(&mut self, documents: View<f32>, rows: View<u32>) -> Result<(), CudaError> {
        let dimension = self.dimension;
        assert_eq!(documents.len(), rows.len() * dimension, "each document has a name");
        for first in (0..rows.len()).step_by(self.tile_documents) {
            let count = self.tile_documents.min(rows.len() - first);
            let stride = count.next_multiple_of(4);
            self.document_scales.grow(self.dims.len() * stride)?;
            let documents = documents.part(first * dimension, count * dimension);
            self.scales(documents, count, &self.document_scales, stride)?;
            let queries = (self.tile_bytes / (stride * size_of::<f32>())).clamp(1, self.count.max(1));
            self.dots.grow(queries * stride)?;
            for first_query in (0..self.count).step_by(queries) {
                let queries = (first_query, queries.min(self.count - first_query));
                self.tile(queries, documents, rows.part(first, count))?;
            }
        }
        Ok(())
    }

    /// What was found: `[dims][queries]`, dimensions in the order asked for, and for each the rows and scores of at
    /// most `k` documents, the best first, equal scores by row.
    ///
    /// # Errors
    /// As the device says.
    pub(crate) fn finish(&self) -> Result<Vec<Vec<Hits>>, CudaError> {
        let mut keys = vec![0_u64; self.count * self.k];
        let of_dim = |place: &usize| {
            self.best.read(place * keys.len(), &mut keys)?;
            let lists = keys.chunks_exact(self.k);
            Ok(lists.map(|list| list.iter().filter(|key| **key > 0).map(|key| hit(*key)).collect()).collect())
        };
        self.asked.iter().map(of_dim).collect()
    }

    /// One over the length of each row cut to each dimension, to `scales`, `[dims, stride]`.
    fn scales(&self, embeddings: View<f32>, rows: usize, scales: &Buffer<f32>, stride: usize) -> Result<(), CudaError> {
        if rows == 0 {
            return Ok(());
        }
        let arguments = [
            scales.view().into(),
            embeddings.into(),
            self.dims_there.view().into(),
            self.dims.len().into(),
            rows.into(),
            stride.into(),
            self.dimension.into(),
        ];
        self.device.launch("search_scales", [rows.div_ceil(4), 1, 1], 128, 0, &arguments)
    }

    /// Meets `queries`, their first and how many, with a tile of documents.
    fn tile(&self, (first, queries): (usize, usize), documents: View<f32>, rows: View<u32>) -> Result<(), CudaError> {
        let stride = rows.len().next_multiple_of(4);
        let mut start = 0;
        for (number, end) in self.dims.iter().enumerate() {
            let columns = |all: View<f32>, row: usize, count: usize| {
                let address = all.address().plus((row * self.dimension + start) * size_of::<f32>());
                Matrix::dense(address, Numbers::Float32, count, end - start).strided(self.dimension)
            };
            let dots = self.dots.view().address();
            self.device.multiply(&Product {
                left: columns(self.queries.view(), first, queries),
                right: columns(documents, 0, rows.len()).transposed(),
                result: Matrix::dense(dots, Numbers::Float32, queries, rows.len()).strided(stride),
                bias: None,
                add: number > 0,
                batches: 1,
                tf32: false,
            })?;
            let place = number * self.count + first;
            let arguments = [
                self.best.view().part(place * self.k, queries * self.k).into(),
                self.dots.view().into(),
                self.query_scales.view().part(place, queries).into(),
                self.document_scales.view().part(number * stride, stride).into(),
                rows.into(),
                self.k.into(),
                rows.len().into(),
                stride.into(),
            ];
            self.device.launch("search_merge", [queries, 1, 1], THREADS, 0, &arguments)?;
            start = *end;
        }
        Ok(())
    }
}

/// The row and score of a key, `search_order` in reverse.
fn hit(key: u64) -> (u32, f32) {
    let order = (key >> 32) as u32;
    let bits = if order >> 31 == 1 { order & 0x7fff_ffff } else { !order };
    (!(key as u32), f32::from_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_made() {
        assert_eq!(hit(0x8000_0000_0000_0000 | u64::from(!7_u32)), (7, 0.0));
        assert_eq!(hit(u64::from(1.0_f32.to_bits() | 1 << 31) << 32 | u64::from(!0_u32)), (0, 1.0));
        assert_eq!(hit(u64::from(!(-0.5_f32).to_bits()) << 32), (u32::MAX, -0.5));
        assert_eq!(hit(0x007f_ffff_0000_0000), (u32::MAX, f32::NEG_INFINITY));
    }
}
