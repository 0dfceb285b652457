//! Datasets: upload in every way, lists, previews, histograms, deletion.

use std::io::Write;

use axum::body::{Body, Bytes};
use axum::http::{Method, header};
use matryo::store::ListOrder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::helpers::form::{BOUNDARY, Form, csv_pairs, form_request};
use crate::helpers::test_app::{Answer, TestApp, request};

const UNKNOWN: &str = "/v1/datasets/0190a000-0000-7000-8000-000000000000";

/// What lies in the folder of all datasets.
fn folders(app: &TestApp) -> usize {
    std::fs::read_dir(app.state.data_dir.datasets()).unwrap().count()
}

/// Nothing of a refused upload stays, neither a row nor a file.
async fn assert_empty(app: &TestApp) {
    assert_eq!(folders(app), 0);
    assert_eq!(app.get("/v1/datasets").await.expect(200)["data"], json!([]));
}

async fn raw(app: &TestApp, query: &str, content_type: &str, body: impl Into<Body>) -> Answer {
    let request = request(Method::POST, &format!("/v1/datasets{query}")).header(header::CONTENT_TYPE, content_type);
    app.send(request.body(body.into()).unwrap()).await
}

#[tokio::test]
async fn a_form_with_a_file_becomes_a_dataset() {
    let app = TestApp::start().await;
    let csv = csv_pairs(20);
    let answer = app.upload("pairs.csv", &csv).await;
    let dataset = answer.expect(201);
    let path = format!("/v1/datasets/{}", dataset["id"].as_str().unwrap());
    assert_eq!(answer.headers[header::LOCATION], path.as_str());
    assert_eq!((&dataset["train_rows"], &dataset["eval_rows"]), (&json!(18), &json!(2)));
    assert_eq!((&dataset["name"], &dataset["format"]), (&json!("pairs.csv"), &json!("csv")));
    assert_eq!(dataset["split"], json!({"kind": "fraction", "test_size": 0.1, "seed": 42}));
    assert_eq!(dataset["sha256"], hex::encode(Sha256::digest(&csv)));
    assert_eq!(app.get(&path).await.expect(200), dataset);
    assert_eq!(folders(&app), 1);
    let folder = app.state.data_dir.dataset(dataset["id"].as_str().unwrap().parse().unwrap());
    let mut names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["eval.jsonl", "train.jsonl"], "the upload itself stays beside its stored form");
}

#[tokio::test]
async fn fields_map_columns_split_and_name() {
    let app = TestApp::start().await;
    let tsv = "Q\tA\tnr\nq1\ta1\tx\nq2\ta2\ty\nq3\ta3\tz\nq4\ta4\tw\n";
    let form = Form::default()
        .text("name", "mine")
        .text("anchor", "Q")
        .file("file", "upload", tsv)
        .text("positive", "A")
        .text("id", "nr")
        .text("format", "tsv")
        .text("test_size", "0.5")
        .text("seed", "7");
    let dataset = app.send(form.post("/v1/datasets")).await.expect(201);
    assert_eq!(dataset["mapping"], json!({"anchor": "Q", "positive": "A", "id": "nr"}));
    assert_eq!((&dataset["train_rows"], &dataset["name"]), (&json!(2), &json!("mine")));
    assert_eq!(dataset["split"]["seed"], 7);
}

#[tokio::test]
async fn an_evaluation_file_evaluates() {
    let app = TestApp::start().await;
    let jsonl = "{\"query\": \"q\", \"answer\": \"a\"}\n";
    let form = Form::default().file("file", "a.csv", csv_pairs(3)).file("eval_file", "b.jsonl", jsonl);
    let dataset = app.send(form.clone().post("/v1/datasets")).await.expect(201);
    assert_eq!((&dataset["train_rows"], &dataset["eval_rows"]), (&json!(3), &json!(1)));
    assert_eq!(dataset["split"], json!({"kind": "file"}));
    assert_eq!(dataset["eval_sha256"], hex::encode(Sha256::digest(jsonl)));
    let answer = app.send(form.text("test_size", "0.5").post("/v1/datasets")).await;
    assert!(answer.expect_error(422, "invalid").starts_with("test_size: "));
    let form = Form::default().file("file", "a.csv", csv_pairs(3)).file("eval_file", "b.csv", "anchor,positive\na,\n");
    assert!(app.send(form.post("/v1/datasets")).await.expect_error(422, "bad_rows").starts_with("eval_file: "));
    assert_eq!(folders(&app), 1);
}

