//! A BERT small enough to be made by each test that needs a model: random weights by a fixed seed, and a WordPiece
//! tokenizer that takes any English text apart into words it knows, else letters.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;

/// Words that are one token; others become letters. Ordinary ones, so that texts of tests differ in more than letters.
const WORDS: &str = "the of and to in a is that for it as was with be by on not he his but at are this have from or had \
    an they which one you were all her she there would their we him been has when who will no more if out so up said \
    what its about than into them can only other time new some could these two may first then do any like my now over \
    such our man me even most made after also did many off before must well back through years where much your way down \
    should because long each just state those people too mr how little good world make very year still see own work men \
    day get here old life both between being under three never know same last another while us might great go come since \
    against right came take used himself few house use during without again place american around however home small \
    found mrs thought went say part once general high upon school every company revenue income cash net risk market \
    growth sales fiscal report annual cost tax debt share stock profit loss interest rate assets product services water \
    river city country capital color red blue green animal cat dog bird fish tree fruit apple sun moon star planet \
    number music song book paper letter computer machine language engine car train food bread rice sea mountain";

const SPECIAL_TOKENS: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// What the model is to be; `TinyModel::default()` is a sentence-transformers folder with mean pooling.
#[derive(Debug, Clone)]
pub(crate) struct TinyModel {
    pub(crate) layers: usize,
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    pub(crate) intermediate: usize,
    /// Both dropout rates.
    pub(crate) dropout: f64,
    /// `cls`, `mean` or `max`.
    pub(crate) pooling: &'static str,
    pub(crate) normalize: bool,
    pub(crate) max_seq_length: usize,
    pub(crate) max_position_embeddings: usize,
    /// False leaves out modules.json and all that goes with it, as plain transformers does.
    pub(crate) sentence_transformers: bool,
    pub(crate) prompts: BTreeMap<String, String>,
    pub(crate) seed: u64,
}

impl Default for TinyModel {
    fn default() -> Self {
        Self {
            layers: 2,
            hidden: 32,
            heads: 4,
            intermediate: 64,
            dropout: 0.1,
            pooling: "mean",
            normalize: true,
            max_seq_length: 32,
            max_position_embeddings: 64,
            sentence_transformers: true,
            prompts: BTreeMap::new(),
            seed: 1,
        }
    }
}

impl TinyModel {
    /// Writes the model's files into `folder`, which is made where it is absent.
    pub(crate) fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).expect("the folder can be made");
        let write = |name: &str, value: serde_json::Value| {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("the folder can be made");
            fs::write(path, serde_json::to_vec_pretty(&value).expect("it is JSON")).expect("it can be written");
        };
        let vocabulary = vocabulary();
        write("config.json", self.config(vocabulary.len()));
        write("tokenizer.json", tokenizer(&vocabulary));
        write(
            "tokenizer_config.json",
            json!({
                "tokenizer_class": "BertTokenizer", "do_lower_case": true, "model_max_length": 512,
                "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
                "mask_token": "[MASK]", "strip_accents": null, "tokenize_chinese_chars": true,
            }),
        );
        write(
            "special_tokens_map.json",
            json!({
                "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
                "mask_token": "[MASK]",
            }),
        );
        fs::write(folder.join("vocab.txt"), vocabulary.join("\n") + "\n").expect("it can be written");
        fs::write(folder.join("model.safetensors"), to_safetensors(&self.tensors(vocabulary.len())))
            .expect("it can be written");
        if !self.sentence_transformers {
            return;
        }
        let mut modules = vec![("", "Transformer"), ("1_Pooling", "Pooling")];
        if self.normalize {
            modules.push(("2_Normalize", "Normalize"));
        }
        let module = |(idx, (path, kind)): (usize, &(&str, &str))| {
            json!({
                "idx": idx, "name": idx.to_string(), "path": path, "type": format!("sentence_transformers.models.{kind}"),
            })
        };
        write("modules.json", modules.iter().enumerate().map(module).collect());
        write(
            "1_Pooling/config.json",
            json!({
                "word_embedding_dimension": self.hidden,
                "pooling_mode_cls_token": self.pooling == "cls",
                "pooling_mode_mean_tokens": self.pooling == "mean",
                "pooling_mode_max_tokens": self.pooling == "max",
                "pooling_mode_mean_sqrt_len_tokens": false,
            }),
        );
        write("sentence_bert_config.json", json!({ "max_seq_length": self.max_seq_length, "do_lower_case": false }));
        write(
            "config_sentence_transformers.json",
            json!({ "prompts": self.prompts, "default_prompt_name": null, "similarity_fn_name": "cosine" }),
        );
    }

    fn config(&self, vocab_size: usize) -> serde_json::Value {
        json!({
            "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu",
            "position_embedding_type": "absolute", "pad_token_id": 0, "initializer_range": 0.02,
            "layer_norm_eps": 1e-12, "type_vocab_size": 2, "vocab_size": vocab_size,
            "hidden_size": self.hidden, "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
            "intermediate_size": self.intermediate, "max_position_embeddings": self.max_position_embeddings,
            "hidden_dropout_prob": self.dropout, "attention_probs_dropout_prob": self.dropout,
        })
    }

    /// Every tensor by its usual name, the pooler's among them: shape and numbers.
    pub(crate) fn tensors(&self, vocab_size: usize) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
        let (hidden, inner) = (self.hidden, self.intermediate);
        let mut shapes: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (name, rows) in [
            ("word_embeddings", vocab_size),
            ("position_embeddings", self.max_position_embeddings),
            ("token_type_embeddings", 2),
        ] {
            shapes.insert(format!("embeddings.{name}.weight"), vec![rows, hidden]);
        }
        let mut norms = vec!["embeddings.LayerNorm".to_owned()];
        let mut linears = vec![("pooler.dense".to_owned(), hidden, hidden)];
        for layer in (0..self.layers).map(|layer| format!("encoder.layer.{layer}")) {
            for part in ["query", "key", "value"] {
                linears.push((format!("{layer}.attention.self.{part}"), hidden, hidden));
            }
            linears.push((format!("{layer}.attention.output.dense"), hidden, hidden));
            linears.push((format!("{layer}.intermediate.dense"), inner, hidden));
            linears.push((format!("{layer}.output.dense"), hidden, inner));
            norms.push(format!("{layer}.attention.output.LayerNorm"));
            norms.push(format!("{layer}.output.LayerNorm"));
        }
        for (name, outputs, inputs) in linears {
            shapes.insert(format!("{name}.weight"), vec![outputs, inputs]);
            shapes.insert(format!("{name}.bias"), vec![outputs]);
        }
        for name in norms {
            shapes.insert(format!("{name}.weight"), vec![hidden]);
            shapes.insert(format!("{name}.bias"), vec![hidden]);
        }
        let mut random = SplitMix(self.seed);
        let fill = |(name, shape): (String, Vec<usize>)| {
            // Large enough for every part of the network to matter, unlike BERT's own start of 0.02.
            let (middle, spread) = match (name.contains("LayerNorm.weight"), name.ends_with("bias")) {
                (true, _) => (1.0, 0.1),
                (false, true) => (0.0, 0.05),
                (false, false) => (0.0, 0.3),
            };
            let count = shape.iter().product();
            let values = (0..count).map(|_| middle + spread * random.next()).collect();
            (name, (shape, values))
        };
        shapes.into_iter().map(fill).collect()
    }
}

