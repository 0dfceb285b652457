//! Every layout of a model folder says the same here as to sentence-transformers.

use super::super::tiny_model::TinyModel;
use super::*;

#[test]
fn a_plain_transformers_folder_pools_the_mean() {
    let folder = written(&TinyModel { sentence_transformers: false, ..TinyModel::default() });
    // Not read by sentence-transformers in this layout.
    edit(&folder.path().join("sentence_bert_config.json"), json!({ "max_seq_length": 5 }));
    let model = ModelFolder::read(folder.path()).expect("it is supported");
    assert_eq!((model.summary.pooling, model.summary.normalize), (Pooling::Mean, false));
    assert_eq!(model.summary.max_seq_length, 64, "tokenizer_config.json says 512, and there are 64 positions");
    let parameters = model.read_weights(folder.path()).expect("its weights are sound");
    let saved = save(&model, &parameters, &[]);
    assert_eq!(ModelFolder::read(saved.path()).expect("it is supported").summary, model.summary);
    assert!(read_json(&saved.path().join("config.json")).get("matryoshka_dimensions").is_none());
}

#[test]
fn the_transformer_may_lie_in_a_folder_of_its_own() {
    let folder = written(&TinyModel::default());
    let inner = folder.path().join("0_Transformer");
    fs::create_dir(&inner).expect("there is room");
    for name in
        ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "sentence_bert_config.json"]
    {
        fs::rename(folder.path().join(name), inner.join(name)).expect("it is there");
    }
    let modules = fs::read_to_string(folder.path().join("modules.json")).expect("it is there");
    fs::write(folder.path().join("modules.json"), modules.replacen("\"path\": \"\"", "\"path\": \"0_Transformer\"", 1))
        .expect("there is room");
    let model = ModelFolder::read(folder.path()).expect("it is supported");
    let parameters = model.read_weights(folder.path()).expect("its weights are sound");
    let saved = save(&model, &parameters, &[32]);
    assert!(saved.path().join("config.json").exists(), "a saved model has its transformer at the top");
    assert_eq!(ModelFolder::read(saved.path()).expect("it is supported").summary, model.summary);
}

#[test]
fn newer_pooling_and_module_names_are_read() {
    let folder = written(&TinyModel { normalize: false, ..TinyModel::default() });
    fs::write(
        folder.path().join("modules.json"),
        json!([
            { "idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer" },
            { "idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling" },
            { "idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.base.modules.normalize.Normalize" },
        ])
        .to_string(),
    )
    .expect("there is room");
    let pooling = json!({ "embedding_dimension": 32, "pooling_mode": "max", "include_prompt": true });
    fs::write(folder.path().join("1_Pooling/config.json"), pooling.to_string()).expect("there is room");
    edit(
        &folder.path().join("sentence_bert_config.json"),
        json!({
            "max_seq_length": 30, "transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
            "modality_config": { "text": { "method": "forward", "method_output_name": "last_hidden_state" } },
            "processor_kwargs": { "model_max_length": 12 },
        }),
    );
    let model = ModelFolder::read(folder.path()).expect("it is supported");
    assert_eq!((model.summary.pooling, model.summary.normalize), (Pooling::Max, true));
    assert_eq!(model.summary.max_seq_length, 12, "the tokenizer's own argument wins");
    let parameters = model.read_weights(folder.path()).expect("its weights are sound");
    let saved = save(&model, &parameters, &[32]);
    assert_eq!(ModelFolder::read(saved.path()).expect("it is supported").summary, model.summary);
}

#[test]
fn the_length_limit_comes_from_where_sentence_transformers_takes_it() {
    let folder = written(&TinyModel::default());
    let limit = || ModelFolder::read(folder.path()).expect("it is supported").summary.max_seq_length;
    let settings = folder.path().join("sentence_bert_config.json");
    let tokenizer = folder.path().join("tokenizer_config.json");
    assert_eq!(limit(), 32);
    edit(&settings, json!({ "max_seq_length": 5000 }));
    assert_eq!(limit(), 64, "there are 64 positions");
    fs::write(&settings, r#"{"max_seq_length": null}"#).expect("there is room");
    edit(&tokenizer, json!({ "model_max_length": 40 }));
    assert_eq!(limit(), 40);
    fs::remove_file(&settings).expect("it is there");
    assert_eq!(limit(), 40);
    let text = r#"{"model_max_length": 1000000000000000019884624838656}"#;
    fs::write(&tokenizer, text).expect("there is room");
    assert_eq!(limit(), 64);
    fs::remove_file(&tokenizer).expect("it is there");
    assert_eq!(limit(), 64);
}

#[test]
fn the_tokenizers_settings_decide_the_case() {
    let folder = written(&TinyModel::default());
    let tokenizer = folder.path().join("tokenizer_config.json");
    let ids = |text: &str| ModelFolder::read(folder.path()).expect("it is supported").tokenizer.encode_uncut(text);
    let (lower, unknown) = (ids("cat").expect("it can"), vec![2, 1, 3]);
    assert_eq!(ids("CAT").expect("it can"), lower);
    edit(&tokenizer, json!({ "do_lower_case": false }));
    assert_eq!(ids("CAT").expect("it can"), unknown, "BertTokenizer takes tokenizer_config.json's word for it");
    edit(&tokenizer, json!({ "tokenizer_class": "PreTrainedTokenizerFast" }));
    assert_eq!(ids("CAT").expect("it can"), lower, "other classes take tokenizer.json's");
    edit(&tokenizer, json!({ "tokenizer_class": "BertTokenizer" }));
    edit(&folder.path().join("sentence_bert_config.json"), json!({ "do_lower_case": true }));
    assert_eq!(ids("CAT").expect("it can"), lower);
}
