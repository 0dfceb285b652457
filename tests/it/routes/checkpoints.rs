//! Checkpoints: lists, files in whole and in part, archives.

use std::collections::BTreeMap;
use std::io::Read;

use axum::body::Body;
use axum::http::{HeaderName, Method, header};
use matryo::domain::JobId;
use serde_json::json;

use crate::helpers::fake_trainer::{FakeTrainer, weights};
use crate::helpers::test_app::{Answer, TestApp, request};

const FILES: [&str; 7] = [
    "1_Pooling/config.json",
    "README.md",
    "config.json",
    "model.safetensors",
    "modules.json",
    "optimizer.safetensors",
    "trainer_state.json",
];

async fn with_checkpoints() -> (TestApp, JobId, String) {
    let app = TestApp::start_training_by(FakeTrainer::good()).await;
    let dataset = app.add_inputs().await;
    let id = app.submit(&dataset).await;
    app.ended(id).await;
    (app, id, format!("/v1/jobs/{id}/checkpoints"))
}

async fn send(app: &TestApp, method: Method, path: &str, headers: &[(HeaderName, &str)]) -> Answer {
    let mut request = request(method, path);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    app.send(request.body(Body::empty()).expect("it is a request")).await
}

#[tokio::test]
async fn the_list_marks_the_best_and_names_the_models() {
    let (app, id, path) = with_checkpoints().await;
    let list = app.get(&path).await.expect(200);
    let list = list["data"].as_array().expect("a list");
    let seen: Vec<_> = list.iter().map(|checkpoint| (&checkpoint["epoch"], &checkpoint["is_best"])).collect();
    assert_eq!(seen, [(&json!(1), &json!(false)), (&json!(2), &json!(true))]);
    assert_eq!(list[0]["model"], json!(format!("job:{id}@epoch-1")));
    for name in ["best", "2", "epoch-2"] {
        let checkpoint = app.get(&format!("{path}/{name}")).await.expect(200);
        assert_eq!((&checkpoint["epoch"], &checkpoint["metric"]), (&json!(2), &json!(0.52)));
        let files: Vec<_> =
            checkpoint["files"].as_array().expect("a list").iter().map(|file| file["name"].as_str().unwrap()).collect();
        assert_eq!(files, FILES);
    }
    for name in ["3", "0", "last", "-1", "99999999999"] {
        app.get(&format!("{path}/{name}")).await.expect_error(404, "not_found");
    }
}

#[tokio::test]
async fn a_file_comes_whole_with_validators() {
    let (app, _, path) = with_checkpoints().await;
    let file = format!("{path}/best/files/model.safetensors");
    let answer = app.get(&file).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &weights(2)[..]));
    assert_eq!(answer.headers[header::ACCEPT_RANGES], "bytes");
    let etag = answer.headers[header::ETAG].to_str().expect("it is text").to_owned();
    assert!(!etag.starts_with("W/"), "{etag}");
    let not_modified = send(&app, Method::GET, &file, &[(header::IF_NONE_MATCH, &etag)]).await;
    assert_eq!((not_modified.status.as_u16(), not_modified.body.len()), (304, 0));
    let other = send(&app, Method::GET, &file, &[(header::IF_MATCH, "\"other\"")]).await;
    other.expect_error(412, "precondition_failed");
    let head = send(&app, Method::HEAD, &file, &[]).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    assert_eq!(head.headers[header::CONTENT_LENGTH], weights(2).len().to_string().as_str());
    assert_eq!(head.headers[header::ETAG], etag.as_str());
    let nested = app.get(&format!("{path}/best/files/1_Pooling/config.json")).await;
    assert_eq!((nested.status.as_u16(), nested.text()), (200, "{}"));
    assert_eq!(nested.headers[header::CONTENT_TYPE], "application/json");
}

#[tokio::test]
async fn a_file_comes_in_parts() {
    let (app, _, path) = with_checkpoints().await;
    let file = format!("{path}/1/files/model.safetensors");
    let whole = weights(1);
    let size = whole.len();
    for (range, expected) in
        [("bytes=0-9", 0..10), ("bytes=100-", 100..size), ("bytes=-5", size - 5..size), ("bytes=5-99999999", 5..size)]
    {
        let answer = send(&app, Method::GET, &file, &[(header::RANGE, range)]).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (206, &whole[expected.clone()]), "{range}");
        let content_range = format!("bytes {}-{}/{size}", expected.start, expected.end - 1);
        assert_eq!(answer.headers[header::CONTENT_RANGE], content_range.as_str());
    }
    let beyond = send(&app, Method::GET, &file, &[(header::RANGE, "bytes=99999999-")]).await;
    beyond.expect_error(416, "range_not_satisfiable");
    assert_eq!(beyond.headers[header::CONTENT_RANGE], format!("bytes */{size}").as_str());
    // Several ranges, other units, and ranges of a HEAD are answered as if there were none.
    for (method, range) in [(Method::GET, "bytes=0-1,5-6"), (Method::GET, "rows=0-1"), (Method::HEAD, "bytes=0-1")] {
        let answer = send(&app, method, &file, &[(header::RANGE, range)]).await;
        assert_eq!((answer.status.as_u16(), &answer.headers[header::CONTENT_LENGTH]), (200, &size.into()), "{range}");
    }
}

