//! Models that are uploaded as archives.

use std::io::Write;

use serde_json::json;

use crate::helpers::form::Form;
use crate::helpers::test_app::TestApp;
use crate::helpers::tiny_model::TinyModel;

/// The tiny model below a folder, as tar.gz.
fn archive() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    TinyModel::default().write(folder.path());
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    tar.append_dir_all("anything", folder.path()).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}

fn folders(app: &TestApp) -> usize {
    std::fs::read_dir(app.state.data_dir.models()).map_or(0, |entries| entries.count())
}

#[tokio::test]
async fn an_archive_becomes_a_model() {
    let app = TestApp::start().await;
    let form = Form::default().file("file", "mine.tar.gz", archive());
    let answer = app.send(form.clone().post("/v1/models")).await;
    let model = answer.expect(201);
    assert_eq!(answer.headers["location"], "/v1/models/mine");
    assert_eq!(
        (&model["status"], &model["dimension"], &model["source"]["kind"]),
        (&json!("ready"), &json!(32), &json!("upload"))
    );
    let embedded = app.post_json("/embed", &json!({"model": "mine", "inputs": "what is it?"})).await.expect(200);
    assert_eq!(embedded[0].as_array().unwrap().len(), 32);
    app.send(form.clone().post("/v1/models")).await.expect_error(409, "conflict");
    assert_eq!(folders(&app), 1, "a refused archive stays behind");
    let named = form.text("name", "org/other");
    assert_eq!(app.send(named.post("/v1/models")).await.expect(201)["id"], "org/other");
    app.delete("/v1/models/mine").await.expect(200);
    assert_eq!(folders(&app), 1);
}

#[tokio::test]
async fn what_is_no_model_is_refused_and_nothing_stays() {
    let app = TestApp::start_with(|state| state.hub.max_model_bytes = 1 << 20).await;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("m/config.json", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(b"{\"model_type\": \"gpt2\"}").unwrap();
    let zip = zip.finish().unwrap().into_inner();
    for (form, status, part) in [
        (Form::default().file("file", "a.zip", zip), 400, "file"),
        (Form::default().file("file", "a.zip", "no archive"), 400, "file"),
        (Form::default().file("file", "a.tar.gz", archive()).text("name", "job:7"), 400, "name"),
        (Form::default().file("file", "a.tar.gz", archive()).text("seed", "7"), 400, "seed"),
        (Form::default().text("name", "x"), 400, "file"),
        (Form::default().file("file", "a.tar.gz", vec![0; 2 << 20]), 413, ""),
    ] {
        let answer = app.send(form.post("/v1/models")).await;
        let json = answer.expect(status);
        let error = &json["error"];
        assert!(error["param"].as_str().unwrap_or_default().starts_with(part), "{error}");
        let root = app.state.data_dir.root().display().to_string();
        assert!(!error["message"].as_str().unwrap().contains(&root), "{error}");
    }
    assert_eq!((folders(&app), app.get("/v1/models").await.expect(200)["data"].clone()), (0, json!([])));
}
