//! Queue and thread with an encoder whose embeddings can be told from the ids: `[sum, length]`.

use std::sync::Mutex;
use std::sync::mpsc;

use tokio::sync::Semaphore;

use super::*;
use crate::serving::batch::Answer;

/// A sequence with this id makes the encoder panic.
const PANICS: u32 = 666;
/// A sequence with this id is embedded as a number that is none.
const NOT_FINITE: u32 = 777;
const MAX_BATCH_TOKENS: usize = 8;

type Batches = Arc<Mutex<Vec<Vec<Vec<u32>>>>>;

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

    fn encode(
        &self,
        sequences: &[Vec<u32>],
        output: Output,
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
        Ok(match output {
            Output::Pooled => sequences.iter().flat_map(|ids| expected(ids)).collect(),
            Output::Tokens => sequences.iter().flatten().flat_map(|id| expected(&[*id])).collect(),
        })
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

fn push(queue: &Queue<Fake>, encoder: &Arc<Fake>, sequences: Vec<Vec<u32>>) -> Answer {
    push_for(Output::Pooled, queue, encoder, sequences)
}

fn push_for(output: Output, queue: &Queue<Fake>, encoder: &Arc<Fake>, sequences: Vec<Vec<u32>>) -> Answer {
    let place = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let (work, answer) = Work::new(Arc::clone(encoder), output, sequences, place);
    queue.push([work]);
    answer
}

fn received(answer: Answer) -> Result<Vec<f32>, EmbedError> {
    answer.blocking_recv().unwrap().map(|computed| computed.values)
}

/// Runs the thread's loop over what waits, to the end.
fn drain(queue: &Arc<Queue<Fake>>, answers: Vec<Answer>) -> Vec<Result<Vec<f32>, EmbedError>> {
    let thread = start(Arc::clone(queue), 2).unwrap();
    let answers = answers.into_iter().map(received).collect();
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
    let thread = start(Arc::clone(&queue), 2).unwrap();
    let answer = push(&queue, &encoder, vec![vec![1; 8], vec![2; 8]]);
    begun.recv().unwrap();
    drop(answer);
    go.send(()).unwrap();
    let next = push(&queue, &encoder, vec![vec![3]]);
    begun.recv().unwrap();
    go.send(()).unwrap();
    assert!(received(next).is_ok());
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
    let thread = start(Arc::clone(&queue), 2).unwrap();
    let under_way = push(&queue, &encoder, vec![vec![1]]);
    begun.recv().unwrap();
    let waits = push(&queue, &encoder, vec![vec![2]]);
    queue.close();
    let too_late = push(&queue, &encoder, vec![vec![3]]);
    assert!(matches!(received(waits), Err(EmbedError::ShuttingDown)));
    assert!(matches!(received(too_late), Err(EmbedError::ShuttingDown)));
    go.send(()).unwrap();
    assert_eq!(received(under_way).unwrap(), [1.0, 1.0]);
    thread.join().unwrap();
}

#[test]
fn a_place_is_given_back_with_the_answer() {
    let queue = Arc::new(Queue::new(MAX_BATCH_TOKENS));
    let (encoder, _) = fake();
    let places = Arc::new(Semaphore::new(3));
    let two = Arc::clone(&places).try_acquire_many_owned(2).unwrap();
    let (work, answer) = Work::new(encoder, Output::Pooled, vec![vec![1], vec![2]], two);
    assert!(Arc::clone(&places).try_acquire_many_owned(2).is_err());
    queue.push([work]);
    assert!(drain(&queue, vec![answer])[0].is_ok());
    assert_eq!(places.available_permits(), 3);
}

#[test]
fn token_embeddings_are_computed_apart_from_pooled_ones_and_divided_by_tokens() {
    let queue = Arc::new(Queue::new(MAX_BATCH_TOKENS));
    let (encoder, batches) = fake();
    let answers = vec![
        push_for(Output::Tokens, &queue, &encoder, vec![vec![1, 2], vec![3]]),
        push(&queue, &encoder, vec![vec![4, 5]]),
        push_for(Output::Tokens, &queue, &encoder, vec![vec![6, 7]]),
    ];
    let answers = drain(&queue, answers);
    assert_eq!(answers[0].as_ref().unwrap(), &[1.0, 1.0, 2.0, 1.0, 3.0, 1.0]);
    assert_eq!(answers[1].as_ref().unwrap(), &[9.0, 2.0]);
    assert_eq!(answers[2].as_ref().unwrap(), &[6.0, 1.0, 7.0, 1.0]);
    assert_eq!(batches.lock().unwrap().len(), 2, "those of one kind go together");
}

#[test]
fn who_is_refused_is_told_to_come_back_when_half_is_done() {
    let queue = Queue::new(MAX_BATCH_TOKENS);
    let (encoder, _) = fake();
    assert_eq!(queue.retry_after_seconds(), 1, "nothing is known yet");
    queue.computed(5, 100, std::time::Duration::from_secs(1));
    let _answers: Vec<Answer> = (0..10).map(|_| push(&queue, &encoder, vec![vec![1; 100]])).collect();
    assert_eq!(queue.retry_after_seconds(), 5);
    let _more: Vec<Answer> = (0..1000).map(|_| push(&queue, &encoder, vec![vec![1; 100]])).collect();
    assert_eq!(queue.retry_after_seconds(), 60, "nobody is sent away for longer");
}
