//! Fine-tuning jobs in OpenAI's shape.

use matryo::domain::{Dataset, JobId};
use serde_json::{Value, json};

use crate::helpers::fake_trainer::FakeTrainer;
use crate::helpers::test_app::{Answer, TestApp};

const JOBS: &str = "/v1/fine_tuning/jobs";

fn file(dataset: &Dataset) -> String {
    format!("file-{}", dataset.id.digits())
}

async fn create(app: &TestApp, body: Value) -> Answer {
    app.post_json(JOBS, &body).await
}

/// Creates a job of two epochs; its path and its own id.
async fn created(app: &TestApp, dataset: &Dataset) -> (String, JobId) {
    let training = json!({"epochs": 2, "logging_steps": 1});
    let body = json!({"model": "tiny", "training_file": file(dataset), "training": training});
    let job = create(app, body).await.expect(200);
    let id = job["id"].as_str().expect("an id");
    (format!("{JOBS}/{id}"), job["job_id"].as_str().expect("an id").parse().expect("it is one"))
}

/// The fields of a refused job.
async fn refused(app: &TestApp, body: Value) -> Vec<String> {
    let answer = create(app, body).await.expect(400);
    let fields = answer["error"]["details"]["fields"].as_array().expect("the fields are listed");
    assert_eq!(answer["error"]["param"], fields[0]["field"]);
    fields.iter().map(|field| field["field"].as_str().expect("text").to_owned()).collect()
}

