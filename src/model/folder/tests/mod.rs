//! Tiny folders, changed in one thing or another.

mod layouts;
mod refusals;
mod weights;

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::tiny_model::TinyModel;
use super::*;

fn written(model: &TinyModel) -> TempDir {
    let folder = tempfile::tempdir().expect("there is room");
    model.write(folder.path());
    folder
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("the file is there")).expect("it is JSON")
}

/// Sets fields of a JSON file; null removes one.
fn edit(path: &Path, fields: Value) {
    let mut value = if path.exists() { read_json(path) } else { json!({}) };
    let object = value.as_object_mut().expect("it is an object");
    for (name, field) in fields.as_object().expect("fields are given") {
        if field.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), field.clone());
        }
    }
    fs::write(path, value.to_string()).expect("there is room");
}

fn save(model: &ModelFolder, parameters: &Parameters, dims: &[usize]) -> TempDir {
    let folder = tempfile::tempdir().expect("there is room");
    model.write(folder.path(), parameters, dims).expect("there is room");
    folder
}
