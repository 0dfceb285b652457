//! The page of a new job: what it offers, takes and refuses.

use matryo::domain::DatasetId;
use serde_json::{Value, json};

use super::pages::check_page;
use crate::helpers::fake_trainer::FakeTrainer;
use crate::helpers::rows;
use crate::helpers::test_app::{TestApp, request, urlencoded};

/// The value of an input, or of the option of a select that is chosen.
pub(super) fn value_of<'p>(page: &'p str, id: &str) -> &'p str {
    let (before, control) = page.split_once(&format!(" id=\"{id}\"")).unwrap_or_else(|| panic!("no {id} in {page}"));
    let value = if before.ends_with("<select") {
        let options = control.split("</select>").next().unwrap();
        options.split(" selected").next().unwrap().rsplit("value=\"").next()
    } else {
        control.split("value=\"").nth(1)
    };
    value.unwrap().split('"').next().unwrap()
}

#[tokio::test]
async fn the_form_shows_the_recipe_and_what_there_is() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let empty = app.browse("/ui/jobs/new").await;
    check_page(&empty);
    let page = empty.expect_page(200);
    assert!(page.contains("There is none yet") && page.contains("BAAI/bge-base-en-v1.5 (not here yet)"), "{page}");
    let dataset = app.add_inputs().await;
    let answer = app.browse("/ui/jobs/new").await;
    check_page(&answer);
    let page = answer.expect_page(200);
    assert_eq!((value_of(page, "dataset_id"), value_of(page, "base_model")), (dataset.id.to_string().as_str(), "tiny"));
    for (argument, value) in
        [("epochs", "4"), ("learning_rate", "0.00002"), ("lr_scheduler_type", "cosine"), ("seed", "42")]
    {
        assert_eq!(value_of(page, &format!("training.{argument}")), value);
    }
    // What depends on the model is shown for the one that is chosen.
    assert!(page.contains("placeholder=\"32\"") && page.contains("placeholder=\"64, the model's limit\""), "{page}");
    assert!(page.contains("<code>num_train_epochs</code>"));
    // 8 rows make one batch, and one step, in each of 4 epochs.
    assert!(page.contains("about 4</dd>") && page.contains("8 to train on, 4 to evaluate on"), "{page}");
}

#[tokio::test]
async fn a_job_is_submitted_as_the_api_would() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let id = dataset.id.to_string();
    let fields = [
        ("dataset_id", id.as_str()),
        ("eval_dataset_id", id.as_str()),
        ("base_model", "tiny"),
        ("name", " mine "),
        ("training.epochs", "2"),
        ("training.learning_rate", "3e-4"),
        ("training.matryoshka_dims", "8, 32"),
        ("training.matryoshka_weights", "1 2"),
        ("training.deduplicate_corpus", "on"),
        ("training.max_seq_length", ""),
    ];
    let address = app.submit_form("/ui/jobs/new", &fields).await.expect_redirect().to_owned();
    let job = app.get(&address.replace("/ui/", "/v1/")).await.expect(200);
    assert_eq!((&job["name"], &job["dataset_id"], &job["eval_dataset_id"]), (&json!("mine"), &json!(id), &json!(id)));
    let training = &job["training"];
    assert_eq!((&training["epochs"], &training["learning_rate"]), (&json!(2), &json!(3e-4)));
    assert_eq!((&training["matryoshka_dims"], &training["matryoshka_weights"]), (&json!([32, 8]), &json!([2.0, 1.0])));
    assert_eq!((&training["deduplicate_corpus"], &training["max_seq_length"]), (&json!(true), &Value::Null));
    assert_eq!(training["batch_sampler"], "no_duplicates");
}

