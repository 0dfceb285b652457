//! `matryo models`.

use super::Bench;
use crate::hub::fake_hub::{Behaviour, COMMIT, FakeHub, REPO};

#[tokio::test(flavor = "multi_thread")]
async fn a_pulled_model_is_found_by_its_name_without_the_hub() {
    let bench = Bench::new();
    let behaviour = Behaviour { token: Some("hf_test"), files: bench.model_files(), ..Behaviour::default() };
    let hub = FakeHub::start(behaviour).await;
    let pull = |token: &str| {
        let mut command = bench.matryo(&["models", "pull", REPO, "--revision", COMMIT]);
        command.env("HF_ENDPOINT", &hub.settings().endpoint).env("HF_TOKEN", token).env_remove("HF_HUB_OFFLINE");
        super::Ran::from(command.output().unwrap())
    };
    let refused = pull("hf_wrong").ended_with(1).saying("HF_TOKEN");
    assert!(!refused.stderr.contains("hf_wrong"), "{}", refused.stderr);

    let pulled = pull("hf_test").ended_with(0);
    let folder = std::path::PathBuf::from(pulled.stdout.trim());
    assert!(folder.starts_with(bench.path("cache")) && folder.join("1_Pooling/config.json").is_file(), "{pulled:?}");
    let listed = bench.run(&["models", "list"]).ended_with(0).stdout;
    assert_eq!(listed, format!("{REPO}\t{COMMIT}\t{}\n", folder.display()));

    let requests = hub.requests();
    let embed = ["embed", "--model", REPO, "--revision", COMMIT];
    assert_eq!(bench.run_with_input(&embed, b"the cat").ended_with(0).lines().len(), 1);
    assert_eq!(hub.requests(), requests);
}
