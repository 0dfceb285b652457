//! The page of models: what is there, what can be done to each, and how another is got.

use std::path::Path;

use matryo::domain::ModelStatus;
use serde_json::json;

use super::pages::check_page;
use crate::helpers::fake_trainer::FakeTrainer;
use crate::helpers::form::Form;
use crate::helpers::models::{add_base_model, add_checkpoint, add_ended_job, add_model_row};
use crate::helpers::test_app::{TestApp, request, urlencoded};
use crate::helpers::tiny_model::TinyModel;

#[tokio::test]
async fn all_models_are_on_one_page() {
    let app = TestApp::start().await;
    let empty = app.browse("/ui/models").await;
    check_page(&empty);
    assert!(empty.expect_page(200).contains("value=\"BAAI/bge-base-en-v1.5\""), "{}", empty.text());
    let tiny = TinyModel::default();
    add_base_model(&app, "tiny", &tiny).await;
    add_model_row(&app, "org/broken", ModelStatus::Failed).await;
    add_model_row(&app, "org/coming", ModelStatus::Pulling).await;
    let job = add_ended_job(&app, "tiny").await;
    add_checkpoint(&app, job, 2, &tiny, true).await;
    app.put_json("/v1/aliases/production", &json!({"model": format!("job:{job}"), "by": "<ada>"})).await.expect(201);
    let answer = app.browse("/ui/models").await;
    check_page(&answer);
    let page = answer.expect_page(200);
    for part in [
        "badge ready",
        "The Hub burned down".to_lowercase().as_str(),
        "action=\"/ui/models/retry\"",
        "data-events=\"/v1/models/org%2Fcoming/events\"",
        "at most 32",
        &format!("<code>job:{job}</code>"),
        &format!("means <code>job:{job}@epoch-2</code>"),
        "by &lt;ada&gt;",
        "1 job</dd>",
    ] {
        assert!(page.to_lowercase().contains(&part.to_lowercase()), "{part} is not in {page}");
    }
}

#[tokio::test]
async fn models_are_loaded_and_dropped() {
    let app = TestApp::start().await;
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    assert!(app.browse("/ui/models").await.expect_page(200).contains("action=\"/ui/models/load\""));
    assert_eq!(app.submit_form("/ui/models/load", &[("name", "tiny")]).await.expect_redirect(), "/ui/models");
    assert!(app.browse("/ui/models").await.expect_page(200).contains("action=\"/ui/models/unload\""));
    assert_eq!(app.submit_form("/ui/models/unload", &[("name", "tiny")]).await.expect_redirect(), "/ui/models");
    assert!(app.browse("/ui/models").await.expect_page(200).contains("action=\"/ui/models/load\""));
    let unknown = app.submit_form("/ui/models/load", &[("name", "<nobody>")]).await;
    check_page(&unknown);
    assert!(unknown.expect_page(404).contains("&lt;nobody&gt;"), "{}", unknown.text());
}

#[tokio::test]
async fn a_model_is_got_from_the_hub_or_a_folder() {
    let app = TestApp::start().await;
    TinyModel::default().write(&app.model_root().join("mine"));
    let path = app.model_root().join("mine").display().to_string();
    let fields = [("folder.path", path.as_str()), ("folder.name", "")];
    assert_eq!(app.submit_form("/ui/models/folder", &fields).await.expect_redirect(), "/ui/models");
    assert_eq!(app.get("/v1/models/mine").await.expect(200)["status"], "ready");
    let again = app.submit_form("/ui/models/folder", &fields).await;
    assert!(again.expect_page(409).contains("There is a model called `mine` already."), "{}", again.text());

    let fields = [("hub.repo", "org/name"), ("hub.revision", "v1"), ("hub.name", "")];
    assert_eq!(app.submit_form("/ui/models/hub", &fields).await.expect_redirect(), "/ui/models");
    assert_eq!(app.get("/v1/models/org/name@v1").await.expect(200)["source"]["revision"], "v1");
}

#[tokio::test]
async fn wrong_fields_are_told_beside_them_in_the_apis_words() {
    let app = TestApp::start().await;
    let api = app.post_json("/v1/models", &json!({"source": "hub", "repo": "a/b/c", "name": "job:7"})).await;
    api.expect_error(400, "invalid_value");
    let answer = app.submit_form("/ui/models/hub", &[("hub.repo", "a/b/c"), ("hub.name", "job:7")]).await;
    check_page(&answer);
    let page = answer.expect_page(422);
    for error in api.json()["error"]["details"]["fields"].as_array().unwrap() {
        let beside = page.split(&format!("id=\"hub.{}-error\"", error["field"].as_str().unwrap())).nth(1).unwrap();
        let message = error["message"].as_str().unwrap().to_lowercase();
        assert!(beside.split("</div>").next().unwrap().to_lowercase().contains(&message), "{message}: {page}");
    }
    assert!(page.contains("value=\"a/b/c\"") && page.contains("value=\"job:7\""), "{page}");
    let answer = app.submit_form("/ui/models/folder", &[("folder.path", "/etc")]).await;
    assert!(answer.expect_page(422).contains("id=\"folder.path-error\""), "{}", answer.text());
    let answer = app.submit_form("/ui/models/hub", &[("hub.repo", "")]).await;
    assert!(answer.expect_page(422).contains("id=\"hub.repo-error\""), "{}", answer.text());
}

