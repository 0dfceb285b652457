//! What an evaluation asks for: queries embedded, documents embedded and met, the best read off; on whatever device.

use crate::model::{ModelError, SentenceEncoder, Workspace};

use super::metrics::{MAX_RANK, RankedQuery};
use super::search::{Hit, Search};

/// Makes of a query's number and the documents found for it, best first, what is kept.
pub(crate) type With<'a> = dyn Fn(usize, &[Hit]) -> (RankedQuery, Vec<Hit>) + Sync + 'a;

/// What was made of each query's documents, `[dims][queries]`.
pub(crate) type Found = Vec<Vec<(RankedQuery, Vec<Hit>)>>;

/// Embeds texts, by their rows in a table, and searches.
pub(crate) trait Retriever {
    /// Embeds distinct texts and begins a search with queries, each of which is one of them, by its place.
    ///
    /// # Errors
    /// [`ModelError::Cancelled`] where it is to stop.
    fn begin(&mut self, rows: &[u32], queries: &[usize]) -> Result<(), ModelError>;

    /// Embeds documents and lets every query meet them.
    ///
    /// # Errors
    /// As [`Retriever::begin`].
    fn offer(&mut self, rows: &[u32]) -> Result<(), ModelError>;

    /// What was found.
    ///
    /// # Errors
    /// As [`Retriever::begin`].
    fn finish(&mut self, with: &With<'_>) -> Result<Found, ModelError>;
}

/// The CPU's.
pub(super) struct HostRetriever<'a> {
    encoder: &'a SentenceEncoder,
    sequences: &'a [Vec<u32>],
    dims: &'a [usize],
    workspace: &'a mut Workspace,
    on_progress: &'a mut dyn FnMut(usize) -> bool,
    embedded: usize,
    search: Option<Search>,
}

impl<'a> HostRetriever<'a> {
    /// `on_progress` is told how many texts are embedded after each pack and is asked again while searching; false stops.
    pub(super) fn new(
        encoder: &'a SentenceEncoder,
        sequences: &'a [Vec<u32>],
        dims: &'a [usize],
        workspace: &'a mut Workspace,
        on_progress: &'a mut dyn FnMut(usize) -> bool,
    ) -> Self {
        Self { encoder, sequences, dims, workspace, on_progress, embedded: 0, search: None }
    }

    fn embed(&mut self, rows: &[u32]) -> Result<Vec<f32>, ModelError> {
        let sequences: Vec<&[u32]> = rows.iter().map(|row| self.sequences[*row as usize].as_slice()).collect();
        let before = self.embedded;
        let embeddings =
            self.encoder.encode(&sequences, self.workspace, &mut |done| (self.on_progress)(before + done))?;
        self.embedded += rows.len();
        Ok(embeddings)
    }
}

impl Retriever for HostRetriever<'_> {
    fn begin(&mut self, rows: &[u32], queries: &[usize]) -> Result<(), ModelError> {
        let (embeddings, dimension) = (self.embed(rows)?, self.encoder.summary().dimension);
        let queries = queries.iter().flat_map(|place| &embeddings[place * dimension..][..dimension]).copied().collect();
        self.search = Some(Search::new(queries, dimension, self.dims, MAX_RANK));
        Ok(())
    }

    fn offer(&mut self, rows: &[u32]) -> Result<(), ModelError> {
        let embeddings = self.embed(rows)?;
        let embedded = self.embedded;
        let search = self.search.as_mut().expect("a search was begun");
        let goes_on = search.offer(&embeddings, rows, &mut || (self.on_progress)(embedded));
        if goes_on { Ok(()) } else { Err(ModelError::Cancelled) }
    }

    fn finish(&mut self, with: &With<'_>) -> Result<Found, ModelError> {
        Ok(self.search.as_ref().expect("a search was begun").finish(self.dims, with))
    }
}
