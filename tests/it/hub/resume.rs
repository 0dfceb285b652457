//! Downloads that break off.

use matryo::hub::{HubError, pull};

use super::fake_hub::{Behaviour, FakeHub};
use super::{ignore, request};

const WEIGHTS: &str = "model.safetensors";

#[tokio::test]
async fn a_cut_connection_is_gone_on_with_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("m");
    let hub = FakeHub::start(Behaviour { cut: (1_000_000, 2), ..Behaviour::default() }).await;
    pull(request(&hub, &target), ignore).await.unwrap();
    assert_eq!(std::fs::read(target.join(WEIGHTS)).unwrap(), Behaviour::default().files[WEIGHTS]);
    let starts: Vec<u64> = hub.gets(WEIGHTS).into_iter().map(start).collect();
    assert_eq!(starts[0], 0);
    assert!(starts.len() == 3 && starts[1] > 0 && starts[2] > starts[1], "{starts:?}");
}

#[tokio::test]
async fn a_later_pull_goes_on_with_what_an_earlier_one_left() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("m");
    let hub = FakeHub::start(Behaviour::default()).await;
    // The first pull is dropped in the middle of the weights, as by a server that is stopped.
    let (half, is_half) = tokio::sync::oneshot::channel();
    let mut half = Some(half);
    let first = pull(request(&hub, &target), |progress| {
        if progress.done_bytes > 1_000_000
            && let Some(half) = half.take()
        {
            half.send(()).expect("the test waits");
        }
    });
    tokio::select! {
        biased;
        _ = is_half => {}
        result = first => panic!("it should not end first: {result:?}"),
    }
    assert!(!target.exists(), "half a model stands at the target");

    let mut first_told = None;
    pull(request(&hub, &target), |progress| {
        if progress.file == WEIGHTS {
            first_told.get_or_insert(progress.done_bytes);
        }
    })
    .await
    .unwrap();
    assert_eq!(std::fs::read(target.join(WEIGHTS)).unwrap(), Behaviour::default().files[WEIGHTS]);
    assert!(first_told.unwrap() > 500_000, "{first_told:?}");
    let last = hub.gets(WEIGHTS).pop().flatten();
    assert!(start(last.clone()) > 0, "{last:?}");
    assert_eq!(hub.gets("tokenizer.json").len(), 1);
}

#[tokio::test]
async fn a_server_that_knows_no_ranges_is_asked_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("m");
    let hub = FakeHub::start(Behaviour { cut: (1_000_000, 1), ranges: false, ..Behaviour::default() }).await;
    pull(request(&hub, &target), ignore).await.unwrap();
    assert_eq!(std::fs::read(target.join(WEIGHTS)).unwrap(), Behaviour::default().files[WEIGHTS]);
}

#[tokio::test]
async fn one_that_breaks_off_again_and_again_is_given_up_and_what_came_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("m");
    let hub = FakeHub::start(Behaviour { cut: (0, 100), ..Behaviour::default() }).await;
    let error = pull(request(&hub, &target), ignore).await.unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    assert!(!target.exists());

    hub.change(|behaviour| behaviour.cut = (0, 0));
    pull(request(&hub, &target), ignore).await.unwrap();
    assert_eq!(hub.gets("config.json").len(), 2, "config.json and 1_Pooling/config.json were asked for once each");
}

#[tokio::test]
async fn what_arrives_damaged_is_refused_and_brought_anew() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("m");
    let hub = FakeHub::start(Behaviour { wrong_hashes: true, ..Behaviour::default() }).await;
    let error = pull(request(&hub, &target), ignore).await.unwrap_err();
    assert!(error.to_string().contains("arrived damaged"), "{error}");
    assert!(!target.exists());
    hub.change(|behaviour| behaviour.wrong_hashes = false);
    pull(request(&hub, &target), ignore).await.unwrap();
    assert_eq!(hub.gets(WEIGHTS), [None, None]);
}

fn start(range: Option<String>) -> u64 {
    let Some(range) = range else { return 0 };
    range.trim_start_matches("bytes=").split('-').next().and_then(|start| start.parse().ok()).expect("a range")
}