#[tokio::test]
async fn errors_stand_beside_their_fields_in_the_apis_words() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let id = dataset.id.to_string();
    let fields = [
        ("dataset_id", id.as_str()),
        ("base_model", "gone/<b>"),
        ("name", "<script>alert(1)</script>"),
        ("training.epochs", "0"),
        ("training.learning_rate", "fast"),
        ("training.adam_beta1", "2"),
    ];
    let json = json!({"dataset_id": id, "base_model": "gone/<b>", "name": "<script>alert(1)</script>",
        "training": {"epochs": 0, "learning_rate": "fast", "adam_beta1": 2}});
    let refused = app.post_json("/v1/jobs", &json).await;
    refused.expect_error(422, "invalid");
    let answer = app.submit_form("/ui/jobs/new", &fields).await;
    check_page(&answer);
    let page = answer.expect_page(422);
    let errors = refused.json()["error"]["details"]["fields"].as_array().unwrap().clone();
    assert_eq!(errors.len(), 4);
    for error in errors {
        let (field, message) = (error["field"].as_str().unwrap(), error["message"].as_str().unwrap());
        let beside =
            page.split(&format!("id=\"{field}-error\"")).nth(1).unwrap_or_else(|| panic!("{field} is not told"));
        let beside = beside.split("</div>").next().unwrap().to_lowercase();
        let escaped = message.replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").to_lowercase();
        assert!(beside.contains(&escaped), "{escaped} is not in {beside}");
        assert!(page.contains(&format!("{field}-error\" aria-invalid=\"true\"")), "{field}");
    }
    // What was given is kept, and what is wrong below "More" is in sight.
    assert_eq!((value_of(page, "training.epochs"), value_of(page, "training.learning_rate")), ("0", "fast"));
    assert!(
        page.contains("<details open>") && page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert")
    );
    assert_eq!(app.get("/v1/jobs").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn a_check_submits_nothing() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let id = app.add_inputs().await.id.to_string();
    let fields = [("dataset_id", id.as_str()), ("base_model", "tiny"), ("training.epochs", "7"), ("action", "check")];
    let answer = app.submit_form("/ui/jobs/new", &fields).await;
    let page = answer.expect_page(200);
    assert!(page.contains("about 7</dd>") && page.contains("8, the first before training"), "{page}");
    assert_eq!(value_of(page, "training.epochs"), "7");
    assert_eq!(app.get("/v1/jobs").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn a_full_queue_is_told_and_the_form_kept() {
    let mut app = TestApp::start_training_by(FakeTrainer::good()).await;
    app.state.limits.max_queued_jobs = 0;
    app.router = matryo::http::router(app.state.clone());
    let id = app.add_inputs().await.id.to_string();
    let answer =
        app.submit_form("/ui/jobs/new", &[("dataset_id", &id), ("base_model", "tiny"), ("name", "kept")]).await;
    let page = answer.expect_page(429);
    assert!(page.contains("jobs wait already") && value_of(page, "name") == "kept", "{page}");
}

#[tokio::test]
async fn a_clone_takes_over_all_that_a_job_was() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let body = json!({"name": "first \"try\"", "dataset_id": dataset.id, "eval_dataset_id": dataset.id, "base_model": "tiny",
        "training": {"epochs": 3, "learning_rate": 1.5e-7, "matryoshka_dims": [32, 16], "lr_scheduler_type": "linear",
            "deduplicate_corpus": true, "max_seq_length": 16}});
    let job = app.post_json("/v1/jobs", &body).await.expect(201);
    let answer = app.browse(&format!("/ui/jobs/new?from={}", job["id"].as_str().unwrap())).await;
    let page = answer.expect_page(200);
    let id = dataset.id.to_string();
    for (field, value) in [
        ("name", "first &quot;try&quot;"),
        ("dataset_id", &id),
        ("eval_dataset_id", &id),
        ("base_model", "tiny"),
        ("training.epochs", "3"),
        ("training.learning_rate", "1.5e-7"),
        ("training.matryoshka_dims", "32, 16"),
        ("training.lr_scheduler_type", "linear"),
        ("training.max_seq_length", "16"),
        ("training.metric_for_best_model", "dim_32_cosine_ndcg@10"),
    ] {
        assert_eq!(value_of(page, field), value, "{field}");
    }
    assert!(page.contains("type=\"checkbox\" checked"), "{page}");
    let unknown = format!("/ui/jobs/new?from={}", DatasetId::generate());
    app.browse(&unknown).await.expect_page(404);
}

#[tokio::test]
async fn a_webhook_is_taken_and_its_key_never_shown() {
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let id = app.add_inputs().await.id.to_string();
    let hook = "https://hooks.example/a?b=\"c\"";
    let with =
        |url, key| [("dataset_id", id.as_str()), ("base_model", "tiny"), ("webhook_url", url), ("webhook_secret", key)];
    let refused = app.submit_form("/ui/jobs/new", &with("http://127.0.0.1/inside", KEY)).await;
    let page = refused.expect_page(422);
    assert!(page.contains("id=\"webhook_url-error\"") && !page.contains(KEY), "{page}");
    assert_eq!(value_of(page, "webhook_url"), "http://127.0.0.1/inside");
    let refused = app.submit_form("/ui/jobs/new", &with(hook, "whsec_short")).await;
    assert!(refused.expect_page(422).contains("id=\"webhook_secret-error\""));
    let address = app.submit_form("/ui/jobs/new", &with(hook, KEY)).await.expect_redirect().to_owned();
    let job = app.get(&address.replace("/ui/", "/v1/")).await.expect(200);
    assert_eq!(job["webhook_url"], hook);
    // A clone tells the same address, and wants the key anew.
    let clone = app.browse(&format!("/ui/jobs/new?from={}", job["id"].as_str().unwrap())).await;
    let page = clone.expect_page(200);
    assert_eq!(value_of(page, "webhook_url"), hook.replace('"', "&quot;"));
    assert!(!page.contains(KEY), "{page}");
}

#[tokio::test]
async fn what_a_clone_needs_and_is_gone_is_said() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    app.add_inputs().await;
    let gone = DatasetId::generate();
    let page = app.browse(&format!("/ui/jobs/new?dataset={gone}&model=lost")).await;
    let page = page.expect_page(200);
    assert!(page.contains(&format!("{gone} (not here any more)")) && page.contains("lost (not here yet)"), "{page}");
    assert_eq!(value_of(page, "dataset_id"), gone.to_string());
}

#[tokio::test]
async fn names_of_others_are_shown_as_text() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let hostile = "\"><img src=x onerror=alert(1)>";
    let dataset = matryo::domain::Dataset { name: hostile.into(), ..rows::dataset() };
    app.state.store.insert_dataset(&dataset).await.unwrap();
    rows::write_rows(&app.state.data_dir, &dataset);
    app.state.store.insert_model(&rows::ready_model(hostile)).await.unwrap();
    for path in [
        "/ui/jobs/new",
        "/ui/datasets",
        &format!("/ui/datasets/{}", dataset.id),
        "/ui/models",
        &format!("/ui/datasets/{}/delete", dataset.id),
        "/ui/models/delete?name=%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E",
    ] {
        let answer = app.browse(path).await;
        check_page(&answer);
        let page = answer.expect_page(200);
        assert!(page.contains("&lt;img src=x") && !page.contains("<img src=x"), "{path}: {page}");
    }
}

#[tokio::test]
async fn another_sites_form_starts_no_job() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let id = app.add_inputs().await.id.to_string();
    let foreign = request(axum::http::Method::POST, "/ui/jobs/new").header("sec-fetch-site", "cross-site");
    let answer = app.send(urlencoded(foreign, &[("dataset_id", &id), ("base_model", "tiny")])).await;
    answer.expect_page(403);
    assert_eq!(app.get("/v1/jobs").await.expect(200)["data"], json!([]));
}
