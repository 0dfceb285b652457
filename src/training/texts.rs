//! A run's texts as token ids, made once, and what is worth telling about them.

use std::collections::HashSet;

use crate::data::reader::count_empty;
use crate::data::text_table::TextTable;
use crate::data::tokenization::TextTokenizer;
use crate::domain::{Pair, TrainingArguments};
use crate::evaluation::RetrievalEvaluator;
use crate::evaluation::information_retrieval::RetrievalTask;
use crate::model::{ModelError, SentenceEncoder};

use super::sink::stop_if_asked;
use super::{TrainError, TrainRequest, TrainSink};

/// Token ids of every distinct text.
pub(super) struct TokenizedTexts {
    /// Token ids by text; the evaluation's texts come first.
    pub(super) sequences: Vec<Vec<u32>>,
    /// True where the sink wants to hear what evaluations find.
    pub(super) rankings_wanted: bool,
    /// Each training row's anchor and positive, as indices of `sequences`.
    pairs: Vec<[u32; 2]>,
    /// What the user should know about the texts.
    pub(super) warnings: Vec<String>,
}

impl TokenizedTexts {
    pub(super) fn prepare(
        request: &TrainRequest,
        arguments: &TrainingArguments,
        encoder: &SentenceEncoder,
        sink: &mut dyn TrainSink,
    ) -> Result<(RetrievalEvaluator, Self), TrainError> {
        let (train, eval) = (&request.train, &request.eval);
        let task = RetrievalTask::from_pairs(train, eval, arguments.deduplicate_corpus);
        let rankings_wanted = sink.on_task(&task);
        let sink = &*sink;
        let mut table = TextTable::default();
        let evaluator = RetrievalEvaluator::new(&task, &mut table);
        let pairs = train.iter().map(|pair| [table.insert(&pair.anchor), table.insert(&pair.positive)]).collect();
        let tokenizer = encoder.tokenizer();
        let sequences = table
            .tokenize(tokenizer, &mut || !sink.should_stop())
            .map_err(ModelError::from)?
            .ok_or(TrainError::Cancelled)?;
        let warnings = [
            capped_warning(&task),
            leaked_warning(train, eval),
            empty_warning(train, eval),
            truncated_warning(&table, &sequences, tokenizer, sink)?,
        ];
        let warnings = warnings.into_iter().flatten().collect();
        Ok((evaluator, Self { sequences, rankings_wanted, pairs, warnings }))
    }

    /// Token ids of these rows' anchors, then of their positives.
    pub(super) fn sequences_of<'a>(&'a self, rows: &'a [u32]) -> impl Iterator<Item = &'a [u32]> {
        let column = |column: usize| rows.iter().map(move |row| self.pairs[*row as usize][column]);
        column(0).chain(column(1)).map(|text| self.sequences[text as usize].as_slice())
    }
}

fn capped_warning(task: &RetrievalTask) -> Option<String> {
    let (capped, queries) = (task.capped_queries, task.queries.len());
    (capped > 0).then(|| {
        format!(
            "{capped} of {queries} evaluation questions have a passage that stands in the corpus more than once, and only \
             one of the copies counts as their answer, which caps their score; `deduplicate_corpus` makes copies one"
        )
    })
}

fn empty_warning(train: &[Pair], eval: &[Pair]) -> Option<String> {
    let empty = count_empty(train.iter().chain(eval));
    (empty > 0).then(|| {
        format!("{empty} of {} rows have an empty question or passage, which teaches nothing", train.len() + eval.len())
    })
}

fn leaked_warning(train: &[Pair], eval: &[Pair]) -> Option<String> {
    let trained: HashSet<(&str, &str)> = train.iter().map(|pair| (&*pair.anchor, &*pair.positive)).collect();
    let leaked = eval.iter().filter(|pair| trained.contains(&(&*pair.anchor, &*pair.positive))).count();
    (leaked > 0).then(|| {
        format!(
            "{leaked} of {} evaluation pairs are also trained on, so their scores say little about new questions",
            eval.len()
        )
    })
}

fn truncated_warning(
    table: &TextTable<'_>,
    sequences: &[Vec<u32>],
    tokenizer: &TextTokenizer,
    sink: &dyn TrainSink,
) -> Result<Option<String>, TrainError> {
    let limit = tokenizer.max_seq_length();
    let mut truncated = 0;
    // Only a text that fills the limit can have been cut.
    for (row, _) in (0_u32..).zip(sequences).filter(|(_, sequence)| sequence.len() >= limit) {
        stop_if_asked(sink)?;
        truncated += usize::from(tokenizer.count(table.text(row)).map_err(ModelError::from)? > limit);
    }
    Ok((truncated > 0)
        .then(|| format!("{truncated} of {} texts are longer than {limit} tokens and were cut there", table.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(id: &str, anchor: &str, positive: &str) -> Pair {
        Pair { id: id.into(), anchor: anchor.into(), positive: positive.into() }
    }

    #[test]
    fn warnings_count_what_they_warn_of() {
        let train = [pair("1", "a", "p"), pair("2", "b", "q")];
        let eval = [pair("3", "a", "p"), pair("4", "c", "p"), pair("5", "d", "r")];
        let warning = |deduplicate| capped_warning(&RetrievalTask::from_pairs(&train, &eval, deduplicate));
        assert!(warning(false).expect("p stands three times").starts_with("2 of 3 evaluation questions"));
        assert_eq!(warning(true), None);
        assert!(leaked_warning(&train, &eval).expect("one row is in both").starts_with("1 of 3 evaluation pairs"));
        assert_eq!(leaked_warning(&train, &eval[1..]), None);
        assert!(empty_warning(&[pair("1", " ", "p")], &eval).expect("one is blank").starts_with("1 of 4 rows"));
        assert_eq!(empty_warning(&train, &eval), None);
    }
}
