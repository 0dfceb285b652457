//! Models: pulls and their events, registered folders, the list, deletion.

use std::collections::BTreeMap;
use std::path::Path;

use axum::body::Bytes;
use axum::http::{Method, StatusCode, header};
use matryo::domain::{ModelStatus, Secret, TrainingArguments};
use matryo::http::AppState;
use matryo::hub::HubSettings;
use serde_json::{Value, json};

use crate::helpers::form::csv_pairs;
use crate::helpers::models::{add_base_model, add_checkpoint, add_ended_job, add_model_row};
use crate::helpers::test_app::{Answer, TestApp, request};
use crate::helpers::tiny_model::TinyModel;
use crate::hub::fake_hub::{Behaviour, FakeHub, REPO};

const UNKNOWN: &str = "/v1/models/0190a000-0000-7000-8000-000000000000";

/// A folder's files by path.
fn files(folder: &Path) -> BTreeMap<String, Bytes> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap().into());
            }
        }
    }
    files
}

/// A Hub that has a tiny model.
async fn hub() -> FakeHub {
    let folder = tempfile::tempdir().unwrap();
    TinyModel::default().write(folder.path());
    FakeHub::start(Behaviour { files: files(folder.path()), ..Behaviour::default() }).await
}

async fn app_with(hub: &FakeHub) -> TestApp {
    TestApp::start_with(|state| state.hub = hub.settings()).await
}

/// A Hub that takes connections and never answers.
async fn silent_hub() -> (tokio::net::TcpListener, impl FnOnce(&mut AppState)) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let settings = HubSettings { endpoint, token: Some(Secret::new("hf_test")), ..HubSettings::default() };
    (listener, move |state: &mut AppState| state.hub = settings)
}

async fn pull(app: &TestApp) -> String {
    let model = app.post_json("/v1/models", &json!({"source": "hub", "repo": REPO})).await.expect(202);
    format!("/v1/models/{}", model["id"].as_str().unwrap())
}

/// The data of all events of a pull, to its end.
async fn events(app: &TestApp, path: &str) -> Vec<Value> {
    let answer = app.get(&format!("{path}/events")).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers[header::CONTENT_TYPE]),
        (200, &"text/event-stream".parse().unwrap())
    );
    answer.text().lines().filter_map(|line| Some(serde_json::from_str(line.strip_prefix("data: ")?).unwrap())).collect()
}

