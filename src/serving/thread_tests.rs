//! Queue and thread with an encoder whose embeddings can be told from the ids: `[sum, length]`.

use std::sync::Mutex;
use std::sync::mpsc;

use tokio::sync::{Semaphore, oneshot};

use super::*;

/// A sequence with this id makes the encoder panic.
const PANICS: u32 = 666;
/// A sequence with this id is embedded as a number that is none.
const NOT_FINITE: u32 = 777;
const MAX_BATCH_TOKENS: usize = 8;

type Batches = Arc<Mutex<Vec<Vec<Vec<u32>>>>>;
type Answer = oneshot::Receiver<Result<Vec<f32>, EmbedError>>;

struct Fake {
    /// What it was given, batch by batch.
    batches: Batches,
    /// Told at each batch's start; the encoder goes on when `go` says so.
    gate: Option<(mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>)>,
}

impl Encoder for Fake {
    fn dimension(&self) -> usize {
        2
    }

    fn encode_pooled(
        &self,
        sequences: &[Vec<u32>],
        _workspace: &mut Workspace,
        on_progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<f32>, ModelError> {
        self.batches.lock().unwrap().push(sequences.to_vec());
        if let Some((begun, go)) = &self.gate {
            begun.send(()).unwrap();
            go.lock().unwrap().recv().unwrap();
        }
        assert!(!sequences.concat().contains(&PANICS), "asked to panic");
        if !on_progress(sequences.len()) {
            return Err(ModelError::Cancelled);
        }
        Ok(sequences.iter().flat_map(|ids| expected(ids)).collect())
    }
}

fn expected(ids: &[u32]) -> [f32; 2] {
    let sum = if ids.contains(&NOT_FINITE) { f32::NAN } else { ids.iter().sum::<u32>() as f32 };
    [sum, ids.len() as f32]
}

fn fake() -> (Arc<Fake>, Batches) {
    let batches = Batches::default();
    (Arc::new(Fake { batches: Arc::clone(&batches), gate: None }), batches)
}

/// A fake that stops at the start of each batch: told by the receiver, let go by the sender.
fn gated() -> (Arc<Fake>, Batches, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((begun, has_begun), (go, wait), batches) = (mpsc::channel(), mpsc::channel(), Batches::default());
    let fake = Fake { batches: Arc::clone(&batches), gate: Some((begun, Mutex::new(wait))) };
    (Arc::new(fake), batches, has_begun, go)
}

fn work(encoder: &Arc<Fake>, sequences: Vec<Vec<u32>>) -> (Work<Fake>, Answer) {
    let (reply, answer) = oneshot::channel();
    let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    (Work { encoder: Arc::clone(encoder), sequences, taken: 0, values: Vec::new(), reply, place }, answer)
}

fn push(queue: &Queue<Fake>, encoder: &Arc<Fake>, sequences: Vec<Vec<u32>>) -> Answer {
    let (work, answer) = work(encoder, sequences);
    queue.push([work]);
    answer
}

/// Runs the thread's loop over what waits, to the end.
fn drain(queue: &Arc<Queue<Fake>>, answers: Vec<Answer>) -> Vec<Result<Vec<f32>, EmbedError>> {
    let thread = start(Arc::clone(queue)).unwrap();
    let answers = answers.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect();
    queue.close();
    thread.join().unwrap();
    answers
}

#[test]
fn requests_that_wait_for_one_model_are_computed_together_and_answered_apart() {
    let queue = Arc::new(Queue::new(MAX_BATCH_TOKENS));
    let (encoder, batches) = fake();
    let answers = vec![
        push(&queue, &encoder, vec![vec![1, 2], vec![3]]),
        push(&queue, &encoder, vec![vec![4, 5, 6]]),
        push(&queue, &encoder, vec![vec![7, 7, 7]]),
    ];
    let answers = drain(&queue, answers);
    assert_eq!(answers[0].as_ref().unwrap(), &[3.0, 2.0, 3.0, 1.0]);
    assert_eq!(answers[1].as_ref().unwrap(), &[15.0, 3.0]);
    assert_eq!(answers[2].as_ref().unwrap(), &[21.0, 3.0]);
    let batches = batches.lock().unwrap();
    assert_eq!(*batches, [vec![vec![1, 2], vec![3], vec![4, 5, 6]], vec![vec![7, 7, 7]]]);
}

#[test]
fn a_long_request_gives_way_to_short_ones_and_keeps_its_order() {
    let queue = Arc::new(Queue::new(MAX_BATCH_TOKENS));
    let (encoder, batches) = fake();
    let long: Vec<Vec<u32>> = (1..=5).map(|id| vec![id; 4]).collect();
    let answers = vec![push(&queue, &encoder, long.clone()), push(&queue, &encoder, vec![vec![9]])];
    let answers = drain(&queue, answers);
    let all: Vec<f32> = long.iter().flat_map(|ids| expected(ids)).collect();
    assert_eq!(answers[0].as_ref().unwrap(), &all);
    assert_eq!(answers[1].as_ref().unwrap(), &[9.0, 1.0]);
    let batches = batches.lock().unwrap();
    assert!(batches[1].contains(&vec![9]), "the short one is in the second batch: {batches:?}");
}

#[test]
fn a_sequence_longer_than_a_batch_is_computed_alone() {
    let queue = Arc::new(Queue::new(MAX_BATCH_TOKENS));
    let (encoder, batches) = fake();
    let answers = vec![push(&queue, &encoder, vec![vec![1; 20], vec![2]])];
    assert_eq!(drain(&queue, answers)[0].as_ref().unwrap(), &[20.0, 20.0, 2.0, 1.0]);
    assert_eq!(batches.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn models_are_never_mixed() {
    let queue = Arc::new(Queue::new(MAX_BATCH_TOKENS));
    let ((one, of_one), (other, of_other)) = (fake(), fake());
    let answers =
        vec![push(&queue, &one, vec![vec![1]]), push(&queue, &other, vec![vec![2]]), push(&queue, &one, vec![vec![3]])];
    assert!(drain(&queue, answers).iter().all(Result::is_ok));
    assert_eq!(*of_one.lock().unwrap(), [vec![vec![1], vec![3]]]);
    assert_eq!(*of_other.lock().unwrap(), [vec![vec![2]]]);
}

#[test]
fn callers_who_left_are_skipped() {
    let queue = Arc::new(Queue::new(MAX_BATCH_TOKENS));
    let (encoder, batches) = fake();
    drop(push(&queue, &encoder, vec![vec![1]]));
    let answers = vec![push(&queue, &encoder, vec![vec![2]])];
    assert!(drain(&queue, answers)[0].is_ok());
    assert_eq!(*batches.lock().unwrap(), [vec![vec![2]]]);
}

#[test]
fn a_batch_that_nobody_waits_for_any_more_is_given_up() {
    let queue = Arc::new(Queue::new(MAX_BATCH_TOKENS));
    let (encoder, batches, begun, go) = gated();
    let thread = start(Arc::clone(&queue)).unwrap();
    let answer = push(&queue, &encoder, vec![vec![1; 8], vec![2; 8]]);
    begun.recv().unwrap();
    drop(answer);
    go.send(()).unwrap();
    let next = push(&queue, &encoder, vec![vec![3]]);
    begun.recv().unwrap();
    go.send(()).unwrap();
    assert!(next.blocking_recv().unwrap().is_ok());
    assert_eq!(*batches.lock().unwrap(), [vec![vec![1; 8]], vec![vec![3]]]);
    queue.close();
    thread.join().unwrap();
}

#[test]
fn a_panic_fails_its_own_request_alone_and_the_thread_lives_on() {
    let queue = Arc::new(Queue::new(MAX_BATCH_TOKENS));
    let (encoder, batches) = fake();
    let answers = vec![
        push(&queue, &encoder, vec![vec![1]]),
        push(&queue, &encoder, vec![vec![PANICS]]),
        push(&queue, &encoder, vec![vec![2]]),
        push(&queue, &encoder, vec![vec![NOT_FINITE]]),
    ];
    let answers = drain(&queue, answers);
    assert_eq!(answers[0].as_ref().unwrap(), &[1.0, 1.0]);
    assert!(matches!(answers[1], Err(EmbedError::Failed(_))), "{:?}", answers[1]);
    assert_eq!(answers[2].as_ref().unwrap(), &[2.0, 1.0]);
    assert!(matches!(answers[3], Err(EmbedError::Failed(_))), "{:?}", answers[3]);
    assert_eq!(batches.lock().unwrap().len(), 5, "all at once, then each alone");
}

#[test]
fn closing_answers_what_waits_and_what_comes_later() {
    let queue = Arc::new(Queue::new(MAX_BATCH_TOKENS));
    let (encoder, _, begun, go) = gated();
    let thread = start(Arc::clone(&queue)).unwrap();
    let under_way = push(&queue, &encoder, vec![vec![1]]);
    begun.recv().unwrap();
    let waits = push(&queue, &encoder, vec![vec![2]]);
    queue.close();
    let too_late = push(&queue, &encoder, vec![vec![3]]);
    assert!(matches!(waits.blocking_recv().unwrap(), Err(EmbedError::ShuttingDown)));
    assert!(matches!(too_late.blocking_recv().unwrap(), Err(EmbedError::ShuttingDown)));
    go.send(()).unwrap();
    assert_eq!(under_way.blocking_recv().unwrap().unwrap(), [1.0, 1.0]);
    thread.join().unwrap();
}

#[test]
fn a_place_is_given_back_with_the_answer() {
    let queue = Arc::new(Queue::new(MAX_BATCH_TOKENS));
    let (encoder, _) = fake();
    let places = Arc::new(Semaphore::new(3));
    let (mut work, answer) = work(&encoder, vec![vec![1], vec![2]]);
    work.place = Arc::clone(&places).try_acquire_many_owned(2).unwrap();
    assert!(Arc::clone(&places).try_acquire_many_owned(2).is_err());
    queue.push([work]);
    assert!(drain(&queue, vec![answer])[0].is_ok());
    assert_eq!(places.available_permits(), 3);
}
