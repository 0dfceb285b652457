//! Weights come out of every kind of file as they are, and what is written reads back.

use safetensors::Dtype;
use safetensors::tensor::TensorView;

use super::super::tiny_model::{TinyModel, to_safetensors, vocabulary};
use super::*;

#[test]
fn what_is_written_reads_back() {
    for (pooling, name, normalize) in
        [(Pooling::Mean, "mean", true), (Pooling::Cls, "cls", false), (Pooling::Max, "max", true)]
    {
        let folder = written(&TinyModel { pooling: name, normalize, ..TinyModel::default() });
        edit(&folder.path().join("config.json"), json!({ "torch_dtype": "float16", "of_others": [1, "two"] }));
        let mut model = ModelFolder::read(folder.path()).expect("it is supported");
        assert_eq!((model.summary.pooling, model.summary.normalize), (pooling, normalize));
        let mut parameters = model.read_weights(folder.path()).expect("its weights are sound");
        parameters.flat[7] = 0.5;
        model.set_max_seq_length(20);
        drop(folder);

        let saved = save(&model, &parameters, &[32, 16]);
        let again = ModelFolder::read(saved.path()).expect("what is written is supported");
        assert_eq!(again.summary, model.summary);
        assert_eq!(again.summary.max_seq_length, 20);
        assert_eq!(again.read_weights(saved.path()).expect("it is sound").flat, parameters.flat);
        assert_eq!(again.originals.frozen[0].values, model.originals.frozen[0].values);
        assert_eq!(again.originals.files, model.originals.files);
        assert_eq!(again.tokenizer.encode_batch(&["word ".repeat(50)]).expect("it can")[0].len(), 20);

        let config = read_json(&saved.path().join("config.json"));
        assert_eq!(config["matryoshka_dimensions"], json!([32, 16]));
        assert_eq!((&config["of_others"], &config["torch_dtype"]), (&json!([1, "two"]), &json!("float32")));
        assert_eq!(saved.path().join("2_Normalize").exists(), normalize);
        assert_eq!(again.originals.sentence_bert_config["max_seq_length"], json!(20));
    }
}

#[test]
fn an_old_torch_file_is_read() {
    let folder = written(&TinyModel { layers: 1, hidden: 8, heads: 2, intermediate: 16, ..TinyModel::default() });
    let path = folder.path();
    fs::remove_file(path.join("model.safetensors")).expect("it is there");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch/pytorch_model.bin");
    fs::copy(fixture, path.join("pytorch_model.bin")).expect("the fixture is committed");
    edit(&path.join("config.json"), json!({ "vocab_size": 400 }));
    let model = ModelFolder::read(path).expect("it is supported");
    let parameters = model.read_weights(path).expect("its weights are sound");
    assert_eq!(parameters.specs.len(), 5 + 16);
    let expected = |name: &str, i: usize| ((i + name.len()) % 101) as f32 / 64.0 - 50.0 / 64.0;
    for spec in &parameters.specs {
        for i in 0..spec.len {
            assert_eq!(parameters.flat[spec.offset + i], expected(&spec.name, i), "{} at {i}", spec.name);
        }
    }
    for tensor in &model.originals.frozen {
        assert!(
            tensor.values.iter().enumerate().all(|(i, value)| *value == expected(tensor.name, i)),
            "{}",
            tensor.name
        );
    }
    let saved = save(&model, &parameters, &[8]);
    assert_eq!(
        ModelFolder::read(saved.path()).and_then(|model| model.read_weights(saved.path())).expect("it is sound").flat,
        parameters.flat
    );
}

#[test]
fn a_prefix_and_old_names_are_read() {
    let model = TinyModel::default();
    let folder = written(&model);
    let plain =
        ModelFolder::read(folder.path()).and_then(|model| model.read_weights(folder.path())).expect("it is sound");
    let renamed = |(name, tensor): (String, _)| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        (format!("bert.{name}"), tensor)
    };
    let mut tensors: BTreeMap<_, _> = model.tensors(vocabulary().len()).into_iter().map(renamed).collect();
    tensors.insert("cls.predictions.bias".into(), (vec![1], vec![0.0]));
    fs::write(folder.path().join("model.safetensors"), to_safetensors(&tensors)).expect("there is room");
    let old =
        ModelFolder::read(folder.path()).and_then(|model| model.read_weights(folder.path())).expect("it is sound");
    assert_eq!((old.flat, old.specs), (plain.flat, plain.specs));
}

