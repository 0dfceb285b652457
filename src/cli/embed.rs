//! `matryo embed`: texts in, embeddings out, a line for a line, in batches of bounded size.

use std::io::{BufRead, BufReader, Read, StdinLock};

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::domain::Precision;
use crate::model::{Purpose, SentenceEncoder, Workspace};
use crate::serving::vectors;

use super::error::CliError;
use super::models::RevisionFlag;
use super::output::Output;

pub(super) const EXAMPLE: &str = "Examples:\n  \
    echo 'What was the net revenue?' | matryo embed --model sentence-transformers/all-MiniLM-L6-v2\n  \
    matryo embed --model ./run --json --dimensions 128 < texts.jsonl > embeddings.jsonl\n\n\
    Where the first line is a JSON object, every line is `{\"text\": \"…\"}`; otherwise every line is a text.";

/// Lines embedded at once.
const BATCH: usize = 512;
/// Bytes of one line.
const MAX_LINE: u64 = 16 << 20;
/// Bytes of the texts embedded at once: a batch of long lines is a shorter one.
const BATCH_BYTES: usize = 16 << 20;

#[derive(Debug, Args)]
pub(super) struct EmbedCommand {
    /// The model: a folder, a run's folder (its best checkpoint), or a name on the Hub.
    #[arg(long, value_name = "DIR|NAME")]
    model: String,

    #[command(flatten)]
    revision: RevisionFlag,

    /// Prints `{"embedding": […]}` for each text; otherwise a bare array.
    #[arg(long)]
    json: bool,

    /// Cuts embeddings to this length.
    #[arg(long, aliases = ["truncate-dim", "truncate_dim"], value_name = "LENGTH")]
    dimensions: Option<usize>,

    /// The numbers that matrix products are computed in: float32, bf16, or auto (bf16 where the processor is faster at it).
    #[arg(long, value_name = "NAME", default_value_t = Precision::Float32)]
    precision: Precision,

    /// The name of one of the model's prompts, put before each text.
    #[arg(long, alias = "prompt_name", value_name = "NAME")]
    prompt_name: Option<String>,
}

/// A line of the input where lines are JSON.
#[derive(Debug, Deserialize)]
struct TextLine {
    text: String,
}

#[derive(Debug, Serialize)]
struct EmbeddingLine<'a> {
    embedding: &'a [f32],
}

impl EmbedCommand {
    pub(super) fn run(&self) -> Result<(), CliError> {
        let model = self.revision.find(&self.model)?;
        let encoder = SentenceEncoder::load_in(&model.folder, self.precision, Purpose::Inference)?;
        let full = encoder.summary().dimension;
        let dimension = self.dimensions.unwrap_or(full);
        if !(1..=full).contains(&dimension) {
            return Err(CliError::Usage(format!(
                "--dimensions: {dimension} is not from 1 to the model's dimension of {full}"
            )));
        }
        let prompt = self.prompt(&encoder)?;
        let mut embedder = Embedder { encoder, workspace: Workspace::default(), dimension, prompt, json: self.json };
        let mut lines = Lines::new();
        let mut output = Output::lock();
        let mut batch = Vec::new();
        let mut bytes = 0;
        loop {
            let line = lines.next().map_err(|error| {
                // What stands before the bad line is good, and is answered.
                embedder.embed(&mut batch, &mut output).err().unwrap_or(error)
            })?;
            let ended = line.is_none();
            bytes += line.as_ref().map_or(0, String::len);
            batch.extend(line);
            // Whoever writes a line at a time gets each answer before the next line.
            if ended || batch.len() == BATCH || bytes >= BATCH_BYTES || lines.would_wait() {
                embedder.embed(&mut batch, &mut output)?;
                bytes = 0;
            }
            if ended {
                return Ok(());
            }
        }
    }

    fn prompt(&self, encoder: &SentenceEncoder) -> Result<String, CliError> {
        let Some(name) = &self.prompt_name else { return Ok(String::new()) };
        let prompts = encoder.prompts();
        prompts.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = prompts.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "it has none".into() } else { format!("it has {}", known.join(", ")) };
            CliError::Usage(format!("--prompt-name: the model has no prompt `{name}`; {known}"))
        })
    }
}

struct Embedder {
    encoder: SentenceEncoder,
    workspace: Workspace,
    dimension: usize,
    prompt: String,
    json: bool,
}

impl Embedder {
    /// Embeds the texts, prints them in order, and empties the batch.
    fn embed(&mut self, texts: &mut Vec<String>, output: &mut Output) -> Result<(), CliError> {
        if texts.is_empty() {
            return Ok(());
        }
        for text in texts.iter_mut() {
            text.insert_str(0, &self.prompt);
        }
        let sequences = self.encoder.tokenizer().encode_batch(texts)?;
        texts.clear();
        let summary = self.encoder.summary();
        let (full, normalize) = (summary.dimension, summary.normalize);
        let pooled = self.encoder.encode_pooled(&sequences, &mut self.workspace, &mut |_| true)?;
        let mut values = vectors::truncate(pooled, full, self.dimension);
        if normalize {
            vectors::normalize(&mut values, self.dimension);
        }
        for embedding in values.chunks_exact(self.dimension) {
            if self.json {
                output.json_line(&EmbeddingLine { embedding })?;
            } else {
                output.json_line(&embedding)?;
            }
        }
        output.flush()
    }
}

/// The texts of standard input.
struct Lines {
    input: BufReader<StdinLock<'static>>,
    number: u64,
    /// Whether lines are JSON, which the first one tells.
    json: Option<bool>,
}

impl Lines {
    fn new() -> Self {
        Self { input: BufReader::with_capacity(1 << 18, std::io::stdin().lock()), number: 0, json: None }
    }

    /// True where the next line would have to be waited for.
    fn would_wait(&self) -> bool {
        !self.input.buffer().contains(&b'\n')
    }

    /// The next text; none at the end.
    fn next(&mut self) -> Result<Option<String>, CliError> {
        loop {
            let mut line = Vec::new();
            let read = self.input.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 > MAX_LINE {
                return Err(self.bad(format!("it is longer than {MAX_LINE} bytes")));
            }
            let line = String::from_utf8(line).map_err(|_| self.bad("it is not UTF-8"))?;
            let line = line.strip_suffix('\n').unwrap_or(&line);
            let line = line.strip_suffix('\r').unwrap_or(line);
            let line = if self.number == 1 { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
            let json = *self.json.get_or_insert_with(|| line.trim_start().starts_with('{'));
            if !json {
                return Ok(Some(line.to_owned()));
            }
            if !line.trim().is_empty() {
                let parsed: Result<TextLine, _> = serde_json::from_str(line);
                return parsed.map(|line| Some(line.text)).map_err(|error| self.bad(json_problem(&error)));
            }
        }
    }

    fn bad(&self, problem: impl std::fmt::Display) -> CliError {
        CliError::Failed(format!("line {} of standard input: {problem}", self.number))
    }
}

/// serde counts lines of its own, of which there is one.
fn json_problem(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    format!("{{\"text\": \"…\"}} is expected: {message} (column {})", error.column())
}
