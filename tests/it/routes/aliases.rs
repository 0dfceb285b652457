//! Aliases: made, moved, moved back, deleted, and what they protect.

use std::sync::mpsc::channel;

use matryo::domain::{JobId, ModelStatus};
use serde_json::{Value, json};

use crate::helpers::fake_trainer::{FakeTrainer, run_epochs};
use crate::helpers::models::{add_base_model, add_checkpoint, add_ended_job, add_model_row};
use crate::helpers::test_app::{Answer, TestApp};
use crate::helpers::tiny_model::TinyModel;

const ALIAS: &str = "/v1/aliases/production";

/// A service with two base models and a job with two checkpoints, the second of which is the best.
async fn app() -> (TestApp, JobId) {
    let app = TestApp::start().await;
    let tiny = |seed| TinyModel { seed, ..TinyModel::default() };
    add_base_model(&app, "one", &tiny(1)).await;
    add_base_model(&app, "two", &tiny(2)).await;
    let job = add_ended_job(&app, "one").await;
    add_checkpoint(&app, job, 1, &tiny(3), false).await;
    add_checkpoint(&app, job, 2, &tiny(4), true).await;
    (app, job)
}

async fn promote(app: &TestApp, model: &str) -> Answer {
    app.put_json(ALIAS, &json!({ "model": model })).await
}

async fn embed(app: &TestApp, model: &str) -> Value {
    app.post_json("/embed", &json!({ "inputs": "the company", "model": model })).await.expect(200)
}

async fn meaning(app: &TestApp) -> String {
    app.get(ALIAS).await.expect(200)["model"].as_str().expect("it means something").to_owned()
}

#[tokio::test]
async fn an_alias_means_what_it_was_last_moved_to() {
    let (app, job) = app().await;
    let made = promote(&app, "one").await.expect(201);
    assert_eq!((&made["name"], &made["model"]), (&json!("production"), &json!("one")));
    assert_eq!(embed(&app, "production").await, embed(&app, "one").await);
    promote(&app, "two").await.expect(200);
    assert_eq!(embed(&app, "production").await, embed(&app, "two").await);
    let as_openai = app.post_json("/v1/embeddings", &json!({ "input": "x", "model": "production" })).await.expect(200);
    assert_eq!(as_openai["model"], "production");

    // A job's best is pinned: what it is later does not show.
    let pinned = format!("job:{job}@epoch-2");
    assert_eq!(promote(&app, &format!("job:{job}")).await.expect(200)["model"], json!(pinned));
    let before = embed(&app, "production").await;
    add_checkpoint(&app, job, 3, &TinyModel { seed: 5, ..TinyModel::default() }, true).await;
    assert_ne!(embed(&app, &format!("job:{job}")).await, before);
    assert_eq!(embed(&app, "production").await, before);

    let shown = app.get("/v1/models/production").await.expect(200);
    assert_eq!(
        (&shown["id"], &shown["kind"], &shown["model"]),
        (&json!("production"), &json!("alias"), &json!(pinned))
    );
    assert_eq!((&shown["max_model_len"], &shown["loaded"]), (&json!(32), &json!(true)));
    let listed = app.get("/v1/models").await.expect(200);
    assert!(listed["data"].as_array().unwrap().contains(&shown), "{listed}");
    let aliases = app.get("/v1/aliases").await.expect(200);
    assert_eq!((aliases["data"].as_array().unwrap().len(), &aliases["data"][0]["model"]), (1, &json!(pinned)));

    app.delete(ALIAS).await.expect(204);
    app.get(ALIAS).await.expect_error(404, "not_found");
    app.delete(ALIAS).await.expect_error(404, "not_found");
    let request = json!({ "inputs": "x", "model": "production" });
    app.post_json("/embed", &request).await.expect_tei_error(404, "Validation");
}

#[tokio::test]
async fn rollbacks_walk_the_history_back() {
    let (app, job) = app().await;
    let checkpoint = format!("job:{job}@epoch-1");
    for model in ["one", "two", &checkpoint] {
        app.put_json(ALIAS, &json!({ "model": model, "by": "ada" })).await;
    }
    let rollback = format!("{ALIAS}/rollback");
    assert_eq!(app.post(&rollback).await.expect(200)["model"], "two");
    assert_eq!(embed(&app, "production").await, embed(&app, "two").await);
    assert_eq!(app.post_json(&rollback, &json!({ "by": "bob" })).await.expect(200)["model"], "one");
    app.post(&rollback).await.expect_error(409, "conflict");
    // A move after that starts from there.
    promote(&app, &checkpoint).await.expect(200);
    assert_eq!(app.post_json(&rollback, &json!({})).await.expect(200)["model"], "one");
    let shown = app.get(ALIAS).await.expect(200);
    let history: Vec<_> = shown["history"].as_array().unwrap().iter().map(|m| (&m["model"], &m["action"])).collect();
    let expected = [
        ("one", "rollback"),
        (&checkpoint, "set"),
        ("one", "rollback"),
        ("two", "rollback"),
        (&checkpoint, "set"),
        ("two", "set"),
        ("one", "set"),
    ]
    .map(|(model, action)| (json!(model), json!(action)));
    assert_eq!(history, expected.iter().map(|(model, action)| (model, action)).collect::<Vec<_>>());
    assert_eq!((&shown["history"][2]["moved_by"], &shown["history"][6]["moved_by"]), (&json!("bob"), &json!("ada")));
    assert!(shown["history"][0]["moved_at"].is_string());
    app.post("/v1/aliases/none/rollback").await.expect_error(404, "not_found");

    // What it meant before may be gone meanwhile.
    promote(&app, "two").await.expect(200);
    promote(&app, "one").await.expect(200);
    app.delete("/v1/models/two").await.expect(200);
    let message = app.post(&rollback).await.expect_error(409, "conflict");
    assert!(message.contains("gone") && message.contains("`two`"), "{message}");
    assert_eq!(meaning(&app).await, "one");
}