#[tokio::test]
async fn a_part_of_another_version_is_not_mixed_with_this_one() {
    let (app, _, path) = with_checkpoints().await;
    let file = format!("{path}/1/files/model.safetensors");
    let head = send(&app, Method::HEAD, &file, &[]).await;
    let range = (header::RANGE, "bytes=10-19");
    for (validator, status) in [
        (head.headers[header::ETAG].to_str().expect("text"), 206),
        (head.headers[header::LAST_MODIFIED].to_str().expect("text"), 206),
        ("\"other\"", 200),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 200),
    ] {
        let answer = send(&app, Method::GET, &file, &[range.clone(), (header::IF_RANGE, validator)]).await;
        assert_eq!(answer.status.as_u16(), status, "{validator}");
    }
}

#[tokio::test]
async fn nothing_outside_the_checkpoint_can_be_read() {
    let (app, id, path) = with_checkpoints().await;
    let secret = app.state.data_dir.root().join("secret.txt");
    std::fs::write(&secret, "s3cret").expect("it is written");
    let folder = app.state.data_dir.checkpoints(id).join("epoch-1");
    std::os::unix::fs::symlink(&secret, folder.join("link.txt")).expect("it is made");
    std::os::unix::fs::symlink(app.state.data_dir.root(), folder.join("up")).expect("it is made");
    let absolute = secret.to_str().expect("UTF-8").replace('/', "%2F");
    for file in [
        "link.txt",
        "up/secret.txt",
        "../../../../secret.txt",
        "..%2F..%2F..%2F..%2Fsecret.txt",
        "%2e%2e/epoch-2/config.json",
        "./config.json",
        "1_Pooling/../config.json",
        "1_Pooling",
        "config.json/",
        "config.json%00",
        "nothing.json",
        &absolute,
    ] {
        let answer = app.get(&format!("{path}/1/files/{file}")).await;
        answer.expect_error(404, "not_found");
    }
    let names = app.get(&format!("{path}/1")).await.expect(200)["files"].to_string();
    assert!(!names.contains("link.txt") && !names.contains("secret"), "{names}");
}

fn untar(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let mut files = BTreeMap::new();
    for entry in tar.entries().expect("it is a tar file") {
        let mut entry = entry.expect("an entry");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("it is whole");
        files.insert(entry.path().expect("a path").to_string_lossy().into_owned(), content);
    }
    files
}

#[tokio::test]
async fn an_archive_holds_the_model_and_by_request_the_trainers_state() {
    let (app, id, path) = with_checkpoints().await;
    let answer = app.get(&format!("{path}/best/archive")).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.headers[header::CONTENT_TYPE]),
        (200, &"application/gzip".parse().unwrap())
    );
    let disposition = format!("attachment; filename=\"job-{id}-epoch-2.tar.gz\"");
    assert_eq!(answer.headers[header::CONTENT_DISPOSITION], disposition.as_str());
    let files = untar(&answer.body);
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        FILES[..5].iter().map(|name| format!("epoch-2/{name}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
    assert_eq!(files["epoch-2/model.safetensors"], weights(2));
    assert_eq!(app.get(&format!("{path}/2/archive")).await.body, answer.body, "the same files give the same bytes");

    let with_state = app.get(&format!("{path}/1/archive?include=state")).await;
    assert_eq!(untar(&with_state.body).len(), FILES.len());

    let zip = app.get(&format!("{path}/1/archive?format=zip")).await;
    assert_eq!(zip.headers[header::CONTENT_TYPE], "application/zip");
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(&zip.body[..])).expect("it is a zip file");
    assert_eq!(zip.len(), 5);
    let mut content = Vec::new();
    zip.by_name("epoch-1/model.safetensors").expect("it is there").read_to_end(&mut content).expect("it is whole");
    assert_eq!(content, weights(1));

    let head = send(&app, Method::HEAD, &format!("{path}/1/archive"), &[]).await;
    assert_eq!((head.status.as_u16(), head.body.len()), (200, 0));
    for query in ["format=rar", "include=all"] {
        app.get(&format!("{path}/1/archive?{query}")).await.expect_error(422, "invalid");
    }
}

#[tokio::test]
async fn a_checkpoint_whose_folder_is_gone_is_not_found() {
    let (app, id, path) = with_checkpoints().await;
    std::fs::remove_dir_all(app.state.data_dir.checkpoints(id).join("epoch-1")).expect("it is deleted");
    for what in ["", "/archive", "/files/config.json"] {
        app.get(&format!("{path}/1{what}")).await.expect_error(404, "not_found");
    }
}