/// A safetensors file of 32-bit floats.
pub(crate) fn to_safetensors(tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>) -> Vec<u8> {
    let bytes: BTreeMap<&String, Vec<u8>> = tensors
        .iter()
        .map(|(name, (_, values))| (name, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        .collect();
    let views = tensors.iter().map(|(name, (shape, _))| {
        (name, TensorView::new(Dtype::F32, shape.clone(), &bytes[name]).expect("the shape has as many numbers"))
    });
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize(views, Some(format)).expect("names are unique")
}

/// Every token; a token's place is its id.
pub(crate) fn vocabulary() -> Vec<String> {
    let mut tokens: Vec<String> = SPECIAL_TOKENS.iter().map(|token| (*token).to_owned()).collect();
    tokens.extend(('!'..='~').filter(|c| !c.is_ascii_uppercase()).map(String::from));
    tokens.extend(('a'..='z').chain('0'..='9').map(|c| format!("##{c}")));
    for word in WORDS.split_whitespace() {
        if !tokens.iter().any(|token| token == word) {
            tokens.push(word.to_owned());
        }
    }
    tokens
}

fn tokenizer(vocabulary: &[String]) -> serde_json::Value {
    let added = |(id, content): (usize, &&str)| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    };
    let special = |id: &str, number: usize| json!({ "id": id, "ids": [number], "tokens": [id] });
    let token = |id: &str, kind: usize| json!({ "SpecialToken": { "id": id, "type_id": kind } });
    let sequence = |id: &str, kind: usize| json!({ "Sequence": { "id": id, "type_id": kind } });
    let ids: BTreeMap<&String, usize> = vocabulary.iter().enumerate().map(|(id, token)| (token, id)).collect();
    json!({
        "version": "1.0",
        // As many published files have it: neither must be heeded.
        "truncation": { "max_length": 8, "strategy": "LongestFirst", "stride": 0, "direction": "Right" },
        "padding": {
            "strategy": { "Fixed": 8 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "[PAD]",
        },
        "added_tokens": SPECIAL_TOKENS.iter().enumerate().map(added).collect::<Vec<_>>(),
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true,
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]", 0), sequence("A", 0), token("[SEP]", 0)],
            "pair": [token("[CLS]", 0), sequence("A", 0), token("[SEP]", 0), sequence("B", 1), token("[SEP]", 1)],
            "special_tokens": { "[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3) },
        },
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": ids,
        },
    })
}

/// Numbers between -1 and 1 that any machine makes alike.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        (z >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}
