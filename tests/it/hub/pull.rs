//! What a pull brings.

use matryo::hub::pull;

use super::fake_hub::{Behaviour, COMMIT, FakeHub};
use super::{ignore, request};

#[tokio::test]
async fn the_files_that_a_model_needs_appear_at_the_target() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("models/tiny");
    let hub = FakeHub::start(Behaviour::default()).await;
    let mut told = Vec::new();
    let pulled = pull(request(&hub, &target), |progress| told.push(progress)).await.unwrap();

    assert_eq!(pulled.commit, COMMIT);
    assert_eq!(pulled.folder, target);
    let expected = ["config.json", "model.safetensors", "modules.json", "tokenizer.json", "1_Pooling/config.json"];
    assert_eq!(pulled.files, expected);
    let behaviour = Behaviour::default();
    for path in expected {
        assert_eq!(std::fs::read(target.join(path)).unwrap(), behaviour.files[path], "{path}");
    }
    assert_eq!(std::fs::read_dir(&target).unwrap().count(), 5, "something else came along");
    assert_eq!(std::fs::read_dir(target.parent().unwrap()).unwrap().count(), 1, "something is left beside it");

    let last = told.last().expect("progress is told");
    assert_eq!((last.done_bytes, last.total_bytes), (pulled.size_bytes, pulled.size_bytes));
    assert!(told.is_sorted_by_key(|progress| progress.done_bytes), "{told:?}");
    assert!(told.iter().filter(|progress| progress.file == "model.safetensors").count() >= 3, "{told:?}");
}

#[tokio::test]
async fn a_mirror_without_a_list_of_sizes_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Behaviour { tree: false, ..Behaviour::default() }).await;
    let mut request = request(&hub, &folder.path().join("m"));
    request.revision = Some(COMMIT.into());
    let pulled = pull(request, ignore).await.unwrap();
    assert_eq!(pulled.size_bytes, Behaviour::default().files.values().map(|file| file.len() as u64).sum::<u64>() - 20);
}

#[tokio::test]
async fn names_that_lead_out_of_the_folder_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let listed = ["../config.json", "/tmp/config.json", "1_x/../../config.json", "..\\config.json"];
    let listed = listed.map(str::to_owned).to_vec();
    let hub = FakeHub::start(Behaviour { listed, ..Behaviour::default() }).await;
    let pulled = pull(request(&hub, &folder.path().join("m")), ignore).await.unwrap();
    assert_eq!(pulled.files.len(), 5, "{:?}", pulled.files);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn the_token_is_sent_and_told_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Behaviour { token: Some("hf_test"), ..Behaviour::default() }).await;
    pull(request(&hub, &folder.path().join("m")), ignore).await.unwrap();

    hub.change(|behaviour| behaviour.token = Some("hf_another"));
    let error = pull(request(&hub, &folder.path().join("n")), ignore).await.unwrap_err();
    assert!(error.to_string().contains("HF_TOKEN"), "{error}");
    assert!(!format!("{error} {error:?}").contains("hf_test"), "{error:?}");
}