#[tokio::test]
async fn two_who_promote_at_once_do_not_undo_each_other() {
    let (app, _) = app().await;
    promote(&app, "one").await.expect(201);
    let request = json!({ "model": "two", "if_model": "one" });
    app.put_json(ALIAS, &request).await.expect(200);
    let message = app.put_json(ALIAS, &request).await.expect_error(412, "precondition_failed");
    assert!(message.contains("means `two`, not `one`"), "{message}");
    let rollback = format!("{ALIAS}/rollback");
    app.post_json(&rollback, &json!({ "if_model": "one" })).await.expect_error(412, "precondition_failed");
    app.post_json(&rollback, &json!({ "if_model": "two" })).await.expect(200);
    assert_eq!(meaning(&app).await, "one");
    app.put_json("/v1/aliases/new", &json!({ "model": "one", "if_model": "two" })).await.expect(412);
}

#[tokio::test]
async fn names_mean_one_thing() {
    let (app, job) = app().await;
    promote(&app, "one").await.expect(201);
    app.put_json("/v1/aliases/two", &json!({ "model": "one" })).await.expect_error(409, "conflict");
    let folder = app.model_root().join("one");
    let body = json!({ "source": "folder", "path": folder, "name": "production" });
    let message = app.post_json("/v1/models", &body).await.expect_error(409, "conflict");
    assert!(message.contains("alias"), "{message}");
    add_model_row(&app, "coming", ModelStatus::Pulling).await;
    promote(&app, "coming").await.expect_error(409, "conflict");
    for (path, body, field, part) in [
        ("/v1/aliases/other", json!({ "model": "production" }), "model", "`production` is an alias"),
        (ALIAS, json!({ "model": "nowhere" }), "model", "no model `nowhere`"),
        (ALIAS, json!({ "model": format!("job:{job}@epoch-9") }), "model", "no model"),
        (ALIAS, json!({ "model": "job:7" }), "model", "not a job id"),
        (ALIAS, json!({ "model": "one", "if_model": "" }), "if_model", "name is expected"),
        (ALIAS, json!({ "model": "one", "by": "x".repeat(201) }), "by", "200"),
        (ALIAS, json!({ "model": "one", "owner": "x" }), "owner", "unknown field"),
        ("/v1/aliases/job:x", json!({ "model": "one" }), "name", "fine-tuned"),
        ("/v1/aliases/%20", json!({ "model": "one" }), "name", "printable"),
    ] {
        let json = app.put_json(path, &body).await.expect(422);
        let error = &json["error"]["details"]["fields"][0];
        assert_eq!(error["field"], field, "{json}");
        assert!(error["message"].as_str().unwrap().contains(part), "{json}");
    }
    assert_eq!(meaning(&app).await, "one");
    app.put_json("/v1/aliases/team/search", &json!({ "model": "one" })).await.expect(201);
    app.get("/v1/aliases/team%2Fsearch").await.expect(200);
}

#[tokio::test]
async fn what_an_alias_means_is_not_deleted() {
    let (app, job) = app().await;
    let (of_job, path) = (format!("/v1/jobs/{job}"), "/v1/models/two");
    for (model, path) in [("two", path), (&format!("job:{job}@epoch-1"), &of_job)] {
        promote(&app, model).await;
        let message = app.delete(path).await.expect_error(409, "conflict");
        assert!(message.contains("`production`"), "{message}");
    }
    let message = app.delete("/v1/models/production").await.expect_error(409, "conflict");
    assert!(message.contains("/v1/aliases/production"), "{message}");
    // What it no longer means may go, and an alias takes nothing along.
    app.delete(path).await.expect(200);
    app.delete(ALIAS).await.expect(204);
    app.delete(&of_job).await.expect(204);
}

#[tokio::test]
async fn a_running_job_keeps_checkpoints_that_an_alias_means_or_meant() {
    let (go, going) = channel();
    let (told, removals) = channel();
    let app = TestApp::start_training_by(FakeTrainer::new(move |request, sink| {
        let report = run_epochs(request, sink, |_, _| Ok(()))?;
        going.recv().expect("the test goes on");
        for epoch in [1, 2] {
            told.send(sink.on_removal(epoch)).expect("the test listens");
        }
        Ok(report)
    }))
    .await;
    let dataset = app.add_inputs().await;
    let job = app.submit(&dataset).await;
    app.told(job, "checkpoint").await;
    promote(&app, &format!("job:{job}@epoch-1")).await.expect(201);
    go.send(()).unwrap();
    app.ended(job).await;
    assert_eq!(removals.iter().take(2).collect::<Vec<_>>(), [false, true]);
    let checkpoints = app.get(&format!("/v1/jobs/{job}/checkpoints")).await.expect(200);
    let epochs: Vec<_> = checkpoints["data"].as_array().unwrap().iter().map(|row| row["epoch"].clone()).collect();
    assert_eq!(epochs, [json!(1)]);
    app.told(job, "checkpoint_removed").await;
}
