//! The pages of datasets: upload by form, look, delete.

use serde_json::json;

use super::new_job::value_of;
use super::pages::check_page;
use crate::helpers::fake_trainer::FakeTrainer;
use crate::helpers::form::{Form, csv_pairs};
use crate::helpers::models::add_base_model;
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

/// The form as a browser sends it where only a file was picked.
fn browser_form(file_name: &str, content: impl AsRef<[u8]>) -> Form {
    let blank = ["anchor", "positive", "id", "test_size", "seed"];
    let form = Form::default().file("file", file_name, content);
    blank.iter().fold(form, |form, field| form.text(field, "")).file("eval_file", "", "").text("name", "")
}

#[tokio::test]
async fn a_file_is_uploaded_by_a_plain_form() {
    let app = TestApp::start().await;
    let address = app.send(browser_form("pairs.csv", csv_pairs(20)).post("/ui/datasets")).await;
    let address = address.expect_redirect().to_owned();
    let dataset = app.get(&address.replace("/ui/", "/v1/")).await.expect(200);
    assert_eq!(
        (&dataset["name"], &dataset["train_rows"], &dataset["eval_rows"]),
        (&json!("pairs.csv"), &json!(18), &json!(2))
    );
    assert_eq!(dataset["split"], json!({"kind": "fraction", "test_size": 0.1, "seed": 42}));
    let answer = app.browse(&address).await;
    check_page(&answer);
    let page = answer.expect_page(200);
    assert!(page.contains("pairs.csv") && page.contains(dataset["sha256"].as_str().unwrap()), "{page}");
    assert!(page.contains("No job has used it yet") && page.contains("10 % drawn with seed 42"), "{page}");
    let list = app.browse("/ui/datasets").await;
    check_page(&list);
    assert!(list.expect_page(200).contains("18 + 2") && list.text().contains("no job"), "{}", list.text());
}

#[tokio::test]
async fn a_form_maps_columns_and_leads_back_to_the_new_job() {
    let app = TestApp::start().await;
    let csv = "Q,A\nq1,a1\nq2,a2\nq3,a3\nq4,a4\n";
    let form =
        Form::default().file("file", "x.csv", csv).text("anchor", "Q").text("positive", "A").text("name", "mine");
    let form = form.text("test_size", "").file("eval_file", "e.csv", "Q,A\nq5,a5\n");
    let answer = app.send(form.post("/ui/datasets?next=job")).await;
    let address = answer.expect_redirect();
    let id = address.strip_prefix("/ui/jobs/new?dataset=").expect("it leads to the new job");
    let dataset = app.get(&format!("/v1/datasets/{id}")).await.expect(200);
    assert_eq!((&dataset["mapping"]["anchor"], &dataset["eval_rows"]), (&json!("Q"), &json!(1)));
    assert_eq!(value_of(app.browse(address).await.expect_page(200), "dataset_id"), id);
}

