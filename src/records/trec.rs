//! TREC's files, which trec_eval and its kin read: which documents answer which questions (qrels), and what was found
//! (a run).
//!
//! Readers sort a question's documents by score, as float32, and equal scores by the document's name backwards. We put
//! equal scores in the corpus' order. So that readers keep our order, a score that is not below the one before it is
//! written as the next lower float32.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use crate::domain::RunFolder;
use crate::evaluation::information_retrieval::RetrievalTask;
use crate::evaluation::{Hit, Rankings};

use super::write_whole;

/// The last column of a run: who made it.
const RUN_NAME: &str = "matryo";

/// A task's questions and documents by names that may stand in these files.
#[derive(Debug)]
pub struct TrecNames {
    queries: Vec<String>,
    documents: Vec<String>,
}

impl TrecNames {
    /// Names questions and documents after their rows: the row's id, its white space, `%`, `#` and control characters
    /// percent-encoded; where an id comes again, with `#2`, `#3` and so on after it.
    #[must_use]
    pub fn new(task: &RetrievalTask) -> Self {
        Self { queries: unique(&task.query_ids), documents: unique(&task.document_ids) }
    }

    /// Writes which documents answer which questions.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn write_qrels(&self, task: &RetrievalTask, path: &Path) -> io::Result<()> {
        write_whole(path, |file| {
            for (query, relevant) in self.queries.iter().zip(&task.relevant) {
                for document in relevant {
                    writeln!(file, "{query} 0 {} 1", self.documents[*document as usize])?;
                }
            }
            Ok(())
        })
    }

    /// Writes what was found: a file for each dimension into `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn write_runs(&self, rankings: &Rankings, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for (dim, lists) in &rankings.by_dim {
            write_whole(&folder.join(RunFolder::trec_run_name(*dim)), |file| {
                self.queries.iter().zip(lists).try_for_each(|(query, hits)| self.write_list(query, hits, file))
            })?;
        }
        Ok(())
    }

    fn write_list(&self, query: &str, hits: &[Hit], file: &mut dyn Write) -> io::Result<()> {
        let mut before = f32::INFINITY;
        for (rank, hit) in hits.iter().enumerate() {
            let score = if hit.score < before { hit.score } else { before.next_down() };
            before = score;
            // The shortest decimals that read back as the same float32.
            writeln!(file, "{query} Q0 {} {} {score} {RUN_NAME}", self.documents[hit.document as usize], rank + 1)?;
        }
        Ok(())
    }
}

fn unique(ids: &[String]) -> Vec<String> {
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(ids.len());
    let mut names = Vec::with_capacity(ids.len());
    for id in ids {
        let count = seen.entry(id).or_default();
        *count += 1;
        names.push(if *count == 1 { encoded(id) } else { format!("{}#{count}", encoded(id)) });
    }
    names
}

fn encoded(id: &str) -> String {
    let mut encoded = String::with_capacity(id.len());
    for letter in id.chars() {
        if letter.is_whitespace() || letter.is_control() || matches!(letter, '%' | '#') {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                encoded.push_str(&format!("%{byte:02X}"));
            }
        } else {
            encoded.push(letter);
        }
    }
    // A column cannot be empty.
    if encoded.is_empty() { "%".to_owned() } else { encoded }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(queries: &[&str], documents: &[&str], relevant: &[&[u32]]) -> RetrievalTask {
        let texts = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        RetrievalTask {
            queries: texts(queries),
            corpus: texts(documents),
            relevant: relevant.iter().map(|documents| documents.to_vec()).collect(),
            query_ids: texts(queries),
            document_ids: texts(documents),
            capped_queries: 0,
        }
    }

    #[test]
    fn names_are_unique_and_single_words() {
        let ids = ["1", "a b", "1", "a%20b", "1", "1#2", "", "Grüße\u{2028}"].map(str::to_owned);
        let names = unique(&ids);
        assert_eq!(names, ["1", "a%20b", "1#2", "a%2520b", "1#3", "1%232", "%", "Grüße%E2%80%A8"]);
    }

    #[test]
    fn qrels_name_each_answer() {
        let folder = tempfile::tempdir().expect("a folder");
        let task = task(&["q1", "q2"], &["d1", "d2", "d2"], &[&[0], &[1, 2]]);
        let path = folder.path().join("qrels.txt");
        TrecNames::new(&task).write_qrels(&task, &path).expect("it is written");
        assert_eq!(fs::read_to_string(path).expect("it reads"), "q1 0 d1 1\nq2 0 d2 1\nq2 0 d2#2 1\n");
    }

    #[test]
    fn scores_fall_strictly_and_read_back_so() {
        let folder = tempfile::tempdir().expect("a folder");
        let task = task(&["q"], &["a", "b", "c", "d", "e", "f"], &[&[0]]);
        let score = [1.0, 1.0, 1.0, 0.5, 0.0, -0.0];
        let hits = (0..6).zip(score).map(|(document, score)| Hit { document, score }).collect();
        let rankings = Rankings { by_dim: vec![(16, vec![hits])] };
        TrecNames::new(&task).write_runs(&rankings, &folder.path().join("new")).expect("they are written");
        let run = fs::read_to_string(folder.path().join("new/dim-16.txt")).expect("it reads");
        let lines: Vec<Vec<&str>> = run.lines().map(|line| line.split(' ').collect()).collect();
        let column = |column: usize| lines.iter().map(|line| line[column]).collect::<Vec<_>>();
        assert_eq!(column(2), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(column(3), ["1", "2", "3", "4", "5", "6"]);
        let scores: Vec<f32> = column(4).iter().map(|score| score.parse::<f64>().expect("a number") as f32).collect();
        assert!(scores.is_sorted_by(|left, right| left > right), "{scores:?}");
        assert!(lines.iter().all(|line| line.len() == 6 && line[1] == "Q0" && line[5] == RUN_NAME), "{run}");
    }
}
