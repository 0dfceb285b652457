//! Job pages at every status, with their live parts, forms and files.

use matryo::domain::{Job, JobId, TrainEvent};
use matryo::training::TrainError;
use matryo::worker::Trainer;
use serde_json::json;

use super::pages::check_page;
use crate::helpers::fake_trainer::{FakeTrainer, run_epochs};
use crate::helpers::rows;
use crate::helpers::test_app::TestApp;

const UNKNOWN: &str = "0190a000-0000-7000-8000-000000000000";

/// A service that has run a job to its end.
async fn with_a_job(trainer: impl Trainer + 'static) -> (TestApp, JobId) {
    let app = TestApp::start_training_by(trainer).await;
    let dataset = app.add_inputs().await;
    let id = app.submit(&dataset).await;
    app.ended(id).await;
    (app, id)
}

#[tokio::test]
async fn a_finished_job_shows_what_it_reached() {
    let (app, id) = with_a_job(FakeTrainer::good()).await;
    let answer = app.browse(&format!("/ui/jobs/{id}")).await;
    check_page(&answer);
    let page = answer.expect_page(200);
    for part in [
        "badge succeeded",
        "0.5200 <span class=\"up\">+0.0200</span>",
        "Training loss",
        "Learning rate",
        "Gradient norm",
        "ndcg@10 by epoch, for each dimension",
        "ndcg@10 before and after training",
        "Which dimension to ship",
        "All 19 columns",
        "precision@5",
        "No log",
        "archive?format=zip",
        &format!("job:{id}@epoch-2"),
        "per_device_train_batch_size",
        "The job has succeeded.",
        &format!("/ui/jobs/new?from={id}"),
        &format!("/ui/playground?job={id}"),
        &format!("/ui/jobs/{id}/delete"),
    ] {
        // One dimension has no shorter one to be compared with.
        assert_eq!(page.contains(part), part != "Which dimension to ship", "{part} in {page}");
    }
    assert!(page.contains("2 arguments differ"), "epochs and logging_steps: {page}");
    assert!(!page.contains("data-events"), "nothing more happens: {page}");
    let home = app.browse("/").await;
    check_page(&home);
    let home = home.expect_page(200);
    assert!(home.contains("Untitled job") && home.contains("class=\"spark\""), "{home}");
    assert!(home.contains("ndcg@10 at 32, the baseline first: 0.5000, 0.5100, 0.5200"), "{home}");
    assert!(home.contains("Nothing is running") && home.contains("No job is waiting"), "{home}");
}