#[tokio::test]
async fn bad_rows_are_listed_by_line_as_the_api_lists_them() {
    let app = TestApp::start().await;
    let csv = csv_pairs(5) + &"only a <question>,\n".repeat(30);
    let api = app.upload("pairs.csv", &csv).await;
    api.expect_error(422, "bad_rows");
    let rows = api.json()["error"]["details"]["rows"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 20);
    for (path, title) in [("/ui/datasets", "<h1>Datasets"), ("/ui/datasets?next=job", "<h1>New job")] {
        let answer = app.send(browser_form("pairs.csv", &csv).post(path)).await;
        check_page(&answer);
        let page = answer.expect_page(422);
        assert!(page.contains(title), "{page}");
        let errors = page.split("id=\"upload-errors\"").nth(1).unwrap().split("class=\"drop\"").next().unwrap();
        for row in &rows {
            let cells = format!(
                "<td class=\"num\">{}</td><td><code>positive</code></td><td>{}</td>",
                row["line"],
                row["message"].as_str().unwrap()
            );
            assert!(errors.contains(&cells), "{cells} is not in {errors}");
        }
        assert!(errors.contains("of 35 rows 30 are bad"), "{errors}");
    }
    assert_eq!(app.get("/v1/datasets").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn wrong_fields_are_told_beside_them_and_kept() {
    let app = TestApp::start().await;
    let form = Form::default().file("file", "", "").text("test_size", "2").text("seed", "many").text("name", "<mine>");
    let answer = app.send(form.post("/ui/datasets")).await;
    check_page(&answer);
    let page = answer.expect_page(422);
    for part in [
        "id=\"upload-file-error\"",
        "id=\"upload-test_size-error\"",
        "id=\"upload-seed-error\"",
        "value=\"&lt;mine&gt;\"",
        "value=\"many\"",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(page.contains("A number from 0 to below 1 is expected."), "{page}");
    // What columns there are is told where the guess found none.
    let answer = app.send(browser_form("x.csv", "first,second\na,b\n").post("/ui/datasets")).await;
    let page = answer.expect_page(422);
    assert!(page.contains("id=\"upload-anchor-error\"") && page.contains("`first`, `second`"), "{page}");
    let large = TestApp::start_with(|state| state.limits.max_upload_bytes = 1000).await;
    let answer = large.send(browser_form("x.csv", csv_pairs(100)).post("/ui/datasets")).await;
    assert!(answer.expect_page(413).contains("The upload has more than 1000 bytes."));
}

#[tokio::test]
async fn rows_are_shown_in_pages() {
    let app = TestApp::start().await;
    let id = app.upload("a.csv", csv_pairs(50)).await.expect(201)["id"].as_str().unwrap().to_owned();
    let page = app.browse(&format!("/ui/datasets/{id}?offset=40")).await;
    let page = page.expect_page(200);
    assert!(
        page.contains("41–45 of 45") && page.contains("offset=20#rows\">Before") && !page.contains(">Next<"),
        "{page}"
    );
    let page = app.browse(&format!("/ui/datasets/{id}?split=eval")).await;
    assert!(page.expect_page(200).contains("aria-current=\"page\">To evaluate on (5)"), "{}", page.text());
    let page = app.browse(&format!("/ui/datasets/{id}?offset=18446744073709551615")).await;
    assert!(page.expect_page(200).contains("There are no rows here"));
    app.browse(&format!("/ui/datasets/{id}?split=test")).await.expect_page(422);
}

#[tokio::test]
async fn texts_are_counted_in_a_models_tokens() {
    let app = TestApp::start().await;
    let id = app.upload("a.csv", csv_pairs(20)).await.expect(201)["id"].as_str().unwrap().to_owned();
    let path = format!("/ui/datasets/{id}");
    assert!(app.browse(&path).await.expect_page(200).contains("Get a model first"));
    add_base_model(&app, "tiny", &TinyModel::default()).await;
    assert!(app.browse(&path).await.expect_page(200).contains("Count its tokens"));
    let counted = app.browse(&format!("{path}?model=tiny")).await;
    check_page(&counted);
    let page = counted.expect_page(200);
    assert!(
        page.contains("<svg viewBox") && page.contains("tokens on average") && !page.contains("Count its"),
        "{page}"
    );
    // They are kept.
    assert!(app.browse(&path).await.expect_page(200).contains("<svg viewBox"));
    app.browse(&format!("{path}?model=nobody")).await.expect_page(404);
}

#[tokio::test]
async fn a_dataset_goes_only_after_it_was_said_who_uses_it() {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let job = app.submit(&dataset).await;
    app.ended(job).await;
    let path = format!("/ui/datasets/{}/delete", dataset.id);
    let asked = app.browse(&path).await;
    check_page(&asked);
    let page = asked.expect_page(200);
    assert!(page.contains(&format!("/ui/jobs/{job}")) && page.contains("method=\"post\""), "{page}");
    assert!(app.browse(&format!("/ui/datasets/{}", dataset.id)).await.expect_page(200).contains("badge succeeded"));
    assert_eq!(app.submit_form(&path, &[]).await.expect_redirect(), "/ui/datasets");
    app.browse(&path).await.expect_page(404);
    assert!(!app.state.data_dir.dataset(dataset.id).exists());
}

#[tokio::test]
async fn a_dataset_in_use_stays() {
    let (trainer, gate) = FakeTrainer::gated();
    let app = TestApp::start_training_by(trainer).await;
    let dataset = app.add_inputs().await;
    let job = app.submit(&dataset).await;
    let answer = app.submit_form(&format!("/ui/datasets/{}/delete", dataset.id), &[]).await;
    assert!(answer.expect_page(409).contains("A job that has not ended uses the dataset"), "{}", answer.text());
    app.get(&format!("/v1/datasets/{}", dataset.id)).await.expect(200);
    gate.open();
    app.ended(job).await;
}
