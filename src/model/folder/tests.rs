//! Tiny folders are read, written and read back.

use tempfile::TempDir;

use super::tiny_model::TinyModel;
use super::*;

fn written(model: &TinyModel) -> TempDir {
    let folder = tempfile::tempdir().expect("there is room");
    model.write(folder.path());
    folder
}

/// The real model, where the environment names its folder.
#[test]
fn minilm_is_read() {
    let Some(folder) = std::env::var_os("MATRYO_TEST_MINILM") else {
        eprintln!("skipped: MATRYO_TEST_MINILM names no folder");
        return;
    };
    let folder = Path::new(&folder);
    let model = ModelFolder::read(folder).expect("it is supported");
    assert_eq!((model.summary.max_seq_length, model.summary.dimension, model.summary.normalize), (256, 384, true));
    assert_eq!(model.summary.pooling, Pooling::Mean);
    let parameters = model.read_weights(folder).expect("its weights are sound");
    assert_eq!(parameters.specs.len(), 101);
    assert_eq!(parameters.flat.len() as u64, model.summary.parameters);
    assert_eq!(model.originals.frozen.len(), 2);
}

#[test]
fn a_tiny_model_is_read() {
    let folder = written(&TinyModel { pooling: "cls", normalize: false, ..TinyModel::default() });
    let model = ModelFolder::read(folder.path()).expect("it is supported");
    assert_eq!(model.summary.pooling, Pooling::Cls);
    assert!(!model.summary.normalize);
    assert_eq!(model.tokenizer.encode_uncut("The quick cat, 42!").expect("it can").len(), 13);
    let parameters = model.read_weights(folder.path()).expect("its weights are sound");
    assert_eq!(parameters.specs.len(), 5 + 16 * 2);
}
