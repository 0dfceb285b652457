//! The checkpoint's README.md: front matter that the Hugging Face Hub reads, how to use the model, how it was
//! trained, and what it scores against its base model.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::domain::{EvaluationMetrics, MetricKey, ModelSummary, TrainingArguments};

/// The metrics shown, at every dimension; all of them stand in `trainer_state.json`.
const SHOWN: [&str; 5] = ["ndcg@10", "mrr@10", "map@100", "accuracy@1", "recall@10"];
/// As much of a base model's README.md as is looked at for its front matter.
const README_LIMIT: u64 = 64 * 1024;

/// What a model card tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct ModelCard<'a> {
    /// The base model's name.
    pub(super) base_model: &'a str,
    /// Lines of front matter taken over from the base model.
    pub(super) inherited: &'a str,
    /// What the model is.
    pub(super) summary: &'a ModelSummary,
    /// How it was trained.
    pub(super) arguments: &'a TrainingArguments,
    /// Pairs trained on.
    pub(super) train_rows: usize,
    /// Questions evaluated with.
    pub(super) eval_rows: usize,
    /// The base model's metrics.
    pub(super) baseline: &'a EvaluationMetrics,
    /// This checkpoint's metrics.
    pub(super) metrics: &'a EvaluationMetrics,
}

impl ModelCard<'_> {
    /// The card as Markdown with YAML front matter.
    #[must_use]
    pub(super) fn render(&self) -> String {
        let mut card = String::from("---\n");
        card.push_str(self.inherited);
        if is_hub_name(self.base_model) {
            let _ = writeln!(card, "base_model: {}", self.base_model);
        }
        card.push_str(
            "library_name: sentence-transformers\n\
             pipeline_tag: sentence-similarity\n\
             tags:\n\
             - sentence-transformers\n\
             - sentence-similarity\n\
             - feature-extraction\n\
             - matryoshka\n\
             - loss:MatryoshkaLoss\n\
             - loss:MultipleNegativesRankingLoss\n\
             ---\n\n",
        );
        let base = self.base_model.replace(['`', '\n', '\r'], " ");
        let dims: Vec<String> = self.arguments.dims().iter().map(ToString::to_string).collect();
        let epoch = self.metrics.epoch;
        let _ = write!(
            card,
            "# A sentence embedding model\n\n\
             `{base}`, fine-tuned on question–passage pairs for retrieval. It embeds text as vectors of {} numbers, \
             which may be cut to {} and still search well.\n\n\
             | | |\n| --- | --- |\n\
             | Base model | `{base}` |\n\
             | Longest input | {} tokens |\n\
             | Embedding size | {} |\n\
             | Matryoshka dimensions | {} |\n\
             | Pooling | {:?}{} |\n\
             | Similarity | cosine |\n\n",
            self.summary.dimension,
            dims.last().map_or("", String::as_str),
            self.arguments.max_seq_length.unwrap_or(self.summary.max_seq_length),
            self.summary.dimension,
            dims.join(", "),
            self.summary.pooling,
            if self.summary.normalize { ", normalized" } else { "" },
        );
        let _ = write!(
            card,
            "## Use\n\n```python\nfrom sentence_transformers import SentenceTransformer\n\n\
             model = SentenceTransformer(\"path/to/this/folder\", truncate_dim={})\n\
             questions = model.encode([\"What was revenue in the last quarter?\"])\n\
             passages = model.encode([\"Revenue for the quarter was $12 million.\"])\n\
             print(model.similarity(questions, passages))\n```\n\n",
            dims.last().map_or("64", String::as_str),
        );
        self.write_metrics(&mut card);
        let arguments = serde_json::to_string_pretty(self.arguments).expect("arguments are plain data");
        let _ = write!(
            card,
            "## Training\n\n{} pairs, {epoch} of {} epochs ({} optimizer steps), MatryoshkaLoss over \
             MultipleNegativesRankingLoss, AdamW.\n\n```json\n{arguments}\n```\n",
            self.train_rows, self.arguments.epochs, self.metrics.step,
        );
        card
    }

    fn write_metrics(&self, card: &mut String) {
        let _ = write!(
            card,
            "## Evaluation\n\n{} questions against every passage of the training and evaluation rows; the base model, \
             then this checkpoint (epoch {}).\n\n| dimension | {} |\n|{}\n",
            self.eval_rows,
            self.metrics.epoch,
            SHOWN.join(" | "),
            " ---: |".repeat(SHOWN.len() + 1),
        );
        for dim in self.arguments.dims() {
            let _ = write!(card, "| {dim} |");
            for name in SHOWN {
                let value = |metrics: &EvaluationMetrics| {
                    MetricKey::new(*dim, name)
                        .and_then(|key| metrics.get(key))
                        .map_or("–".into(), |v| format!("{v:.4}"))
                };
                let _ = write!(card, " {} → {} |", value(self.baseline), value(self.metrics));
            }
            card.push('\n');
        }
        card.push('\n');
    }
}

