//! What an evaluation asks, and of what.

use std::collections::HashMap;

use crate::domain::Pair;

/// What is asked of what, and which documents answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetrievalTask {
    /// Texts asked with.
    pub queries: Vec<String>,
    /// Texts searched.
    pub corpus: Vec<String>,
    /// For each query, the indices in `corpus` of the documents that answer it.
    pub relevant: Vec<Vec<u32>>,
    /// The ids of the queries' rows.
    pub query_ids: Vec<String>,
    /// The ids of the documents' rows; of a document that stands for several, the first's.
    pub document_ids: Vec<String>,
    /// Queries whose score identical passages cap: their positive stands in the corpus more than once, and only
    /// one of the copies counts. 0 where the corpus is deduplicated.
    pub capped_queries: usize,
}

impl RetrievalTask {
    /// Queries are the evaluation rows' anchors; the corpus is every positive, of training and evaluation rows. A
    /// query's answer is its own row's positive, as the recipe counts; deduplicated, identical positives are one
    /// document, which answers the query of each of its rows.
    ///
    /// The corpus is ordered by the rows' ids (as text; training rows first where two are equal), because a search
    /// orders equal scores by corpus index, and sentence-transformers orders them by id: which of two identical
    /// passages comes first decides whether a query is answered.
    #[must_use]
    pub fn from_pairs(train: &[Pair], eval: &[Pair], deduplicate_corpus: bool) -> Self {
        let mut rows: Vec<(&Pair, Option<usize>)> = train.iter().map(|pair| (pair, None)).collect();
        rows.extend(eval.iter().enumerate().map(|(query, pair)| (pair, Some(query))));
        rows.sort_by(|(left, _), (right, _)| left.id.cmp(&right.id));

        let mut task = Self {
            queries: eval.iter().map(|pair| pair.anchor.clone()).collect(),
            corpus: Vec::new(),
            relevant: vec![Vec::new(); eval.len()],
            query_ids: eval.iter().map(|pair| pair.id.clone()).collect(),
            document_ids: Vec::new(),
            capped_queries: 0,
        };
        // Where each text stands first, and how often.
        let mut seen: HashMap<&str, (u32, u32)> = HashMap::with_capacity(rows.len());
        for (pair, query) in rows {
            let next = u32::try_from(task.corpus.len()).expect("fewer than 2^32 documents");
            let (first, copies) = seen.entry(&pair.positive).or_insert((next, 0));
            *copies += 1;
            let document = if deduplicate_corpus { *first } else { next };
            if document == next {
                task.corpus.push(pair.positive.clone());
                task.document_ids.push(pair.id.clone());
            }
            if let Some(query) = query {
                task.relevant[query].push(document);
            }
        }
        if !deduplicate_corpus {
            task.capped_queries = eval.iter().filter(|pair| seen[pair.positive.as_str()].1 > 1).count();
        }
        task
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(id: &str, anchor: &str, positive: &str) -> Pair {
        Pair { id: id.into(), anchor: anchor.into(), positive: positive.into() }
    }

    fn rows() -> (Vec<Pair>, Vec<Pair>) {
        let train = vec![pair("2", "a", "same"), pair("10", "b", "other"), pair("7", "c", "same")];
        let eval = vec![pair("5", "d", "same"), pair("1", "e", "alone"), pair("10", "f", "same")];
        (train, eval)
    }

    #[test]
    fn the_corpus_is_every_positive_in_the_order_of_ids() {
        let (train, eval) = rows();
        let task = RetrievalTask::from_pairs(&train, &eval, false);
        assert_eq!(task.queries, ["d", "e", "f"]);
        // Ids as text: 1, 10 (training), 10 (evaluation), 2, 5, 7.
        assert_eq!(task.corpus, ["alone", "other", "same", "same", "same", "same"]);
        assert_eq!(task.relevant, [vec![4], vec![0], vec![2]]);
        assert_eq!(task.query_ids, ["5", "1", "10"]);
        assert_eq!(task.document_ids, ["1", "10", "10", "2", "5", "7"]);
        assert_eq!(task.capped_queries, 2);
    }

    #[test]
    fn deduplicated_a_document_answers_each_of_its_rows() {
        let (train, eval) = rows();
        let task = RetrievalTask::from_pairs(&train, &eval, true);
        assert_eq!(task.corpus, ["alone", "other", "same"]);
        assert_eq!(task.relevant, [vec![2], vec![0], vec![2]]);
        assert_eq!(task.document_ids, ["1", "10", "10"]);
        assert_eq!(task.capped_queries, 0);
    }
}
