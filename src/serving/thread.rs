//! The thread that embeds: takes batches from the queue, computes them, answers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use rayon::{ThreadPoolBuildError, ThreadPoolBuilder};

use crate::model::{ModelError, Workspace};

use super::EmbedError;
use super::batch::{Batch, Encoder, Output, Work};
use super::queue::Queue;

/// Starts the thread, which computes with `threads` threads of its own; it ends when the queue is closed.
///
/// # Errors
/// Where the system gives no threads.
pub(super) fn start<E: Encoder>(queue: Arc<Queue<E>>, threads: usize) -> Result<JoinHandle<()>, ThreadPoolBuildError> {
    let pool = ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("matryo-serving-{index}"));
    let pool = pool.build()?;
    let thread = std::thread::Builder::new().name("matryo-embedding".into());
    // The loop runs on one of the pool's threads, so that a batch begins without waking another.
    Ok(thread.spawn(move || pool.install(|| run(&queue))).expect("a system that gave threads gives one more"))
}

/// Closes the queue when the thread ends, however it ends: callers are told rather than left waiting.
struct CloseAtEnd<'q, E>(&'q Queue<E>);

impl<E> Drop for CloseAtEnd<'_, E> {
    fn drop(&mut self) {
        self.0.close();
    }
}

fn run<E: Encoder>(queue: &Queue<E>) {
    let _close = CloseAtEnd(queue);
    let mut workspace = Workspace::default();
    while let Some(batch) = queue.next_batch() {
        let (texts, tokens) = (batch.sequences.len(), batch.sequences.iter().map(Vec::len).sum());
        let begun = Instant::now();
        let unfinished = compute(batch, &mut workspace);
        queue.computed(texts, tokens, begun.elapsed());
        queue.push(unfinished);
    }
}

/// Embeds a batch and answers the requests that are done with it. Returns those of which more is to come.
fn compute<E: Encoder>(batch: Batch<E>, workspace: &mut Workspace) -> Vec<Work<E>> {
    let Batch { encoder, output, sequences, parts } = batch;
    let is_wanted = || parts.iter().any(|part| !part.work.caller_has_left());
    match embed(&*encoder, output, &sequences, workspace, &is_wanted) {
        Ok(values) => {
            let mut rest = &values[..];
            let settled = parts.into_iter().filter_map(|part| {
                let (own, others) = rest.split_at(output.rows(&sequences[part.range]) * encoder.dimension());
                rest = others;
                settle::<E>(Ok(own.to_vec()), part.work)
            });
            settled.collect()
        }
        Err(error) if parts.len() == 1 => {
            parts.into_iter().filter_map(|part| settle(Err(error.clone()), part.work)).collect()
        }
        // One request's fault must not fail the others: each is tried alone.
        Err(_) => parts
            .into_iter()
            .filter_map(|part| {
                let is_wanted = || !part.work.caller_has_left();
                let values = embed(&*encoder, output, &sequences[part.range.clone()], workspace, &is_wanted);
                settle(values, part.work)
            })
            .collect(),
    }
}

/// Adds a batch's embeddings to a request, and answers it where they were the last or where it failed.
fn settle<E: Encoder>(values: Result<Vec<f32>, EmbedError>, mut work: Work<E>) -> Option<Work<E>> {
    let failure = match values {
        Ok(values) if values.iter().any(|value| !value.is_finite()) => {
            tracing::error!("an embedding is not finite");
            Some(EmbedError::Failed("the model gave numbers that are not finite; its weights may be damaged"))
        }
        Ok(values) => {
            if !work.add(values) {
                return Some(work);
            }
            None
        }
        Err(error) => Some(error),
    };
    work.answer(failure);
    None
}

/// `[rows, dimension]`. A panic is an error like any other, so that the thread lives on.
fn embed<E: Encoder>(
    encoder: &E,
    output: Output,
    sequences: &[Vec<u32>],
    workspace: &mut Workspace,
    is_wanted: &dyn Fn() -> bool,
) -> Result<Vec<f32>, EmbedError> {
    let call = AssertUnwindSafe(|| encoder.encode(sequences, output, workspace, &mut |_| is_wanted()));
    match catch_unwind(call) {
        Ok(Ok(values)) if values.len() == output.rows(sequences) * encoder.dimension() => Ok(values),
        Ok(Ok(values)) => {
            tracing::error!(numbers = values.len(), sequences = sequences.len(), "the model gave the wrong shape");
            Err(EmbedError::Failed("the model gave embeddings of the wrong shape"))
        }
        Ok(Err(error)) => {
            if !matches!(error, ModelError::Cancelled) {
                tracing::error!(%error, "embedding failed");
            }
            Err(EmbedError::Model(Arc::new(error)))
        }
        Err(panic) => {
            // A panic may have left it half written.
            *workspace = Workspace::default();
            tracing::error!(panic = panic_message(&*panic), "embedding panicked");
            Err(EmbedError::Failed("the model broke down on the request"))
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