/// The `language` and `license` lines of a base model's README.md as they stand there; empty where it has none.
#[must_use]
pub(super) fn inherited_front_matter(base_model_folder: &Path) -> String {
    let mut text = Vec::new();
    // A base model without a readable README is common and complete; its card just says less.
    if let Ok(file) = File::open(base_model_folder.join("README.md")) {
        let _ = file.take(README_LIMIT).read_to_end(&mut text);
    }
    pick_front_matter(&String::from_utf8_lossy(&text))
}

fn pick_front_matter(readme: &str) -> String {
    let mut lines = readme.trim_start_matches('\u{feff}').lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return String::new();
    }
    let mut picked = String::new();
    let mut picking = false;
    for line in lines {
        if line.trim_end() == "---" {
            return picked;
        }
        if !line.starts_with([' ', '\t', '-']) {
            let key = line.split(':').next().unwrap_or_default();
            picking = matches!(key, "language" | "license" | "license_name" | "license_link");
        }
        if picking && !line.trim().is_empty() {
            picked.push_str(line.trim_end());
            picked.push('\n');
        }
    }
    // Without its end it is no front matter.
    String::new()
}

/// True for a name that the Hub would take in `base_model` (it refuses a card with anything else).
fn is_hub_name(name: &str) -> bool {
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    name.len() <= 96 && name.split('/').count() <= 2 && name.split('/').all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Pooling;

    fn metrics(epoch: u32, value: f64) -> EvaluationMetrics {
        let dims = [384, 64];
        let keys = dims.into_iter().flat_map(|dim| SHOWN.map(|name| format!("dim_{dim}_cosine_{name}")));
        EvaluationMetrics { epoch, step: u64::from(epoch) * 13, values: keys.map(|key| (key, value)).collect() }
    }

    fn render(base_model: &str, inherited: &str) -> String {
        let arguments = TrainingArguments { matryoshka_dims: Some(vec![384, 64]), ..TrainingArguments::default() }
            .resolve(384, 256)
            .expect("they fit");
        let summary = ModelSummary {
            architecture: "bert".into(),
            dimension: 384,
            num_hidden_layers: 6,
            num_attention_heads: 12,
            max_seq_length: 256,
            pooling: Pooling::Mean,
            normalize: true,
            parameters: 22_565_376,
        };
        ModelCard {
            base_model,
            inherited,
            summary: &summary,
            arguments: &arguments,
            train_rows: 6300,
            eval_rows: 700,
            baseline: &metrics(0, 0.5),
            metrics: &metrics(3, 0.75),
        }
        .render()
    }

    #[test]
    fn the_card_has_front_matter_usage_and_both_scores() {
        let card = render("BAAI/bge-base-en-v1.5", "language: en\nlicense: mit\n");
        assert!(card.starts_with("---\nlanguage: en\nlicense: mit\nbase_model: BAAI/bge-base-en-v1.5\n"), "{card}");
        for part in [
            "\n- matryoshka\n",
            "| dimension | ndcg@10 |",
            "| 384 | 0.5000 → 0.7500 |",
            "| 64 | 0.5000 → 0.7500 |",
            "truncate_dim=64",
            "6300 pairs, 3 of 4 epochs (39 optimizer steps)",
            "\"learning_rate\": 0.00002",
            "| Pooling | Mean, normalized |",
        ] {
            assert!(card.contains(part), "{part} is missing from\n{card}");
        }
    }

    #[test]
    fn a_name_that_is_no_hub_name_stays_out_of_the_front_matter() {
        for name in ["/models/mine", "a/b/c", "evil\nlicense: none", "../up", ""] {
            let card = render(name, "");
            assert!(!card.contains("base_model:") && !card.contains("\nlicense: none"), "{name}:\n{card}");
        }
        assert!(render("all-MiniLM-L6-v2", "").contains("\nbase_model: all-MiniLM-L6-v2\n"));
    }

    #[test]
    fn language_and_license_are_taken_over_as_they_stand() {
        let readme =
            "---\ntags:\n- mteb\nlanguage:\n- en\n- de\nlicense: apache-2.0\nmodel-index:\n- name: x\n---\n# X";
        assert_eq!(pick_front_matter(readme), "language:\n- en\n- de\nlicense: apache-2.0\n");
        assert_eq!(pick_front_matter("# no front matter\nlicense: mit\n"), "");
        assert_eq!(pick_front_matter("---\nlicense: mit\nnever closed"), "");
        assert_eq!(pick_front_matter(""), "");
    }
}
