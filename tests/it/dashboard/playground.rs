//! The playground: what it offers, what it finds, what it says where it finds nothing.

use serde_json::json;

use super::pages::check_page;
use crate::helpers::form::csv_pairs;
use crate::helpers::models::{add_base_model, add_checkpoint, add_ended_job};
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

fn tiny(seed: u64) -> TinyModel {
    TinyModel { seed, ..TinyModel::default() }
}

#[tokio::test]
async fn without_a_model_or_a_dataset_it_says_what_it_needs() {
    let app = TestApp::start().await;
    let answer = app.browse("/ui/playground").await;
    check_page(&answer);
    assert!(answer.expect_page(200).contains("The playground needs"));
}

#[tokio::test]
async fn a_job_brings_its_models_and_a_question_is_answered_by_both() {
    let app = TestApp::start().await;
    add_base_model(&app, "base", &tiny(1)).await;
    let job = add_ended_job(&app, "base").await;
    add_checkpoint(&app, job, 1, &tiny(2), true).await;
    let dataset = app.upload("pairs.csv", csv_pairs(30)).await.expect(201);
    let dataset = dataset["id"].as_str().unwrap();

    let form = app.browse(&format!("/ui/playground?job={job}&dataset={dataset}")).await;
    check_page(&form);
    let form = form.expect_page(200);
    assert!(form.contains("<option value=\"base\" selected>"), "{form}");
    assert!(form.contains(&format!("<option value=\"job:{job}\" selected>")), "{form}");
    assert!(form.contains("data-query=\"what is number "), "questions of the evaluation rows: {form}");
    assert!(!form.contains("class=\"hits\""), "nothing was asked yet");

    let asked = format!("dataset={dataset}&base=base&tuned=job:{job}&dimensions=8&query=what+is+number+7");
    // The corpus may not be embedded within the second that a page waits.
    let search = json!({ "query": "x", "models": ["base", format!("job:{job}")], "dataset_id": dataset });
    app.post_json("/v1/search", &search).await.expect(200);
    for path in ["/ui/playground", "/ui/playground/results"] {
        let answer = app.browse(&format!("{path}?{asked}")).await;
        let page = answer.expect_page(200);
        assert_eq!(page.matches("class=\"hits\"").count(), 2, "{page}");
        assert_eq!(page.matches("class=\"score\"").count(), 10, "{page}");
        assert_eq!(page.matches("class=\"moved ").count(), 5, "{page}");
        assert!(page.contains("8 dimensions") && page.contains("passages searched in"), "{page}");
        assert_eq!(page.contains("<html"), path == "/ui/playground");
    }
    // One model alone has nothing to be compared with.
    let alone = app.browse(&format!("/ui/playground?dataset={dataset}&base=base&tuned=&query=x")).await;
    let alone = alone.expect_page(200);
    assert_eq!((alone.matches("class=\"hits\"").count(), alone.matches("class=\"moved ").count()), (1, 0));
}

#[tokio::test]
async fn what_is_wrong_stands_in_place_of_the_results() {
    let app = TestApp::start().await;
    add_base_model(&app, "base", &tiny(1)).await;
    let dataset = app.upload("pairs.csv", csv_pairs(30)).await.expect(201);
    let dataset = dataset["id"].as_str().unwrap();
    for (fields, message) in [
        (format!("dataset={dataset}&base=nowhere&query=x"), "nowhere"),
        (format!("dataset={dataset}&base=base&query=x&dimensions=33"), "33 is not from 1 to 32"),
        (format!("dataset={dataset}&base=base&query=x&dimensions=many"), "whole number"),
        ("dataset=%3Cb%3E&base=base&query=x".to_owned(), "a dataset is to be chosen"),
    ] {
        let page = app.browse(&format!("/ui/playground?{fields}")).await;
        let page = page.expect_page(200).to_lowercase();
        assert!(page.contains("role=\"alert\"") && page.contains(message), "{fields}: {page}");
    }
}
