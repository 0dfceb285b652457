//! The registry with a loader that counts, fails or waits as it is told.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use crate::domain::{JobId, ModelId};

use super::*;

fn base(name: &str) -> ResolvedModel {
    // One id for all: the name tells them apart.
    let id = "0192f0c1-2345-7abc-8def-0123456789ab".parse::<ModelId>().unwrap();
    ResolvedModel { key: ModelKey::Base { name: name.into(), id }, folder: PathBuf::from(name) }
}

/// Loads a folder's name as a model of 10 bytes, and counts.
fn counting(budget_bytes: u64) -> (Registry<String>, Arc<AtomicUsize>) {
    let loads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&loads);
    let registry = Registry::new(budget_bytes, move |folder| {
        count.fetch_add(1, Ordering::SeqCst);
        Ok((folder.display().to_string(), 10))
    });
    (registry, loads)
}

fn refusal() -> ModelError {
    ModelError::Unsupported("it is a test".into())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_ask_at_once_share_one_load() {
    let loads = Arc::new(AtomicUsize::new(0));
    let (go, wait) = mpsc::channel::<()>();
    let (count, wait) = (Arc::clone(&loads), Mutex::new(wait));
    let registry = Registry::new(100, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        wait.lock().unwrap().recv().unwrap();
        Ok(("weights".to_owned(), 10))
    });
    let callers = futures::future::join_all((0..16).map(|_| registry.get(base("m"))));
    // All 16 have asked when the load is let go: join_all polls each before it waits.
    let (models, ()) = tokio::join!(callers, async { go.send(()).unwrap() });
    let models: Vec<Arc<String>> = models.into_iter().map(Result::unwrap).collect();
    assert!(models.iter().all(|model| Arc::ptr_eq(model, &models[0])));
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_failed_load_is_an_error_to_its_callers_and_tried_again_by_the_next() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = Arc::clone(&broken);
    let registry = Registry::new(100, move |_| {
        if is_broken.load(Ordering::SeqCst) { Err(refusal()) } else { Ok(("weights".to_owned(), 10)) }
    });
    let (first, second) = tokio::join!(registry.get(base("m")), registry.get(base("m")));
    for error in [first.unwrap_err(), second.unwrap_err()] {
        assert!(matches!(&error, EmbedError::Model(_)), "{error}");
        assert_eq!(error.to_string(), refusal().to_string());
    }
    broken.store(false, Ordering::SeqCst);
    assert_eq!(*registry.get(base("m")).await.unwrap(), "weights");
}

#[tokio::test]
async fn a_loader_that_panics_is_an_error_and_the_next_load_works() {
    let first = AtomicBool::new(true);
    let registry = Registry::new(100, move |_| {
        assert!(!first.swap(false, Ordering::SeqCst), "the first load panics");
        Ok(((), 10))
    });
    assert!(matches!(registry.get(base("m")).await, Err(EmbedError::Failed(_))));
    assert!(registry.get(base("m")).await.is_ok());
}

#[tokio::test]
async fn beyond_the_budget_the_least_recently_used_goes() {
    let (registry, loads) = counting(20);
    for name in ["a", "b", "a", "c"] {
        registry.get(base(name)).await.unwrap();
    }
    assert_eq!(loads.load(Ordering::SeqCst), 3);
    registry.get(base("a")).await.unwrap();
    registry.get(base("c")).await.unwrap();
    assert_eq!(loads.load(Ordering::SeqCst), 3, "both are still there");
    registry.get(base("b")).await.unwrap();
    assert_eq!(loads.load(Ordering::SeqCst), 4, "it made room for c");
}

#[tokio::test]
async fn one_model_is_kept_however_small_the_budget() {
    let (registry, loads) = counting(1);
    registry.get(base("a")).await.unwrap();
    registry.get(base("a")).await.unwrap();
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_holds_a_model_keeps_it_when_it_is_evicted() {
    let (registry, loads) = counting(100);
    let held = registry.get(base("a")).await.unwrap();
    registry.evict(&ModelReference::Base("b".into()));
    registry.get(base("a")).await.unwrap();
    assert_eq!(loads.load(Ordering::SeqCst), 1);
    registry.evict(&ModelReference::Base("a".into()));
    assert_eq!(*held, "a");
    registry.get(base("a")).await.unwrap();
    assert_eq!(loads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_new_best_checkpoint_is_another_model() {
    let (registry, loads) = counting(100);
    let job_id = JobId::generate();
    let checkpoint = |epoch: u32, sha256: &str| ResolvedModel {
        key: ModelKey::Checkpoint { job_id, epoch, sha256: sha256.into() },
        folder: PathBuf::from(format!("epoch-{epoch}")),
    };
    for (epoch, sha256) in [(1, "aa"), (2, "bb"), (2, "bb"), (2, "cc")] {
        registry.get(checkpoint(epoch, sha256)).await.unwrap();
    }
    assert_eq!(loads.load(Ordering::SeqCst), 3);
    registry.evict(&ModelReference::JobBest(job_id));
    registry.get(checkpoint(1, "aa")).await.unwrap();
    assert_eq!(loads.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_load_goes_on_when_its_caller_has_left() {
    let (begun, has_begun) = tokio::sync::oneshot::channel::<()>();
    let (go, wait) = mpsc::channel::<()>();
    let (begun, wait) = (Mutex::new(Some(begun)), Mutex::new(wait));
    let loads = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&loads);
    let registry = Registry::new(100, move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        begun.lock().unwrap().take().unwrap().send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        Ok(((), 10))
    });
    tokio::select! {
        _ = registry.get(base("m")) => panic!("the load waits"),
        begun = has_begun => begun.unwrap(),
    }
    go.send(()).unwrap();
    registry.get(base("m")).await.unwrap();
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}
