//! What is not supported or not sound is refused with its name.

use super::super::tiny_model::{TinyModel, to_safetensors, vocabulary};
use super::*;

type Change = fn(&Path);

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let cases: &[(&str, Change)] = &[
        ("config.json: the model folder lacks this file", |f| remove(f, "config.json")),
        ("config.json: not a model's config", |f| put(f, "config.json", "{")),
        ("`model_type` is `roberta`, and only encoders of model_type `bert`", |f| {
            set(f, "config.json", json!({"model_type": "roberta"}))
        }),
        ("`model_type` is missing", |f| set(f, "config.json", json!({"model_type": null}))),
        ("`hidden_act` is `gelu_new`, and only `gelu`", |f| set(f, "config.json", json!({"hidden_act": "gelu_new"}))),
        ("`hidden_act` is `relu`", |f| set(f, "config.json", json!({"hidden_act": "relu"}))),
        ("`position_embedding_type` is `relative_key`", |f| {
            set(f, "config.json", json!({"position_embedding_type": "relative_key"}))
        }),
        ("`is_decoder` is `true`", |f| set(f, "config.json", json!({"is_decoder": true}))),
        ("`add_cross_attention` is `true`", |f| set(f, "config.json", json!({"add_cross_attention": true}))),
        ("`hidden_size` 32 is not a multiple of `num_attention_heads` 5", |f| {
            set(f, "config.json", json!({"num_attention_heads": 5}))
        }),
        ("`num_attention_heads` is 0; 1 to 16384", |f| set(f, "config.json", json!({"num_attention_heads": 0}))),
        ("`num_hidden_layers` is 100000", |f| set(f, "config.json", json!({"num_hidden_layers": 100_000}))),
        ("`hidden_dropout_prob` is 1; 0 to below 1", |f| set(f, "config.json", json!({"hidden_dropout_prob": 1.0}))),
        ("`attention_probs_dropout_prob` is -0.5", |f| {
            set(f, "config.json", json!({"attention_probs_dropout_prob": -0.5}))
        }),
        ("`layer_norm_eps` is 0", |f| set(f, "config.json", json!({"layer_norm_eps": 0.0}))),
        ("invalid type: string \"many\"", |f| set(f, "config.json", json!({"hidden_size": "many"}))),
        ("modules.json: expected", |f| put(f, "modules.json", "[nothing]")),
        ("modules.json names a module `Dense`", |f| module(f, "sentence_transformers.models.Dense")),
        ("modules.json names a module `custom_st.Pooling`", |f| module(f, "custom_st.Pooling")),
        ("modules.json lists [Transformer, Transformer, Normalize]", |f| {
            module(f, "sentence_transformers.models.Transformer")
        }),
        ("modules.json lists []", |f| put(f, "modules.json", "[]")),
        ("`../elsewhere` is not the name of a folder", |f| {
            put(f, "modules.json", r#"[{"path": "../elsewhere", "type": "sentence_transformers.models.Transformer"}]"#)
        }),
        ("1_Pooling/config.json: the pooling's configuration is missing", |f| remove(f, "1_Pooling/config.json")),
        ("the pooling is `lasttoken`", |f| put(f, "1_Pooling/config.json", r#"{"pooling_mode_lasttoken": true}"#)),
        ("the pooling is `weightedmean`", |f| put(f, "1_Pooling/config.json", r#"{"pooling_mode": "weightedmean"}"#)),
        ("poolings are combined (cls, mean)", |f| {
            put(f, "1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}"#)
        }),
        ("poolings are combined (mean, max)", |f| {
            put(f, "1_Pooling/config.json", r#"{"pooling_mode": ["mean", "max"]}"#)
        }),
        ("the embedding's size is 768, and config.json's `hidden_size` is 32", |f| {
            set(f, "1_Pooling/config.json", json!({"word_embedding_dimension": 768}))
        }),
        ("`module_input_name` is `token_embeddings`", |f| {
            fs::create_dir(f.join("2_Normalize")).expect("there is room");
            put(f, "2_Normalize/config.json", r#"{"module_input_name": "token_embeddings"}"#);
        }),
        ("`transformer_task` is \"fill-mask\"", |f| {
            set(f, "sentence_bert_config.json", json!({"transformer_task": "fill-mask"}))
        }),
        ("`tokenizer_args.do_lower_case` is true", |f| {
            set(f, "sentence_bert_config.json", json!({"tokenizer_args": {"do_lower_case": true}}))
        }),
        ("`config_args` is {\"hidden_act\":\"relu\"}", |f| {
            set(f, "sentence_bert_config.json", json!({"config_args": {"hidden_act": "relu"}}))
        }),
        ("`max_seq_length` is \"long\"; a number of tokens", |f| {
            set(f, "sentence_bert_config.json", json!({"max_seq_length": "long"}))
        }),
        ("`max_seq_length` is 0", |f| set(f, "sentence_bert_config.json", json!({"max_seq_length": 0}))),
        ("`model_type` is `CrossEncoder`", |f| {
            set(f, "config_sentence_transformers.json", json!({"model_type": "CrossEncoder"}))
        }),
        ("`truncate_dim` is 16", |f| set(f, "config_sentence_transformers.json", json!({"truncate_dim": 16}))),
        ("`default_prompt_name` is `query`, which puts a prompt before every text", |f| {
            set(
                f,
                "config_sentence_transformers.json",
                json!({"prompts": {"query": "query: "}, "default_prompt_name": "query"}),
            )
        }),
        ("`default_prompt_name` is `other`, which is no prompt", |f| {
            set(f, "config_sentence_transformers.json", json!({"default_prompt_name": "other"}))
        }),
        ("`include_prompt` is false", |f| {
            set(f, "1_Pooling/config.json", json!({"include_prompt": false}));
            set(f, "config_sentence_transformers.json", json!({"prompts": {"query": "query: "}}));
        }),
        ("AutoTokenizer.from_pretrained(folder).save_pretrained(folder)", |f| remove(f, "tokenizer.json")),
        ("tokenizer.json: not a tokenizer.json of the tokenizers library", |f| put(f, "tokenizer.json", "{}")),
        ("the tokenizer gives token ids up to", |f| set(f, "config.json", json!({"vocab_size": 100}))),
        ("the tokenizer gives token id 99999, which is not in its vocabulary", |f| {
            let path = f.join("tokenizer.json");
            let mut tokenizer = read_json(&path);
            tokenizer["post_processor"]["special_tokens"]["[SEP]"]["ids"] = json!([99_999]);
            fs::write(path, tokenizer.to_string()).expect("there is room");
        }),
        ("tokenizer_config.json asks for a BertTokenizer, and `pre_tokenizer` is not that of one", |f| {
            set(f, "tokenizer.json", json!({"pre_tokenizer": {"type": "Whitespace"}}))
        }),
        ("`normalizer` is not that of one", |f| set(f, "tokenizer.json", json!({"normalizer": {"type": "Lowercase"}}))),
        ("`post_processor` is not that of one", |f| set(f, "tokenizer.json", json!({"post_processor": null}))),
        ("`modality_config.text` is {\"method\":\"forward\",\"method_output_name\":\"pooler_output\"}", |f| {
            let text = json!({"method": "forward", "method_output_name": "pooler_output"});
            set(f, "sentence_bert_config.json", json!({"modality_config": {"text": text}}));
        }),
        ("neither model.safetensors nor pytorch_model.bin", |f| remove(f, "model.safetensors")),
        ("the weights are in several files (model.safetensors.index.json)", |f| {
            remove(f, "model.safetensors");
            put(f, "model.safetensors.index.json", "{}");
        }),
        ("not a safetensors file: it is too short", |f| put(f, "model.safetensors", "short")),
        ("its header would be 2338042655863172705 bytes long", |f| {
            put(f, "model.safetensors", "another file altogether")
        }),
        ("its header describes", |f| {
            let path = f.join("model.safetensors");
            let mut bytes = fs::read(&path).expect("it is there");
            bytes.pop();
            fs::write(&path, bytes).expect("there is room");
        }),
        ("not a file of torch.save", |f| {
            remove(f, "model.safetensors");
            put(f, "pytorch_model.bin", "nothing of the kind");
        }),
        ("tensor `encoder.layer.1.output.dense.bias` is missing", |f| {
            tensors(f, |tensors| drop(tensors.remove("encoder.layer.1.output.dense.bias")))
        }),
        ("tensor `encoder.layer.2.attention.output.LayerNorm.bias` is missing", |f| {
            set(f, "config.json", json!({"num_hidden_layers": 3}))
        }),
        ("tensor `embeddings.position_embeddings.weight` has shape [64, 32]; [512, 32] is expected", |f| {
            set(f, "config.json", json!({"max_position_embeddings": 512}))
        }),
        ("`bert.pooler.dense.bias` and `pooler.dense.bias` are the same tensor", |f| {
            tensors(f, |tensors| drop(tensors.insert("bert.pooler.dense.bias".into(), (vec![1], vec![0.0]))))
        }),
    ];
    for (expected, change) in cases {
        let folder = written(&TinyModel::default());
        change(folder.path());
        let error = ModelFolder::read(folder.path()).expect_err(expected).to_string();
        assert!(error.contains(expected), "expected `{expected}`, got `{error}`");
    }
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    for bad in [f32::NAN, f32::INFINITY] {
        let folder = written(&TinyModel::default());
        let name = "encoder.layer.1.attention.self.key.weight";
        tensors(folder.path(), |tensors| tensors.get_mut(name).expect("it is there").1[5] = bad);
        let model = ModelFolder::read(folder.path()).expect("names and shapes are sound");
        let error = model.read_weights(folder.path()).expect_err("a number is not finite").to_string();
        assert!(error.contains(&format!("tensor `{name}` holds a number that is not finite")), "{error}");
    }
}

fn remove(folder: &Path, name: &str) {
    fs::remove_file(folder.join(name)).expect("it is there");
}

fn put(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("there is room");
}

fn set(folder: &Path, name: &str, fields: Value) {
    edit(&folder.join(name), fields);
}

/// Gives the second module another class.
fn module(folder: &Path, class: &str) {
    let path = folder.join("modules.json");
    let mut modules = read_json(&path);
    modules[1]["type"] = json!(class);
    fs::write(path, modules.to_string()).expect("there is room");
}

fn tensors(folder: &Path, change: impl FnOnce(&mut BTreeMap<String, (Vec<usize>, Vec<f32>)>)) {
    let mut tensors = TinyModel::default().tensors(vocabulary().len());
    change(&mut tensors);
    fs::write(folder.join("model.safetensors"), to_safetensors(&tensors)).expect("there is room");
}
