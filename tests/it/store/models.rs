//! Base models' rows.

use matryo::domain::{Model, ModelId, ModelSource, ModelStatus};
use matryo::store::StoreError;

use super::{Fixture, assert_not_found, conflict};
use crate::helpers::rows;

fn pulling(name: &str) -> Model {
    let source = ModelSource::Hub { repo: name.into(), revision: "main".into() };
    Model { source, status: ModelStatus::Pulling, summary: None, size_bytes: 0, ..rows::ready_model(name) }
}

#[tokio::test]
async fn a_pull_goes_from_pulling_to_ready() {
    let fixture = Fixture::new().await;
    let model = pulling("org/model");
    fixture.store.insert_model(&model).await.expect("it is stored");
    fixture.store.set_model_size(model.id, 10).await.expect("it is set");
    assert_eq!(
        fixture.store.get_model(model.id).await.expect("it is there"),
        Model { size_bytes: 10, ..model.clone() }
    );
    fixture.store.set_model_ready(model.id, &rows::summary(), 20).await.expect("it is set");
    let ready = Model { status: ModelStatus::Ready, summary: Some(rows::summary()), size_bytes: 20, ..model.clone() };
    assert_eq!(fixture.store.get_model_by_name("org/model").await.expect("it is there"), ready);
}

#[tokio::test]
async fn a_failed_pull_says_why_and_may_be_tried_again() {
    let fixture = Fixture::new().await;
    let model = pulling("org/model");
    fixture.store.insert_model(&model).await.expect("it is stored");
    let error = fixture.store.set_model_pulling(model.id).await.expect_err("it is being pulled");
    assert!(conflict(&error).contains("pulling"), "{error}");
    fixture.store.set_model_failed(model.id, "no such revision").await.expect("it is set");
    let failed = fixture.store.get_model(model.id).await.expect("it is there");
    assert_eq!((failed.status, failed.error.as_deref()), (ModelStatus::Failed, Some("no such revision")));
    fixture.store.set_model_pulling(model.id).await.expect("it is pulled again");
    assert_eq!(fixture.store.get_model(model.id).await.expect("it is there"), model);
}

#[tokio::test]
async fn pulls_that_a_restart_cut_off_have_failed() {
    let fixture = Fixture::new().await;
    let model = pulling("org/model");
    fixture.store.insert_model(&model).await.expect("it is stored");
    let failed = fixture.store.fail_interrupted_pulls().await.expect("they are marked");
    assert_eq!(
        failed.iter().map(|model| (model.id, model.status)).collect::<Vec<_>>(),
        [(model.id, ModelStatus::Failed)]
    );
    assert!(fixture.store.fail_interrupted_pulls().await.expect("none is left").is_empty());
    assert_eq!(fixture.store.get_model(fixture.model.id).await.expect("it is there"), fixture.model);
}

#[tokio::test]
async fn a_name_is_taken_once_and_rows_that_make_no_sense_are_refused() {
    let fixture = Fixture::new().await;
    let error = fixture.store.insert_model(&rows::ready_model("tiny")).await.expect_err("the name is taken");
    assert!(conflict(&error).contains("`tiny`"), "{error}");
    let without_summary = Model { summary: None, ..rows::ready_model("other") };
    let failed_without_error = Model { status: ModelStatus::Failed, ..rows::ready_model("other") };
    for model in [without_summary, failed_without_error] {
        assert!(matches!(fixture.store.insert_model(&model).await, Err(StoreError::Database(_))), "{model:?}");
    }
}

#[tokio::test]
async fn a_model_stays_while_it_is_pulled_or_a_job_starts_from_it() {
    let fixture = Fixture::new().await;
    let job = fixture.queue().await;
    let error = fixture.store.delete_model(fixture.model.id).await.expect_err("a job waits for it");
    assert!(conflict(&error).contains("job"), "{error}");
    fixture.store.request_cancel(job.id).await.expect("it is cancelled");
    fixture.store.delete_model(fixture.model.id).await.expect("nothing needs it");
    assert_not_found(fixture.store.get_model(fixture.model.id).await, "model");

    let model = pulling("org/model");
    fixture.store.insert_model(&model).await.expect("it is stored");
    let error = fixture.store.delete_model(model.id).await.expect_err("it is being pulled");
    assert!(conflict(&error).contains("being pulled"), "{error}");
}

#[tokio::test]
async fn a_model_that_is_gone_is_not_changed() {
    let fixture = Fixture::new().await;
    let id = ModelId::generate();
    assert_not_found(fixture.store.set_model_size(id, 1).await, "model");
    assert_not_found(fixture.store.set_model_ready(id, &rows::summary(), 1).await, "model");
    assert_not_found(fixture.store.set_model_failed(id, "why").await, "model");
    assert_not_found(fixture.store.set_model_pulling(id).await, "model");
    assert_not_found(fixture.store.delete_model(id).await, "model");
    assert_not_found(fixture.store.get_model_by_name("none").await, "model");
}

#[tokio::test]
async fn pages_hold_every_model_once_newest_first() {
    let fixture = Fixture::new().await;
    let second = rows::ready_model("second");
    fixture.store.insert_model(&second).await.expect("it is stored");
    let page = fixture.store.list_models(None, 1).await.expect("a page");
    assert_eq!(page.items, [second]);
    let cursor: ModelId = page.next_cursor.expect("there is one more").parse().expect("the cursor is an id");
    let page = fixture.store.list_models(Some(cursor), 1).await.expect("a page");
    assert_eq!((page.items, page.next_cursor), (vec![fixture.model], None));
}
