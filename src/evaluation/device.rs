//! Embedding and searching on a CUDA device: embeddings never leave it, only what was found does.

use crate::data::packing::{PackedBatch, longest_first};
use crate::kernels::cuda::search::Search;
use crate::kernels::cuda::{Buffer, CudaError, Device};
use crate::model::ModelError;
use crate::model::cuda::CudaEncoder;

use super::metrics::MAX_RANK;
use super::retriever::{Found, Retriever, With};
use super::search::Hit;

/// The device's.
pub(crate) struct DeviceRetriever<'a> {
    device: &'a Device,
    model: &'a mut CudaEncoder,
    sequences: &'a [Vec<u32>],
    dims: &'a [usize],
    /// The most tokens of a pack.
    pack_tokens: usize,
    on_progress: &'a mut dyn FnMut(usize) -> bool,
    embedded: usize,
    search: Option<Search>,
    /// Of the last chunk, `[rows, dimension]`.
    embeddings: Buffer<f32>,
    rows: Buffer<u32>,
}

fn failed(error: CudaError) -> ModelError {
    ModelError::Device(error.to_string())
}

impl<'a> DeviceRetriever<'a> {
    /// `on_progress` is told how many texts were given to the device after each pack; false stops.
    ///
    /// # Errors
    /// As the device says.
    pub(crate) fn new(
        device: &'a Device,
        model: &'a mut CudaEncoder,
        sequences: &'a [Vec<u32>],
        dims: &'a [usize],
        pack_tokens: usize,
        on_progress: &'a mut dyn FnMut(usize) -> bool,
    ) -> Result<Self, CudaError> {
        let (embeddings, rows) = (Buffer::new(device, 0)?, Buffer::new(device, 0)?);
        let (embedded, search) = (0, None);
        Ok(Self { device, model, sequences, dims, pack_tokens, on_progress, embedded, search, embeddings, rows })
    }

    /// Embeds texts; returns the order in which their embeddings stand in `self.embeddings`.
    fn embed(&mut self, rows: &[u32]) -> Result<Vec<usize>, ModelError> {
        let dimension = self.model.dimension();
        let sequences: Vec<&[u32]> = rows.iter().map(|row| self.sequences[*row as usize].as_slice()).collect();
        self.embeddings.grow(rows.len() * dimension).map_err(failed)?;
        let mut order = Vec::with_capacity(rows.len());
        for pack in longest_first(&sequences, self.pack_tokens) {
            let batch = PackedBatch::from_sequences(pack.iter().map(|place| sequences[*place]));
            let part = self.embeddings.view().part(order.len() * dimension, pack.len() * dimension);
            self.model.forward(&batch, None, false, part).map_err(failed)?;
            order.extend(pack);
            if !(self.on_progress)(self.embedded + order.len()) {
                return Err(ModelError::Cancelled);
            }
        }
        self.embedded += rows.len();
        Ok(order)
    }
}

impl Retriever for DeviceRetriever<'_> {
    fn begin(&mut self, rows: &[u32], queries: &[usize]) -> Result<(), ModelError> {
        let (order, dimension) = (self.embed(rows)?, self.model.dimension());
        let mut embeddings = vec![0.0; rows.len() * dimension];
        self.embeddings.read(0, &mut embeddings).map_err(failed)?;
        let mut places = vec![0; rows.len()];
        order.iter().enumerate().for_each(|(place, row)| places[*row] = place);
        let row = |query: &usize| &embeddings[places[*query] * dimension..][..dimension];
        let queries: Vec<f32> = queries.iter().flat_map(row).copied().collect();
        let queries = Buffer::from_slice(self.device, &queries).map_err(failed)?;
        self.search = Some(Search::new(self.device, queries, dimension, self.dims, MAX_RANK).map_err(failed)?);
        Ok(())
    }

    fn offer(&mut self, rows: &[u32]) -> Result<(), ModelError> {
        let (order, dimension) = (self.embed(rows)?, self.model.dimension());
        let names: Vec<u32> = order.iter().map(|place| rows[*place]).collect();
        self.rows.grow(rows.len()).and_then(|()| self.rows.write(0, &names)).map_err(failed)?;
        let documents = self.embeddings.view().part(0, rows.len() * dimension);
        let search = self.search.as_mut().expect("a search was begun");
        search.offer(documents, self.rows.view().part(0, rows.len())).map_err(failed)
    }

    fn finish(&mut self, with: &With<'_>) -> Result<Found, ModelError> {
        let found = self.search.as_ref().expect("a search was begun").finish().map_err(failed)?;
        let of_query = |(query, hits): (usize, Vec<(u32, f32)>)| {
            let hits: Vec<Hit> = hits.into_iter().map(|(document, score)| Hit { document, score }).collect();
            with(query, &hits)
        };
        Ok(found.into_iter().map(|queries| queries.into_iter().enumerate().map(of_query).collect()).collect())
    }
}
