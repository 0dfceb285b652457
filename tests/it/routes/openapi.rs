//! The OpenAPI document: whole, committed as it is generated, and true.

use std::collections::BTreeSet;
use std::path::Path;

use matryo::http::openapi::document;
use serde_json::Value;

use crate::helpers::test_app::TestApp;

#[test]
fn the_committed_document_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.yaml");
    let generated = document().to_yaml().unwrap();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "openapi.yaml is not what the code says; run the tests with UPDATE_OPENAPI=1");
}

/// Every `$ref` of a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                found.insert(reference.clone());
            }
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn references_lead_somewhere_and_operations_have_names_of_their_own() {
    let document = serde_json::to_value(document()).unwrap();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(_, operation)| operation.is_object()) {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{method} {path}: another operation is called {name}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.contains_key("500"), "{method} {path}");
            for (status, response) in responses.iter().filter(|(_, response)| response.get("$ref").is_none()) {
                assert!(response["description"].is_string(), "{method} {path}: {status} has no description");
            }
            assert!(operation["summary"].is_string(), "{method} {path} says nothing of itself");
        }
    }
}

#[tokio::test]
async fn the_service_shows_its_document() {
    let app = TestApp::start().await;
    let shown = app.get("/openapi.json").await.expect(200);
    assert_eq!(shown, serde_json::to_value(document()).unwrap());
}