#[tokio::test]
async fn a_failed_pull_is_tried_again() {
    let app = TestApp::start().await;
    add_model_row(&app, "org/broken", ModelStatus::Failed).await;
    assert_eq!(app.submit_form("/ui/models/retry", &[("name", "org/broken")]).await.expect_redirect(), "/ui/models");
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    let answer = app.submit_form("/ui/models/retry", &[("name", "tiny")]).await;
    assert!(answer.expect_page(409).contains("only a failed one is pulled again"), "{}", answer.text());
}

#[tokio::test]
async fn aliases_are_made_moved_rolled_back_and_deleted() {
    let app = TestApp::start().await;
    for name in ["one", "two"] {
        add_base_model(&app, name, &TinyModel::default()).await;
    }
    let save =
        async |model| app.submit_form("/ui/aliases", &[("alias.name", "team/<x>"), ("alias.model", model)]).await;
    for model in ["one", "two"] {
        assert_eq!(save(model).await.expect_redirect(), "/ui/models#aliases");
    }
    let meant = async || app.get("/v1/aliases").await.expect(200)["data"][0]["model"].clone();
    assert_eq!(meant().await, "two");
    let named = [("name", "team/<x>")];
    assert_eq!(app.submit_form("/ui/aliases/rollback", &named).await.expect_redirect(), "/ui/models");
    assert_eq!(meant().await, "one");
    assert!(app.submit_form("/ui/aliases/rollback", &named).await.expect_page(409).contains("meant nothing before"));
    let wrong = save("nobody").await;
    check_page(&wrong);
    assert!(wrong.expect_page(422).contains("id=\"alias.model-error\"") && wrong.text().contains("value=\"nobody\""));

    let asked = app.browse("/ui/models/delete?name=one").await;
    assert!(asked.expect_page(200).contains("team/&lt;x&gt;"), "{}", asked.text());
    let refused = app.submit_form("/ui/models/delete", &[("name", "one")]).await;
    assert!(refused.expect_page(409).contains("move or delete the alias first"), "{}", refused.text());
    let asked = app.browse("/ui/aliases/delete?name=team%2F%3Cx%3E").await;
    check_page(&asked);
    assert!(asked.expect_page(200).contains("It means <code>one</code>"), "{}", asked.text());
    assert_eq!(app.submit_form("/ui/aliases/delete", &named).await.expect_redirect(), "/ui/models#aliases");
    assert_eq!(app.submit_form("/ui/models/delete", &[("name", "one")]).await.expect_redirect(), "/ui/models");
    app.get("/v1/models/one").await.expect_error(404, "model_not_found");
    assert!(Path::new(&app.model_root().join("one")).exists(), "a registered folder stays");
}

#[tokio::test]
async fn a_model_in_use_stays() {
    let (trainer, gate) = FakeTrainer::gated();
    let app = TestApp::start_training_by(trainer).await;
    let dataset = app.add_inputs().await;
    let job = app.submit(&dataset).await;
    let asked = app.browse("/ui/models/delete?name=tiny").await;
    check_page(&asked);
    assert!(asked.expect_page(200).contains(&format!("/ui/jobs/{job}")), "{}", asked.text());
    let refused = app.submit_form("/ui/models/delete", &[("name", "tiny")]).await;
    assert!(refused.expect_page(409).contains("A job that has not ended starts from the model"), "{}", refused.text());
    app.browse("/ui/models/delete?name=nobody").await.expect_page(404);
    gate.open();
    app.ended(job).await;
}

#[tokio::test]
async fn another_sites_forms_change_nothing() {
    let app = TestApp::start().await;
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    for path in ["/ui/models/delete", "/ui/models/load", "/ui/models/hub", "/ui/aliases", "/ui/aliases/delete"] {
        let foreign = request(axum::http::Method::POST, path).header("sec-fetch-site", "cross-site");
        app.send(urlencoded(foreign, &[("name", "tiny"), ("hub.repo", "a/b")])).await.expect_page(403);
    }
    assert_eq!(app.get("/v1/models").await.expect(200)["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_model_is_uploaded_as_an_archive() {
    let app = TestApp::start().await;
    let folder = tempfile::tempdir().unwrap();
    TinyModel::default().write(folder.path());
    let mut tar = tar::Builder::new(Vec::new());
    tar.append_dir_all("tiny", folder.path()).unwrap();
    let tar = tar.into_inner().unwrap();
    let form = Form::default().file("file", "mine.tar", tar).text("name", "");
    assert_eq!(app.send(form.clone().post("/ui/models/archive")).await.expect_redirect(), "/ui/models");
    assert!(app.browse("/ui/models").await.expect_page(200).contains("<code>mine.tar</code>"));
    let again = app.send(form.post("/ui/models/archive")).await;
    assert!(again.expect_page(409).contains("There is a model called `mine` already."), "{}", again.text());
    let nothing = Form::default().file("file", "", "").text("name", "kept").post("/ui/models/archive");
    let nothing = app.send(nothing).await;
    check_page(&nothing);
    assert!(nothing.expect_page(422).contains("id=\"file-error\"") && nothing.text().contains("value=\"kept\""));
}