#[tokio::test]
async fn a_raw_body_is_read_by_content_type_name_or_content() {
    let app = TestApp::start().await;
    let csv = csv_pairs(10);
    for (query, content_type) in [
        ("", "text/csv; charset=utf-8"),
        ("?format=csv&name=by%20format", "application/octet-stream"),
        ("?file_name=x.csv", "application/octet-stream"),
        ("", "application/x-www-form-urlencoded"),
    ] {
        let dataset = raw(&app, query, content_type, csv.clone()).await.expect(201);
        assert_eq!((&dataset["format"], &dataset["train_rows"]), (&json!("csv"), &json!(9)), "{query} {content_type}");
    }
    let records = json!([{"question": "q1", "context": "c1"}, {"question": "q2", "context": "c2"}]).to_string();
    let dataset = raw(&app, "?test_size=0", "application/json", records).await.expect(201);
    assert_eq!((&dataset["format"], &dataset["eval_rows"]), (&json!("json"), &json!(0)));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(csv.as_bytes()).unwrap();
    let dataset = raw(&app, "?name=packed", "application/gzip", gzip.finish().unwrap()).await.expect(201);
    assert_eq!((&dataset["format"], &dataset["name"]), (&json!("csv"), &json!("packed")));
}

#[tokio::test]
async fn bad_rows_are_listed_and_nothing_stays() {
    let app = TestApp::start().await;
    let mut csv = csv_pairs(5);
    csv += &"only a question,\n".repeat(30);
    let answer = app.upload("pairs.csv", csv).await;
    answer.expect_error(422, "bad_rows");
    let details = answer.json()["error"]["details"].clone();
    assert_eq!((&details["total"], &details["checked"]), (&json!(30), &json!(35)));
    let rows = details["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 20);
    assert_eq!((&rows[0]["line"], &rows[0]["field"]), (&json!(7), &json!("positive")));
    assert!(rows[0]["message"].is_string());
    assert_empty(&app).await;
}

#[tokio::test]
async fn what_is_no_dataset_is_refused_with_the_field() {
    let app = TestApp::start().await;
    for (file_name, content, field) in [
        ("a.csv", "", "file"),
        ("a.csv", "anchor,positive\n", "file"),
        ("a.csv", "anchor,text\nq,a\n", "positive"),
        ("a.parquet", "anchor,positive\nq,a\n", "file"),
        ("a.csv", "anchor,positive\nq,a\n", "test_size"),
        ("upload", "\u{1}\u{2}", "file"),
    ] {
        let answer = app.upload(file_name, content).await;
        answer.expect_error(422, "invalid");
        assert_eq!(answer.json()["error"]["details"]["fields"][0]["field"], field, "{content:?}: {}", answer.text());
    }
    assert_empty(&app).await;
}

#[tokio::test]
async fn all_wrong_fields_are_named_at_once() {
    let app = TestApp::start().await;
    let form = Form::default()
        .text("test_size", "2")
        .text("seed", "many")
        .text("format", "xls")
        .text("shuffle", "true")
        .text("name", &"x".repeat(5000));
    let answer = app.send(form.post("/v1/datasets?seed=-1")).await;
    answer.expect_error(422, "invalid");
    let fields = answer.json()["error"]["details"]["fields"].clone();
    let names: Vec<&str> = fields.as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(names, ["seed", "test_size", "seed", "format", "shuffle", "name", "file"]);
    let twice = Form::default().file("file", "a.csv", csv_pairs(4)).file("file", "b.csv", csv_pairs(4));
    assert!(app.send(twice.post("/v1/datasets")).await.expect_error(422, "invalid").contains("twice"));
    assert_empty(&app).await;
}

#[tokio::test]
async fn malformed_forms_and_other_content_types_are_refused() {
    let app = TestApp::start().await;
    let whole = Form::default().file("file", "a.csv", csv_pairs(20)).bytes();
    let cut_off = form_request("/v1/datasets").body(Body::from(whole[..whole.len() - 30].to_vec())).unwrap();
    app.send(cut_off).await.expect_error(400, "malformed_request");
    raw(&app, "", "multipart/form-data", "x").await.expect_error(400, "malformed_request");
    raw(&app, "", "image/png", csv_pairs(5)).await.expect_error(415, "unsupported_media_type");
    let request = request(Method::POST, "/v1/datasets").header("content-encoding", "br");
    app.send(request.body(csv_pairs(5).into()).unwrap()).await.expect_error(415, "unsupported_media_type");
    assert_empty(&app).await;
}

#[tokio::test]
async fn what_is_too_large_is_cut_off() {
    let app = TestApp::start_with(|state| state.limits.max_upload_bytes = 10_000).await;
    let csv = csv_pairs(1000);
    app.upload("a.csv", &csv).await.expect_error(413, "too_large");
    raw(&app, "", "text/csv", csv.clone()).await.expect_error(413, "too_large");
    // Without an announced length, the stream is cut off where it passes the limit.
    let pieces =
        csv.into_bytes().chunks(1000).map(|piece| Ok::<_, String>(Bytes::copy_from_slice(piece))).collect::<Vec<_>>();
    raw(&app, "", "text/csv", Body::from_stream(futures::stream::iter(pieces))).await.expect_error(413, "too_large");
    assert_empty(&app).await;
    app.upload("a.csv", csv_pairs(10)).await.expect(201);
}

#[tokio::test]
async fn headers_of_a_part_cannot_fill_the_memory() {
    let app = TestApp::start().await;
    let mut pieces = vec![Bytes::from(format!("--{BOUNDARY}\r\nX-Long: "))];
    pieces.resize(100, Bytes::from(vec![b'x'; 64 << 10]));
    let read = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = read.clone();
    let stream = futures::stream::iter(pieces.into_iter().map(move |piece| {
        counter.fetch_add(piece.len(), std::sync::atomic::Ordering::Relaxed);
        Ok::<_, String>(piece)
    }));
    let request = form_request("/v1/datasets").body(Body::from_stream(stream)).unwrap();
    app.send(request).await.expect_error(413, "too_large");
    assert!(read.load(std::sync::atomic::Ordering::Relaxed) < 2 << 20);
    assert_empty(&app).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing_behind() {
    let app = TestApp::start().await;
    // A body that breaks off, as a connection that is closed does.
    let broken = futures::stream::iter([Ok(Bytes::from("anchor,positive\nq,a\n")), Err("the connection was closed")]);
    raw(&app, "", "text/csv", Body::from_stream(broken)).await.expect_error(400, "malformed_request");
    assert_empty(&app).await;
    // A body that never ends: the request is given up once the upload is on its way to the disk.
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, String>>(1);
    let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receiver));
    let request = request(Method::POST, "/v1/datasets").header(header::CONTENT_TYPE, "text/csv").body(body).unwrap();
    {
        let upload = app.send(request);
        let feed = async {
            for _ in 0..3 {
                sender.send(Ok(Bytes::from("anchor,positive\n"))).await.unwrap();
            }
            assert_eq!(folders(&app), 1, "the upload has not begun");
        };
        tokio::select! {
            answer = upload => panic!("answered before the end: {answer:?}"),
            () = feed => {}
        }
    }
    assert_empty(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_closed_in_the_middle_leaves_nothing_behind() {
    let app = TestApp::start().await;
    let mut connection = tokio::net::TcpStream::connect(app.listen().await).await.unwrap();
    let head = "POST /v1/datasets HTTP/1.1\r\nhost: x\r\ncontent-type: text/csv\r\ncontent-length: 1000\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut connection, format!("{head}anchor,positive\n").as_bytes()).await.unwrap();
    let until = async |count| {
        while folders(&app) != count {
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(20);
    tokio::time::timeout(limit, until(1)).await.expect("the upload begins");
    drop(connection);
    tokio::time::timeout(limit, until(0)).await.expect("the upload is given up");
    assert_empty(&app).await;
}

#[tokio::test]
async fn a_full_database_is_told_and_nothing_stays() {
    let mut full = TestApp::start().await;
    full.state.store.close().await;
    let options = matryo::store::StoreOptions { max_size_bytes: Some(4096), ..Default::default() };
    let store = matryo::store::Store::open_with(&full.state.data_dir.database(), &options).await.unwrap();
    full.state.store = store.clone();
    full.router = matryo::http::router(full.state.clone());
    let mut last = None;
    // SQLite has some room left in the pages that it holds already.
    for _ in 0..200 {
        let answer = full.upload(&format!("{}.csv", "n".repeat(190)), csv_pairs(10)).await;
        if answer.status != 201 {
            last = Some(answer);
            break;
        }
    }
    let message = last.expect("the database never got full").expect_error(507, "disk_full");
    assert!(message.contains("free some space"), "{message}");
    let rows = store.list_datasets(ListOrder::NewestFirst, None, 1000).await.unwrap().items.len();
    assert_eq!(folders(&full), rows);
}

#[tokio::test]
async fn lists_are_paged() {
    let app = TestApp::start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.insert(0, app.upload("a.csv", csv_pairs(10)).await.expect(201)["id"].clone());
    }
    let first = app.get("/v1/datasets?limit=2").await.expect(200);
    let listed =
        |page: &Value| page["data"].as_array().unwrap().iter().map(|dataset| dataset["id"].clone()).collect::<Vec<_>>();
    assert_eq!(listed(&first), ids[..2]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = app.get(&format!("/v1/datasets?limit=2&cursor={cursor}")).await.expect(200);
    assert_eq!((listed(&second).as_slice(), &second["next_cursor"]), (&ids[2..], &Value::Null));
    for query in ["limit=0", "limit=101", "limit=x", "cursor=7"] {
        app.get(&format!("/v1/datasets?{query}")).await.expect_error(422, "invalid");
    }
}

#[tokio::test]
async fn rows_are_previewed() {
    let app = TestApp::start().await;
    let dataset = app.upload("a.csv", csv_pairs(50)).await.expect(201);
    let path = format!("/v1/datasets/{}/rows", dataset["id"].as_str().unwrap());
    let page = app.get(&format!("{path}?offset=40&limit=10")).await.expect(200);
    assert_eq!((&page["split"], &page["total"], &page["offset"]), (&json!("train"), &json!(45), &json!(40)));
    assert_eq!(page["rows"].as_array().unwrap().len(), 5);
    let row = &page["rows"][4];
    assert_eq!(row["positive"], row["anchor"].as_str().unwrap().replace("what is", "the passage about"));
    let page = app.get(&format!("{path}?split=eval")).await.expect(200);
    assert_eq!(page["rows"].as_array().unwrap().len(), 5);
    for query in ["limit=0", "limit=201", "offset=-1", "split=test"] {
        let message = app.get(&format!("{path}?{query}")).await.expect_error(422, "invalid");
        assert!(message.starts_with(query.split('=').next().unwrap()), "{message}");
    }
}

#[tokio::test]
async fn a_dataset_is_deleted_with_its_files() {
    let app = TestApp::start().await;
    let dataset = app.upload("a.csv", csv_pairs(10)).await.expect(201);
    let path = format!("/v1/datasets/{}", dataset["id"].as_str().unwrap());
    assert_eq!(app.delete(&path).await.expect(204), Value::Null);
    assert_empty(&app).await;
    app.get(&path).await.expect_error(404, "not_found");
    app.delete(&path).await.expect_error(404, "not_found");
}

#[tokio::test]
async fn unknown_datasets_are_not_found() {
    let app = TestApp::start().await;
    app.get(UNKNOWN).await.expect_error(404, "not_found");
    app.get(&format!("{UNKNOWN}/rows")).await.expect_error(404, "not_found");
    app.delete(UNKNOWN).await.expect_error(404, "not_found");
    let message = app.get("/v1/datasets/7").await.expect_error(404, "not_found");
    assert!(message.contains("`7` is not a dataset id"), "{message}");
    let dataset = app.upload("a.csv", csv_pairs(10)).await.expect(201);
    let path = format!("/v1/datasets/{}?model=nobody/nothing", dataset["id"].as_str().unwrap());
    assert!(app.get(&path).await.expect_error(404, "not_found").contains("POST /v1/models"));
}
