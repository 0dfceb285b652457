//! What a pull says when it cannot bring the model.

use axum::http::StatusCode;
use matryo::hub::{HubError, HubSettings, PullRequest, pull};

use super::fake_hub::{Behaviour, FakeHub};
use super::{ignore, request};

#[tokio::test]
async fn what_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Behaviour::default()).await;
    let asked = |repo: &str, revision: Option<&str>| PullRequest {
        repo: repo.into(),
        revision: revision.map(str::to_owned),
        ..request(&hub, &folder.path().join("m"))
    };
    let message = |result: Result<_, HubError>| match result.map(|_: matryo::hub::PulledModel| ()) {
        Err(HubError::NotFound(message)) => message,
        other => panic!("{other:?}"),
    };
    assert!(message(pull(asked("org/nothing", None), ignore).await).contains("has no model org/nothing"));
    assert!(message(pull(asked("org/tiny", Some("v9")), ignore).await).contains("has no revision v9"));
    hub.change(|behaviour| {
        behaviour.files.remove("model.safetensors");
        behaviour.files.remove("pytorch_model.bin");
    });
    assert!(message(pull(asked("org/tiny", None), ignore).await).contains("no model.safetensors or pytorch_model.bin"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "a refused pull leaves nothing");
}

#[tokio::test]
async fn a_gated_model_asks_for_its_terms_to_be_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Behaviour { token: Some("hf_another"), ..Behaviour::default() }).await;
    let error = pull(request(&hub, &folder.path().join("m")), ignore).await.unwrap_err();
    assert!(matches!(error, HubError::Unauthorized(_)), "{error}");
    assert!(error.to_string().contains("gated") && error.to_string().contains("HF_TOKEN"), "{error}");
}

#[tokio::test]
async fn a_model_beyond_the_limit_is_refused_before_it_is_downloaded() {
    let folder = tempfile::tempdir().unwrap();
    for tree in [true, false] {
        let hub = FakeHub::start(Behaviour { tree, ..Behaviour::default() }).await;
        let mut request = request(&hub, &folder.path().join("m"));
        request.settings.max_model_bytes = 1_000_000;
        let error = pull(request, ignore).await.unwrap_err();
        assert!(matches!(error, HubError::TooLarge { limit: 1_000_000, .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn offline_nothing_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Behaviour::default()).await;
    let mut request = request(&hub, &folder.path().join("m"));
    request.settings.offline = true;
    let error = pull(request, ignore).await.unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    assert_eq!(hub.requests(), 0);
}

#[tokio::test]
async fn a_server_that_does_not_answer_or_answers_nonsense_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let hub = FakeHub::start(Behaviour::default()).await;
    let mut request = request(&hub, &folder.path().join("m"));
    request.settings = HubSettings { endpoint: nobody.clone(), ..hub.settings() };
    let error = pull(request.clone(), ignore).await.unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }) && error.to_string().contains(&nobody), "{error}");

    request.settings.endpoint = "not a URL".into();
    assert!(matches!(pull(request.clone(), ignore).await.unwrap_err(), HubError::Invalid(_)));

    request.settings = hub.settings();
    hub.change(|behaviour| behaviour.status = Some(StatusCode::IM_A_TEAPOT));
    let error = pull(request, ignore).await.unwrap_err();
    assert!(matches!(error, HubError::BadAnswer { .. }) && error.to_string().contains("418"), "{error}");
}

#[tokio::test]
async fn bad_names_are_refused_without_asking() {
    let folder = tempfile::tempdir().unwrap();
    let hub = FakeHub::start(Behaviour::default()).await;
    for (repo, revision) in [("../etc", None), ("a/b/c", None), ("org/tiny", Some("../main"))] {
        let request = PullRequest {
            repo: repo.into(),
            revision: revision.map(str::to_owned),
            ..request(&hub, &folder.path().join("m"))
        };
        assert!(matches!(pull(request, ignore).await.unwrap_err(), HubError::Invalid(_)), "{repo}");
    }
    assert_eq!(hub.requests(), 0);
}