#[tokio::test]
async fn a_running_job_shows_how_far_it_is_and_is_followed() {
    let (trainer, gate) = FakeTrainer::gated();
    let app = TestApp::start_training_by(trainer).await;
    let dataset = app.add_inputs().await;
    let id = app.submit(&dataset).await;
    app.told(id, "step").await;
    let waiting = app.submit(&dataset).await;
    let path = format!("/ui/jobs/{id}");
    let answer = app.browse(&path).await;
    check_page(&answer);
    let page = answer.expect_page(200);
    for part in [
        "badge running",
        "Training, epoch 1 of 2.",
        "value=\"0.2500\"",
        "1 of 4",
        "100 pairs/s",
        "about 1.0 s",
        "/pause",
        "/cancel",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(
        page.contains(&format!("data-live=\"{path}/live\" data-events=\"/v1/jobs/{id}/events?last_event_id=")),
        "{page}"
    );
    let live = app.browse(&format!("{path}/live")).await;
    let live = live.expect_page(200);
    assert!(live.starts_with("<div data-live=") && live.contains("id=\"training\"") && !live.contains("<h1"), "{live}");
    let home = app.browse("/").await;
    let home = home.expect_page(200);
    assert!(
        home.contains("Running: ") && home.contains("<progress") && home.contains(&format!("/v1/jobs/{id}/events")),
        "{home}"
    );
    let queue = home.split("queue-title").nth(2).expect("there is a queue");
    assert!(queue.contains(&waiting.to_string()), "{queue}");
    let queued = app.browse(&format!("/ui/jobs/{waiting}")).await;
    assert!(queued.expect_page(200).contains("It waits for its turn"));

    assert_eq!(
        app.submit_form(&format!("/ui/jobs/{waiting}/pause"), &[]).await.expect_redirect(),
        format!("/ui/jobs/{waiting}")
    );
    let paused = app.browse(&format!("/ui/jobs/{waiting}")).await;
    check_page(&paused);
    assert!(paused.expect_page(200).contains("until you resume it") && paused.text().contains("badge paused"));
    app.submit_form(&format!("/ui/jobs/{waiting}/resume"), &[]).await.expect_redirect();
    app.submit_form(&format!("/ui/jobs/{waiting}/cancel"), &[]).await.expect_redirect();
    let cancelled = app.browse(&format!("/ui/jobs/{waiting}")).await;
    check_page(&cancelled);
    assert!(cancelled.expect_page(200).contains("badge cancelled"));
    let again = app.submit_form(&format!("/ui/jobs/{waiting}/cancel"), &[]).await;
    check_page(&again);
    assert!(
        again.expect_page(409).contains("The job is cancelled; only a queued, running or paused one can be cancelled.")
    );
    gate.open();
    app.ended(id).await;
}

#[tokio::test]
async fn a_failed_job_says_why_and_what_to_do() {
    let (app, id) = with_a_job(FakeTrainer::new(|request, sink| {
        sink.on_event(TrainEvent::Warning { message: "<b>odd</b> rows".into() });
        run_epochs(request, sink, |step, _| if step == 2 { Err(TrainError::NonFiniteLoss { step }) } else { Ok(()) })
    }))
    .await;
    let answer = app.browse(&format!("/ui/jobs/{id}")).await;
    check_page(&answer);
    let page = answer.expect_page(200);
    assert!(
        page.contains("The loss is not finite at step 2; a lower learning_rate may help.")
            && page.contains("non_finite_loss"),
        "{page}"
    );
    assert!(page.contains("lower learning_rate (a tenth is a good try)") && page.contains("/resume"), "{page}");
    assert!(page.contains("&lt;b&gt;odd&lt;/b&gt; rows") && !page.contains("<b>odd"), "{page}");
}

#[tokio::test]
async fn a_job_is_deleted_after_a_question() {
    let (app, id) = with_a_job(FakeTrainer::good()).await;
    let path = format!("/ui/jobs/{id}/delete");
    let question = app.browse(&path).await;
    check_page(&question);
    assert!(question.expect_page(200).contains("2 checkpoints"));
    app.get(&format!("/v1/jobs/{id}")).await.expect(200);
    assert_eq!(app.submit_form(&path, &[]).await.expect_redirect(), "/ui/jobs");
    app.get(&format!("/v1/jobs/{id}")).await.expect_error(404, "not_found");
    app.browse(&path).await.expect_page(404);
}

#[tokio::test]
async fn a_checkpoint_is_put_into_service_under_a_name() {
    let (app, id) = with_a_job(FakeTrainer::good()).await;
    let path = format!("/ui/jobs/{id}/alias");
    app.submit_form(&path, &[("alias", " production "), ("epoch", "1")]).await.expect_redirect();
    let alias = app.get("/v1/aliases/production").await.expect(200);
    assert_eq!(alias["model"], json!(format!("job:{id}@epoch-1")));
    let bad = app.submit_form(&path, &[("alias", ""), ("epoch", "1")]).await;
    check_page(&bad);
    bad.expect_page(422);
    app.submit_form(&path, &[("alias", "x"), ("epoch", "9")]).await.expect_page(422);
    let kept = app.submit_form(&format!("/ui/jobs/{id}/delete"), &[]).await;
    assert!(kept.expect_page(409).contains("production"));
}

#[tokio::test]
async fn metrics_come_as_files() {
    let (app, id) = with_a_job(FakeTrainer::good()).await;
    let csv = app.browse(&format!("/ui/jobs/{id}/metrics.csv")).await;
    assert_eq!(csv.headers["content-disposition"], format!("attachment; filename=\"job-{id}-metrics.csv\""));
    assert!(csv.text().starts_with("Epoch,Training Loss,") && csv.text().lines().count() == 4, "{}", csv.text());
    let markdown = app.browse(&format!("/ui/jobs/{id}/metrics.md")).await;
    assert!(markdown.text().starts_with("| Epoch |"));
    app.browse(&format!("/ui/jobs/{UNKNOWN}/metrics.csv")).await.expect_page(404);
}

#[tokio::test]
async fn the_log_is_told_in_words() {
    let (app, id) = with_a_job(FakeTrainer::good()).await;
    let answer = app.browse(&format!("/ui/jobs/{id}/log")).await;
    check_page(&answer);
    let page = answer.expect_page(200);
    for line in [
        "The job waits in the queue.",
        "Texts become tokens.",
        "The base model&#x27;s ndcg@10 at 32 is 0.5000.",
        "Step 1 of 4: loss 1.0000, learning rate 0.00002, gradient norm 1, 100 pairs/s.",
        "After epoch 2, ndcg@10 at 32 is 0.5200.",
        "The checkpoint of epoch 2 is on disk, the best so far",
        "The job has succeeded.",
    ] {
        assert!(page.contains(&line.replace("&#x27;", "'")) || page.contains(line), "{line} in {page}");
    }
    app.browse(&format!("/ui/jobs/{id}/log?before=1")).await.expect_page(200);
    app.browse(&format!("/ui/jobs/{id}/log?before=x")).await.expect_page(422);
}

#[tokio::test]
async fn jobs_are_listed_by_status_and_in_pages() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    app.state.worker.shutdown().await.unwrap();
    let model = rows::ready_model("tiny");
    for number in 0..27 {
        let job = Job { name: Some(format!("<script>job {number}</script>")), ..rows::job(&dataset, &model) };
        app.state.store.insert_job(&job).await.unwrap();
    }
    let first = app.browse("/ui/jobs").await;
    check_page(&first);
    let page = first.expect_page(200);
    assert_eq!(page.matches("badge queued").count(), 25);
    assert!(page.contains("&lt;script&gt;job 26&lt;/script&gt;") && !page.contains("<script>job"), "{page}");
    let next = page.split("cursor=").nth(1).and_then(|rest| rest.split('"').next()).expect("there are older ones");
    let second = app.browse(&format!("/ui/jobs?status=&cursor={next}")).await;
    check_page(&second);
    assert_eq!(second.expect_page(200).matches("badge queued").count(), 2);
    assert!(app.browse("/ui/jobs?status=failed").await.expect_page(200).contains("There is no failed job here."));
    for query in ["status=done", "cursor=7"] {
        let bad = app.browse(&format!("/ui/jobs?{query}")).await;
        check_page(&bad);
        bad.expect_page(422);
    }
}

#[tokio::test]
async fn a_job_that_is_not_there_is_not_found() {
    let app = TestApp::start().await;
    for id in [UNKNOWN, "7"] {
        for path in ["", "/live", "/log", "/metrics.csv", "/delete"] {
            app.browse(&format!("/ui/jobs/{id}{path}")).await.expect_page(404);
        }
        for path in ["cancel", "pause", "resume", "delete"] {
            app.submit_form(&format!("/ui/jobs/{id}/{path}"), &[]).await.expect_page(404);
        }
    }
}