fn ids(list: &Value) -> Vec<String> {
    list["data"].as_array().expect("a list").iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

/// Every item of a list, page by page.
async fn all(app: &TestApp, path: &str, limit: usize) -> Vec<Value> {
    let mut items = Vec::new();
    let mut after = String::new();
    loop {
        let page = app.get(&format!("{path}?limit={limit}{after}")).await.expect(200);
        let data = page["data"].as_array().expect("a list").clone();
        assert!(data.len() <= limit);
        items.extend(data);
        if page["has_more"] == json!(false) {
            return items;
        }
        after = format!("&after={}", page["last_id"].as_str().expect("there is one"));
    }
}

#[tokio::test]
async fn a_job_runs_and_tells_of_itself() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let (path, id) = created(&app, &dataset).await;
    app.ended(id).await;
    let job = app.get(&path).await.expect(200);
    assert_eq!((&job["object"], &job["status"]), (&json!("fine_tuning.job"), &json!("succeeded")));
    assert_eq!(job["id"], format!("ftjob-{}", id.digits()));
    assert_eq!(job["fine_tuned_model"], format!("job:{id}"));
    assert_eq!((&job["training_file"], &job["validation_file"]), (&json!(file(&dataset)), &Value::Null));
    assert_eq!((&job["trained_tokens"], &job["error"], &job["seed"]), (&json!(150), &Value::Null, &json!(42)));
    assert!(job["finished_at"].as_i64() >= job["created_at"].as_i64() && job["created_at"].is_i64());
    let hyperparameters = json!({"n_epochs": 2, "batch_size": 512, "learning_rate_multiplier": 1.0});
    assert_eq!(job["hyperparameters"], hyperparameters);
    assert_eq!(job["method"], json!({"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}));

    let events = all(&app, &format!("{path}/events"), 3).await;
    let stored = app.state.store.events_after(id, 0, 100).await.expect("they are read");
    assert_eq!(events.len(), stored.len());
    assert!(events[0]["message"].as_str().expect("text").contains("successfully completed"), "{}", events[0]);
    let steps: Vec<_> = events.iter().filter(|event| event["data"]["train_loss"].is_number()).collect();
    assert_eq!((steps.len(), &steps[0]["type"], &steps[0]["level"]), (4, &json!("metrics"), &json!("info")));
    assert_eq!(steps[0]["data"]["step"], json!(4));

    let checkpoints = all(&app, &format!("{path}/checkpoints"), 1).await;
    assert_eq!(checkpoints.iter().map(|one| &one["step_number"]).collect::<Vec<_>>(), [&json!(4), &json!(2)]);
    let newest = &checkpoints[0];
    assert_eq!(newest["fine_tuned_model_checkpoint"], format!("job:{id}@epoch-2"));
    assert_eq!((&newest["fine_tuning_job_id"], &newest["object"]), (&job["id"], &json!("fine_tuning.job.checkpoint")));
    assert_eq!(
        (&newest["metrics"]["train_loss"], &newest["metrics"]["dim_32_cosine_ndcg@10"]),
        (&json!(0.25), &json!(0.52))
    );
}

#[tokio::test]
async fn hyperparameters_may_stand_in_every_place() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let own =
        json!({"epochs": 3, "learning_rate": 4e-5, "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1});
    let theirs = json!({"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 2});
    for how in [
        json!({"hyperparameters": theirs}),
        json!({"method": {"type": "supervised", "supervised": {"hyperparameters": theirs}}}),
        json!({"method": {"type": "supervised", "supervised": {"hyperparameters": own}}}),
        json!({"training": own}),
        json!({"hyperparameters": {"n_epochs": 3, "batch_size": "auto"}, "training": own}),
    ] {
        let mut body = json!({"model": "tiny", "training_file": file(&dataset), "validation_file": file(&dataset), "seed": 7,
            "suffix": "mine", "metadata": {"team": "search"}, "integrations": null});
        body.as_object_mut().expect("an object").extend(how.as_object().expect("an object").clone());
        let job = create(&app, body).await.expect(200);
        let expected = json!({"n_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 2.0});
        assert_eq!(job["hyperparameters"], expected, "{how}");
        for (name, value) in own.as_object().expect("an object") {
            assert_eq!(job["training"][name], *value, "{how}: {name}");
        }
        assert_eq!((&job["seed"], &job["user_provided_suffix"]), (&json!(7), &json!("mine")));
        assert_eq!((&job["metadata"], &job["validation_file"]), (&json!({"team": "search"}), &json!(file(&dataset))));
        let id: JobId = job["job_id"].as_str().expect("an id").parse().expect("it is one");
        assert_eq!(app.ended(id).await["name"], "mine");
    }
}

#[tokio::test]
async fn everything_wrong_is_told_at_once_by_the_clients_paths() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let body = json!({
        "training_file": "file-7", "model": "nobody", "validation_file": format!("file-{}", "0".repeat(32)), "suffix": "x".repeat(65),
        "metadata": {"k": 1}, "seed": -1, "integrations": [{"type": "wandb"}], "epochs": 1,
        "hyperparameters": {"n_epochs": 0},
        "method": {"type": "dpo", "dpo": {}, "supervised": {"hyperparameters": {"learning_rate_multiplier": 0, "batch_size": "big"}}},
        "training": {"warmup_ratio": 2, "sede": 1},
    });
    let mut fields = refused(&app, body).await;
    fields.sort();
    let expected = [
        "epochs",
        "hyperparameters.n_epochs",
        "integrations",
        "metadata.k",
        "method.dpo",
        "method.supervised.hyperparameters.batch_size",
        "method.supervised.hyperparameters.learning_rate_multiplier",
        "method.type",
        "model",
        "seed",
        "suffix",
        "training.sede",
        "training.warmup_ratio",
        "training_file",
        "validation_file",
    ];
    assert_eq!(fields, expected);
    assert_eq!(refused(&app, json!({})).await, ["model", "training_file"]);
    let twice = json!({"model": "tiny", "training_file": file(&dataset), "hyperparameters": {"n_epochs": 1}, "training": {"epochs": 2}});
    assert_eq!(refused(&app, twice).await, ["training.epochs"]);
    let bad_loss = json!({"model": "tiny", "training_file": file(&dataset),
        "method": {"type": "supervised", "supervised": {"hyperparameters": {"matryoshka_dims": [64]}}}});
    assert_eq!(refused(&app, bad_loss).await, ["method.supervised.hyperparameters.matryoshka_dims"]);
    assert_eq!(app.get(JOBS).await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn a_job_is_paused_resumed_and_cancelled() {
    let (trainer, gate) = FakeTrainer::gated();
    let app = TestApp::start_training_by(trainer).await;
    let dataset = app.add_inputs().await;
    let (path, id) = created(&app, &dataset).await;
    app.told(id, "step").await;
    let running = app.get(&path).await.expect(200);
    assert_eq!((&running["status"], &running["fine_tuned_model"]), (&json!("running"), &Value::Null));
    assert!(running["estimated_finish"].is_i64() && running["finished_at"].is_null(), "{running}");
    // It has stopped when the answer comes.
    let paused = app.post(&format!("{path}/pause")).await.expect(200);
    assert_eq!((&paused["status"], &paused["finished_at"]), (&json!("paused"), &Value::Null));
    assert_eq!(app.post(&format!("{path}/resume")).await.expect(200)["status"], "queued");
    app.told_status(id, "paused").await;
    let again = app.post(&format!("{path}/resume")).await;
    again.expect(409);
    assert_eq!(again.headers["x-should-retry"], "false");
    let cancelled = app.post(&format!("{path}/cancel")).await.expect(200);
    assert_eq!(cancelled["status"], "cancelled");
    assert!(cancelled["finished_at"].is_i64() && cancelled["fine_tuned_model"].is_null());
    app.post(&format!("{path}/pause")).await.expect(409);
    assert_eq!(app.post(&format!("{path}/resume")).await.expect(200)["status"], "queued");
    gate.open();
    assert_eq!(app.ended(id).await["status"], "succeeded");
}

#[tokio::test]
async fn a_failed_job_says_why() {
    let bad = FakeTrainer::new(|_, _| Err(matryo::training::TrainError::Data("odd".into())));
    let app = TestApp::start_training_by(bad).await;
    let dataset = app.add_inputs().await;
    let (path, id) = created(&app, &dataset).await;
    app.ended(id).await;
    let job = app.get(&path).await.expect(200);
    assert_eq!(job["error"], json!({"code": "invalid_data", "message": "odd", "param": "training_file"}));
    let events = app.get(&format!("{path}/events?limit=1")).await.expect(200);
    let told = &events["data"][0];
    assert_eq!((&told["level"], &told["message"]), (&json!("error"), &json!("The job failed: odd")));
}

#[tokio::test]
async fn lists_have_a_cursor_and_heed_metadata() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let mut made = Vec::new();
    for metadata in
        [json!(null), json!({"team": "search", "run": "1"}), json!({"team": "search", "run": "2"}), json!({"run": ""})]
    {
        let body = json!({"model": "tiny", "training_file": file(&dataset), "metadata": metadata});
        made.push(create(&app, body).await.expect(200)["id"].as_str().expect("an id").to_owned());
    }
    let newest_first: Vec<String> = made.iter().rev().cloned().collect();
    assert_eq!(
        all(&app, JOBS, 3).await.iter().map(|job| job["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>(),
        newest_first
    );
    for (query, expected) in [
        ("metadata[team]=search", vec![&made[2], &made[1]]),
        ("metadata%5Bteam%5D=search&metadata%5Brun%5D=2", vec![&made[2]]),
        ("metadata[run]=", vec![&made[3]]),
        ("metadata[team]=other", vec![]),
        ("metadata=null", vec![&made[0]]),
    ] {
        let query = query.replace('[', "%5B").replace(']', "%5D");
        let list = app.get(&format!("{JOBS}?{query}")).await.expect(200);
        assert_eq!(ids(&list).iter().collect::<Vec<_>>(), expected, "{query}");
    }
    let unknown = format!("ftjob-{}", "0".repeat(32));
    for (path, param) in [
        (format!("{JOBS}?after={unknown}"), "after"),
        (format!("{JOBS}?after=7"), "after"),
        (format!("{JOBS}?limit=0"), "limit"),
        (format!("{JOBS}?metadata=x"), "metadata"),
        (format!("{JOBS}/{}/events?after=ftevent-999999", made[0]), "after"),
        (format!("{JOBS}/{}/checkpoints?after=ftckpt-{}-9", made[0], "0".repeat(32)), "after"),
    ] {
        assert_eq!(app.get(&path).await.expect(400)["error"]["param"], param, "{path}");
    }
    for id in [unknown.as_str(), "7"] {
        for path in ["", "/events", "/checkpoints"] {
            app.get(&format!("{JOBS}/{id}{path}")).await.expect(404);
        }
        for path in ["cancel", "pause", "resume"] {
            app.post(&format!("{JOBS}/{id}/{path}")).await.expect(404);
        }
    }
}
