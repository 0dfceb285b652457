//! From what each model found to what is shown: ranks, the passages that answer, and what moved against the first model.

use serde::Serialize;
use utoipa::ToSchema;

use crate::evaluation::search::Hit;

/// Characters of a passage that are shown.
const SHOWN_CHARS: usize = 4000;

/// A passage that a model found.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FoundPassage {
    /// Its rank, from 1.
    pub rank: usize,
    /// Cosine similarity of question and passage.
    pub score: f32,
    /// Its place in the corpus, from 0.
    pub document: u32,
    /// Its text, at most the first 4,000 characters of it.
    pub passage: String,
    /// Whether it answers the question, where the question is one of the evaluation rows.
    pub is_relevant: Option<bool>,
    /// Where it stands against the first model; none in the first model's own list.
    pub moved: Option<Movement>,
    /// Its rank by the first model, as far as the first 100.
    pub rank_before: Option<usize>,
}

/// Where a passage stands against the first model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Movement {
    /// Nearer to the top.
    Up,
    /// Further from the top.
    Down,
    /// Where it was.
    Same,
    /// Not in the first model's list.
    In,
}

/// A passage of the first model's list that is not in this one's.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct LeftPassage {
    /// Its place in the corpus, from 0.
    pub document: u32,
    /// Its rank by the first model.
    pub rank_before: usize,
    /// Its rank by this model, as far as the first 100.
    pub rank: Option<usize>,
    /// Its text, at most the first 4,000 characters of it.
    pub passage: String,
}

/// What all lists have in common.
pub(super) struct Ranking<'a> {
    pub(super) passages: &'a [String],
    /// Passages that answer the question, ascending, where that is known.
    pub(super) relevant: Option<&'a [u32]>,
    /// Hits of a list.
    pub(super) top_k: usize,
    /// What the first model found, best first; none where this is the first.
    pub(super) before: Option<&'a [Hit]>,
}

impl Ranking<'_> {
    /// The list of a model that found `hits`, best first.
    pub(super) fn list(&self, hits: &[Hit]) -> Vec<FoundPassage> {
        let found = |(place, hit): (usize, &Hit)| {
            let rank_before = self.before.and_then(|before| rank(before, hit.document));
            FoundPassage {
                rank: place + 1,
                score: hit.score,
                document: hit.document,
                passage: self.text(hit.document),
                is_relevant: self.relevant.map(|relevant| relevant.binary_search(&hit.document).is_ok()),
                moved: self.before.map(|_| self.movement(place + 1, rank_before)),
                rank_before,
            }
        };
        hits.iter().take(self.top_k).enumerate().map(found).collect()
    }

    /// What of the first model's list is not in this model's.
    pub(super) fn left(&self, hits: &[Hit]) -> Vec<LeftPassage> {
        let before = self.before.unwrap_or_default().iter().take(self.top_k).enumerate();
        let left = before.filter_map(|(place, Hit { document, .. })| {
            let rank = rank(hits, *document);
            let is_gone = rank.is_none_or(|rank| rank > self.top_k);
            let (document, passage) = (*document, self.text(*document));
            is_gone.then_some(LeftPassage { document, rank_before: place + 1, rank, passage })
        });
        left.collect()
    }

    /// The best rank of a passage that answers, as far as the first 100.
    pub(super) fn relevant_rank(&self, hits: &[Hit]) -> Option<usize> {
        let relevant = self.relevant?;
        hits.iter().position(|hit| relevant.binary_search(&hit.document).is_ok()).map(|place| place + 1)
    }

    fn movement(&self, rank: usize, before: Option<usize>) -> Movement {
        match before.filter(|before| *before <= self.top_k) {
            None => Movement::In,
            Some(before) if before > rank => Movement::Up,
            Some(before) if before < rank => Movement::Down,
            Some(_) => Movement::Same,
        }
    }

    fn text(&self, document: u32) -> String {
        self.passages[document as usize].chars().take(SHOWN_CHARS).collect()
    }
}

fn rank(hits: &[Hit], document: u32) -> Option<usize> {
    hits.iter().position(|hit| hit.document == document).map(|place| place + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(documents: &[u32]) -> Vec<Hit> {
        documents.iter().map(|document| Hit { document: *document, score: 0.5 }).collect()
    }

    #[test]
    fn what_moved_is_told_by_both_lists() {
        let passages: Vec<String> = (0..6).map(|number| format!("passage {number}")).collect();
        let (before, now) = (hits(&[0, 1, 2, 3, 4]), hits(&[1, 0, 4, 2, 5]));
        let first = Ranking { passages: &passages, relevant: Some(&[2, 4]), top_k: 3, before: None };
        assert!(first.list(&before).iter().all(|found| found.moved.is_none() && found.rank_before.is_none()));
        assert!(first.left(&before).is_empty());
        assert_eq!(first.relevant_rank(&before), Some(3));

        let second = Ranking { before: Some(&before), ..first };
        let list = second.list(&now);
        let moves: Vec<_> = list.iter().map(|found| (found.document, found.moved, found.rank_before)).collect();
        let expected = [
            (1, Some(Movement::Up), Some(2)),
            (0, Some(Movement::Down), Some(1)),
            // Known of the first model, but beyond its list.
            (4, Some(Movement::In), Some(5)),
        ];
        assert_eq!(moves, expected);
        assert_eq!(
            list.iter().map(|found| found.is_relevant).collect::<Vec<_>>(),
            [Some(false), Some(false), Some(true)]
        );
        assert_eq!(second.relevant_rank(&now), Some(3));
        let left = second.left(&now);
        let gone = LeftPassage { document: 2, rank_before: 3, rank: Some(4), passage: "passage 2".into() };
        assert_eq!(left, [gone]);
    }

    #[test]
    fn long_passages_are_cut_between_characters() {
        let passages = ["é".repeat(SHOWN_CHARS + 1)];
        let ranking = Ranking { passages: &passages, relevant: None, top_k: 1, before: None };
        let list = ranking.list(&hits(&[0]));
        assert_eq!(list[0].passage, "é".repeat(SHOWN_CHARS));
        assert_eq!(list[0].is_relevant, None);
    }
}