/// What lies in the folder of pulled models.
fn pulled(app: &TestApp) -> usize {
    std::fs::read_dir(app.state.data_dir.models()).unwrap().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_pulled_in_the_background_and_its_progress_told() {
    let app = app_with(&hub().await).await;
    let answer = app.post_json("/v1/models", &json!({"source": "hub", "repo": REPO})).await;
    let model = answer.expect(202);
    let path = format!("/v1/models/{}", REPO.replace('/', "%2F"));
    assert_eq!(answer.headers[header::LOCATION], path.as_str());
    assert_eq!((&model["id"], &model["object"]), (&json!(REPO), &json!("model")));
    assert_eq!(model["owned_by"], REPO.split('/').next().unwrap());
    let plain = format!("/v1/models/{REPO}");
    assert_eq!((&model["name"], &model["status"], &model["error"]), (&json!(REPO), &json!("pulling"), &Value::Null));
    assert_eq!(model["source"], json!({"kind": "hub", "repo": REPO, "revision": "main"}));
    let events = events(&app, &path).await;
    let last = events.last().unwrap();
    assert_eq!(last["type"], "ready", "{events:?}");
    let ready = app.get(&path).await.expect(200);
    assert_eq!(app.get(&plain).await.expect(200), ready, "slashes may stand as they are");
    assert_eq!(ready["max_model_len"], 32);
    assert_eq!((&ready["status"], &ready["size_bytes"]), (&json!("ready"), &last["size_bytes"]));
    assert_eq!((&ready["summary"]["dimension"], &ready["summary"]["pooling"]), (&json!(32), &json!("mean")));
    let listed = app.get("/v1/models").await.expect(200)["data"][0].clone();
    assert_eq!((&listed["kind"], &listed["name"]), (&json!("base"), &json!(REPO)));
    // One who comes late hears the end alone.
    assert_eq!(self::events(&app, &path).await, std::slice::from_ref(last));
    assert_eq!(self::events(&app, &plain).await, std::slice::from_ref(last));
    app.post_json("/v1/models", &json!({"source": "hub", "repo": REPO})).await.expect_error(409, "conflict");
    app.post(&format!("{path}/pull")).await.expect_error(409, "conflict");
    assert_eq!(app.delete(&path).await.expect(200)["deleted"], true);
    app.get(&path).await.expect_error(404, "model_not_found");
    assert_eq!(pulled(&app), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_failed_says_why_and_can_be_tried_again() {
    let hub = hub().await;
    hub.change(|hub| hub.status = Some(StatusCode::SERVICE_UNAVAILABLE));
    let app = app_with(&hub).await;
    let path = pull(&app).await;
    let last = events(&app, &path).await.pop().unwrap();
    assert_eq!(last["type"], "failed");
    let model = app.get(&path).await.expect(200);
    assert_eq!((&model["status"], &model["error"]), (&json!("failed"), &last["error"]));
    assert!(model["error"].as_str().unwrap().contains("503"), "{model}");
    hub.change(|hub| hub.status = None);
    let model = app.post(&format!("{path}/pull")).await.expect(202);
    assert_eq!((&model["status"], &model["error"]), (&json!("pulling"), &Value::Null));
    assert_eq!(events(&app, &path).await.pop().unwrap()["type"], "ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pulled_model_of_another_kind_fails_with_what_and_why() {
    let hub = hub().await;
    hub.change(|hub| {
        let config = json!({"model_type": "t5", "architectures": ["T5EncoderModel"]}).to_string();
        hub.files.insert("config.json".into(), config.into());
    });
    let app = app_with(&hub).await;
    let path = pull(&app).await;
    let last = events(&app, &path).await.pop().unwrap();
    assert!(last["type"] == "failed" && last["error"].as_str().unwrap().contains("t5"), "{last}");
    assert_eq!(pulled(&app), 0, "files of no use stay");
    assert_eq!(app.delete(&path).await.expect(200)["deleted"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_being_pulled_stays_until_then() {
    let (_listener, adjust) = silent_hub().await;
    let app = TestApp::start_with(adjust).await;
    let path = pull(&app).await;
    assert_eq!(app.get(&path).await.expect(200)["status"], "pulling");
    app.delete(&path).await.expect_error(409, "conflict");
    app.post(&format!("{path}/pull")).await.expect_error(409, "conflict");
    let follow = format!("{path}/events");
    let (answer, ()) = tokio::join!(app.get(&follow), async { app.state.pulls.shutdown() });
    assert!(answer.text().contains("waiting"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_a_stop_cut_off_goes_on_at_the_next_start() {
    let (_listener, adjust) = silent_hub().await;
    let app = TestApp::start_with(adjust).await;
    let path = pull(&app).await;
    std::fs::create_dir(app.state.data_dir.models().join("0190a000-0000-7000-8000-000000000000.tmp")).unwrap();
    let folder = app.stop().await;
    let hub = hub().await;
    let app = TestApp::start_in(folder, |state| state.hub = hub.settings()).await;
    app.state.pulls.resume(&app.state).await.unwrap();
    assert_eq!(events(&app, &path).await.pop().unwrap()["type"], "ready");
    assert_eq!(pulled(&app), 1, "what belongs to no model stays");
}

#[tokio::test]
async fn offline_a_pull_fails_with_what_to_do() {
    let app = TestApp::start().await;
    let path = pull(&app).await;
    let last = events(&app, &path).await.pop().unwrap();
    assert!(last["error"].as_str().unwrap().contains("HF_HUB_OFFLINE"), "{last}");
}

#[tokio::test]
async fn an_allowed_folder_is_registered_at_once() {
    let app = TestApp::start().await;
    let folder = app.model_root().join("tiny");
    TinyModel::default().write(&folder);
    let body = json!({"source": "folder", "path": folder});
    let answer = app.post_json("/v1/models", &body).await;
    let model = answer.expect(201);
    assert_eq!(answer.headers[header::LOCATION], format!("/v1/models/{}", model["id"].as_str().unwrap()).as_str());
    assert_eq!((&model["name"], &model["status"]), (&json!("tiny"), &json!("ready")));
    let size: usize = files(&folder).values().map(Bytes::len).sum();
    assert_eq!(model["size_bytes"], size);
    app.post_json("/v1/models", &body).await.expect_error(409, "conflict");
    let named = app.post_json("/v1/models", &json!({"source": "folder", "path": folder, "name": "other"})).await;
    let path = format!("/v1/models/{}", named.expect(201)["id"].as_str().unwrap());
    assert_eq!(app.delete(&path).await.expect(200)["deleted"], true);
    assert!(folder.join("config.json").exists(), "a folder that is not ours was deleted");
}

#[tokio::test]
async fn folders_that_are_elsewhere_or_no_models_are_refused() {
    let app = TestApp::start().await;
    let elsewhere = tempfile::tempdir().unwrap();
    TinyModel::default().write(elsewhere.path());
    let root = app.model_root();
    std::os::unix::fs::symlink(elsewhere.path(), root.join("link")).unwrap();
    for path in [elsewhere.path(), &root.join("link"), &root.join("missing"), &root.join("../data"), Path::new("tiny")]
    {
        let answer = app.post_json("/v1/models", &json!({"source": "folder", "path": path})).await;
        assert!(answer.expect_error(400, "invalid_value").starts_with("path: "), "{}", path.display());
    }
    std::fs::create_dir(root.join("empty")).unwrap();
    let broken = root.join("broken");
    TinyModel::default().write(&broken);
    std::fs::write(broken.join("config.json"), "{\"model_type\": \"gpt2\"}").unwrap();
    for (folder, word) in [("empty", "config.json"), ("broken", "gpt2")] {
        let answer = app.post_json("/v1/models", &json!({"source": "folder", "path": root.join(folder)})).await;
        let message = answer.expect_error(400, "unsupported_model");
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(app.get("/v1/models").await.expect(200)["data"], json!([]));
}

fn fields(answer: &Answer) -> Vec<String> {
    let fields = answer.expect(400)["error"]["details"]["fields"].clone();
    fields.as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn bad_requests_are_refused_with_all_their_fields() {
    let app = TestApp::start().await;
    for (body, expected) in [
        (json!({"source": "hub"}), vec!["repo"]),
        (json!({"source": "folder", "repo": "a/b", "revision": "main"}), vec!["repo", "revision", "path"]),
        (json!({"source": "hub", "repo": "../a", "revision": "a..b", "path": "/"}), vec!["path", "repo", "revision"]),
        (json!({"source": "hub", "repo": "a/b", "name": "job:x"}), vec!["name"]),
        (json!({"source": "hub", "repo": "a/b", "name": " x"}), vec!["name"]),
        (json!({"source": "hub", "repo": "a/b", "name": ""}), vec!["name"]),
        (json!({"source": "disk"}), vec!["source"]),
        (json!({"source": "hub", "repo": 7}), vec!["repo"]),
        (json!({"source": "hub", "repo": "a/b", "tag": "x"}), vec!["tag"]),
        (json!([]), vec!["body"]),
        (json!({"repo": "a/b"}), vec!["source"]),
    ] {
        let answer = app.post_json("/v1/models", &body).await;
        assert_eq!(fields(&answer), expected, "{body}: {}", answer.text());
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let app = TestApp::start_with(|state| state.limits.max_body_bytes = 1000).await;
    let post = async |content_type: &str, body: String| {
        let request = request(Method::POST, "/v1/models").header(header::CONTENT_TYPE, content_type);
        app.send(request.body(body.into()).unwrap()).await
    };
    post("application/json", "{".into()).await.expect_error(400, "malformed_request");
    post("application/json", "{\"source\": \"hub\"} {}".into()).await.expect_error(400, "malformed_request");
    post("application/json", "\u{7}".into()).await.expect_error(400, "malformed_request");
    post("text/plain", "{}".into()).await.expect_error(415, "unsupported_media_type");
    app.post("/v1/models").await.expect_error(415, "unsupported_media_type");
    post("application/json", " ".repeat(1001)).await.expect_error(413, "too_large");
}

#[tokio::test]
async fn base_and_fine_tuned_models_are_one_list() {
    let app = TestApp::start().await;
    let tiny = TinyModel::default();
    add_base_model(&app, "old", &tiny).await;
    let with_best = add_ended_job(&app, "old").await;
    add_checkpoint(&app, with_best, 1, &tiny, false).await;
    add_checkpoint(&app, with_best, 2, &tiny, true).await;
    add_ended_job(&app, "old").await;
    add_base_model(&app, "new", &tiny).await;
    let names = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = app.get("/v1/models").await.expect(200);
    let fine_tuned = format!("job:{with_best}");
    assert_eq!(
        (names(&all), &all["next_cursor"]),
        (vec!["new".into(), fine_tuned.clone(), "old".into()], &Value::Null)
    );
    let model = &all["data"][1];
    assert_eq!(
        (&model["kind"], &model["epoch"], &model["base_model"]),
        (&json!("fine_tuned"), &json!(2), &json!("old"))
    );
    for model in all["data"].as_array().unwrap() {
        assert_eq!((&model["id"], &model["object"]), (&model["name"], &json!("model")));
        assert_eq!((&model["max_model_len"], &model["dimension"]), (&json!(32), &json!(32)));
        assert!(model["created"].as_i64().unwrap() > 1_700_000_000, "{model}");
        let one = app.get(&format!("/v1/models/{}", model["id"].as_str().unwrap())).await.expect(200);
        assert_eq!(one, *model);
    }
    assert_eq!((&all["object"], &all["has_more"]), (&json!("list"), &json!(false)));
    let first = app.get(&format!("/v1/models/{fine_tuned}@epoch-1")).await.expect(200);
    assert_eq!((&first["epoch"], &first["id"]), (&json!(1), &json!(format!("{fine_tuned}@epoch-1"))));
    assert_eq!(first["matryoshka_dims"], json!(TrainingArguments::default().dims()));
    let message = app.delete(&format!("/v1/models/{fine_tuned}")).await.expect_error(409, "conflict");
    assert!(message.contains(&format!("/v1/jobs/{with_best}")), "{message}");
    let (mut paged, mut query) = (Vec::new(), "limit=1".to_owned());
    loop {
        let page = app.get(&format!("/v1/models?{query}")).await.expect(200);
        paged.extend(names(&page));
        match page["next_cursor"].as_str() {
            Some(cursor) => query = format!("limit=1&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(paged, ["new", &fine_tuned, "old"]);
    // As OpenAI's client pages.
    let page = app.get("/v1/models?after=new&limit=1").await.expect(200);
    assert_eq!((names(&page), &page["has_more"]), (vec![fine_tuned.clone()], &json!(true)));
    for query in ["cursor=x", "after=x", "limit=0", "limit=1001"] {
        app.get(&format!("/v1/models?{query}")).await.expect_error(400, "invalid_value");
    }
}

#[tokio::test]
async fn models_and_datasets_that_a_job_waits_for_stay() {
    let app = TestApp::start().await;
    // So that the job keeps waiting.
    app.state.worker.shutdown().await.unwrap();
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    let job = add_ended_job(&app, "tiny").await;
    let job = app.state.store.resume(job).await.unwrap().job;
    for path in ["/v1/models/tiny".to_owned(), format!("/v1/datasets/{}", job.dataset_id)] {
        let message = app.delete(&path).await.expect_error(409, "conflict");
        assert!(message.contains("job"), "{message}");
        app.get(&path).await.expect(200);
    }
}

#[tokio::test]
async fn unknown_models_are_not_found() {
    let app = TestApp::start().await;
    app.get(UNKNOWN).await.expect_error(404, "model_not_found");
    app.get(&format!("{UNKNOWN}/events")).await.expect_error(404, "model_not_found");
    app.post(&format!("{UNKNOWN}/pull")).await.expect_error(404, "model_not_found");
    app.delete(UNKNOWN).await.expect_error(404, "model_not_found");
    for name in ["tiny", "org/name", "job:7", "job:0190a000-0000-7000-8000-000000000000@epoch-2", "%20"] {
        app.get(&format!("/v1/models/{name}")).await.expect_error(404, "model_not_found");
        app.post(&format!("/v1/models/{name}/load")).await.expect_error(404, "model_not_found");
    }
}

#[tokio::test]
async fn a_datasets_lengths_are_told_in_a_models_tokens() {
    let app = TestApp::start().await;
    let dataset = app.upload("a.csv", csv_pairs(20)).await.expect(201);
    let path = format!("/v1/datasets/{}", dataset["id"].as_str().unwrap());
    let folder = add_base_model(&app, "tiny", &TinyModel { max_seq_length: 16, ..TinyModel::default() }).await;
    let shown = app.get(&format!("{path}?model=tiny")).await.expect(200);
    let lengths = &shown["token_lengths"];
    assert_eq!((&shown["train_rows"], &lengths["max_seq_length"]), (&json!(18), &json!(16)));
    let texts: u64 = lengths["anchor"]["bins"].as_array().unwrap().iter().map(|bin| bin.as_u64().unwrap()).sum();
    assert_eq!(texts, 20);
    // It is kept, so the model's files are not needed again.
    std::fs::remove_dir_all(folder).unwrap();
    assert_eq!(app.get(&format!("{path}?model=tiny")).await.expect(200), shown);
    assert!(app.get(&path).await.expect(200).get("token_lengths").is_none());
    add_model_row(&app, "coming", ModelStatus::Pulling).await;
    app.get(&format!("{path}?model=coming")).await.expect_error(409, "conflict");
}