#[test]
fn parameters_are_sorted_and_only_matrices_decay() {
    let folder = written(&TinyModel::default());
    let model = ModelFolder::read(folder.path()).expect("it is supported");
    let parameters = model.read_weights(folder.path()).expect("its weights are sound");
    assert_eq!(parameters.specs.len(), 5 + 16 * 2);
    assert!(parameters.specs.is_sorted_by_key(|spec| &spec.name));
    let tensors = TinyModel::default().tensors(vocabulary().len());
    let mut offset = 0;
    for spec in &parameters.specs {
        let (shape, values) = &tensors[&spec.name];
        assert_eq!((&spec.shape, spec.offset, spec.len), (shape, offset, values.len()));
        assert_eq!(&parameters.flat[offset..offset + spec.len], values, "{}", spec.name);
        assert_eq!(spec.decay, shape.len() == 2, "{}", spec.name);
        offset += spec.len;
    }
    assert_eq!(parameters.flat.len(), offset);
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
    assert_eq!((parameters.flat.len() as u64, model.summary.parameters), (22_565_376, 22_565_376));
    assert_eq!(model.originals.frozen.len(), 2);
}

#[test]
fn half_precision_is_read() {
    let folder = written(&TinyModel::default());
    let mut tensors = TinyModel::default().tensors(vocabulary().len());
    put_tensors(folder.path(), |name, value| {
        if name.contains("embeddings") {
            (Dtype::F16, half::f16::from_f32(value).to_le_bytes().to_vec())
        } else {
            (Dtype::BF16, half::bf16::from_f32(value).to_le_bytes().to_vec())
        }
    });
    let model = ModelFolder::read(folder.path()).expect("it is supported");
    let parameters = model.read_weights(folder.path()).expect("its weights are sound");
    for spec in &parameters.specs {
        let (_, mut values) = tensors.remove(&spec.name).expect("it is a tensor of the model");
        for value in &mut values {
            *value = if spec.name.contains("embeddings") {
                half::f16::from_f32(*value).to_f32()
            } else {
                half::bf16::from_f32(*value).to_f32()
            };
        }
        assert_eq!(&parameters.flat[spec.offset..spec.offset + spec.len], values, "{}", spec.name);
    }
}

#[test]
fn other_types_are_refused() {
    let folder = written(&TinyModel::default());
    put_tensors(folder.path(), |name, value| match name {
        "pooler.dense.bias" => (Dtype::F64, f64::from(value).to_le_bytes().to_vec()),
        _ => (Dtype::F32, value.to_le_bytes().to_vec()),
    });
    let error = ModelFolder::read(folder.path()).expect_err("a tensor has another type").to_string();
    assert!(error.contains("tensor `pooler.dense.bias` is of type F64; F32, F16 or BF16 is expected"), "{error}");
}

/// Writes the default model's tensors with each number as `store` has it.
fn put_tensors(folder: &Path, store: impl Fn(&str, f32) -> (Dtype, Vec<u8>)) {
    struct Stored {
        name: String,
        shape: Vec<usize>,
        dtype: Dtype,
        bytes: Vec<u8>,
    }
    let stored = |(name, (shape, values)): (String, (Vec<usize>, Vec<f32>))| {
        let (dtype, _) = store(&name, 0.0);
        let bytes = values.iter().flat_map(|value| store(&name, *value).1).collect();
        Stored { name, shape, dtype, bytes }
    };
    let stored: Vec<Stored> = TinyModel::default().tensors(vocabulary().len()).into_iter().map(stored).collect();
    let views = stored.iter().map(|tensor| {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes);
        (tensor.name.as_str(), view.expect("the shape has as many numbers"))
    });
    let file = safetensors::serialize(views, None).expect("names are unique");
    fs::write(folder.join("model.safetensors"), file).expect("there is room");
}
