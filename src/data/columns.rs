//! Finds the columns that hold anchors, positives and ids.

use crate::domain::ColumnMapping;

use super::error::DatasetError;

/// Names under which people keep questions, the likeliest first.
pub const ANCHOR_NAMES: [&str; 3] = ["anchor", "query", "question"];
/// Names under which people keep passages, the likeliest first.
pub const POSITIVE_NAMES: [&str; 5] = ["positive", "context", "passage", "answer", "document"];
/// Names under which people keep ids.
pub const ID_NAMES: [&str; 1] = ["id"];

/// Where each part of a pair stands in a file's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnIndices {
    /// The question's column.
    pub anchor: usize,
    /// The passage's column.
    pub positive: usize,
    /// The id's column, where there is one.
    pub id: Option<usize>,
}

impl ColumnIndices {
    /// Finds the columns by the mapping, and by their names where it leaves one out. Names match whatever their case,
    /// spaces around them apart; an exact match comes first.
    ///
    /// # Errors
    /// [`DatasetError::Columns`] where a column is not there or would be used twice.
    pub fn find(mapping: &ColumnMapping, header: &[String]) -> Result<Self, DatasetError> {
        // Explicit columns first: a guess must not take one that the mapping gives to another part.
        let explicit = |field, name: &Option<String>| match name {
            None => Ok(None),
            Some(name) => position(header, name).map(Some).ok_or_else(|| DatasetError::Columns {
                field,
                problem: format!("the mapping names `{name}` as {field}, and there is no such column"),
                found: header.to_vec(),
                tried: vec![name.clone()],
            }),
        };
        let anchor = explicit("anchor", &mapping.anchor)?;
        let positive = explicit("positive", &mapping.positive)?;
        let id = explicit("id", &mapping.id)?;
        for (field, this, others) in [("positive", positive, [anchor, None]), ("id", id, [anchor, positive])] {
            if this.is_some() && others.contains(&this) {
                let name = this.map_or("", |index| header[index].as_str());
                return Err(DatasetError::Columns {
                    field,
                    problem: format!("the mapping uses column `{name}` twice"),
                    found: header.to_vec(),
                    tried: vec![name.to_owned()],
                });
            }
        }
        let taken = [anchor, positive, id];
        let guess = |names: &[&str]| named(header, names).find(|index| !taken.contains(&Some(*index)));
        let required = |field, found: Option<usize>, names: &[&str]| {
            found.or_else(|| guess(names)).ok_or_else(|| DatasetError::Columns {
                field,
                problem: format!(
                    "no column is called {}; name the {field} column in the mapping",
                    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ")
                ),
                found: header.to_vec(),
                tried: names.iter().map(ToString::to_string).collect(),
            })
        };
        Ok(Self {
            anchor: required("anchor", anchor, &ANCHOR_NAMES)?,
            positive: required("positive", positive, &POSITIVE_NAMES)?,
            id: id.or_else(|| guess(&ID_NAMES)),
        })
    }

    /// The mapping that these columns are, in the file's own names.
    #[must_use]
    pub fn mapping(&self, header: &[String]) -> ColumnMapping {
        ColumnMapping {
            anchor: Some(header[self.anchor].clone()),
            positive: Some(header[self.positive].clone()),
            id: self.id.map(|index| header[index].clone()),
        }
    }

    /// The columns that nothing reads.
    #[must_use]
    pub fn ignored(&self, header: &[String]) -> Vec<String> {
        let used = [Some(self.anchor), Some(self.positive), self.id];
        let unused = header.iter().enumerate().filter(|(index, _)| !used.contains(&Some(*index)));
        unused.map(|(_, name)| name.clone()).collect()
    }
}

/// What the columns' names tell by themselves; a part that no name tells is left out.
#[must_use]
pub fn guess(header: &[String]) -> ColumnMapping {
    let first = |names: &[&str]| named(header, names).next().map(|index| header[index].clone());
    ColumnMapping { anchor: first(&ANCHOR_NAMES), positive: first(&POSITIVE_NAMES), id: first(&ID_NAMES) }
}

/// True where a column of this name may be read, whatever the other columns are.
#[must_use]
pub fn may_be_read(mapping: &ColumnMapping, name: &str) -> bool {
    let explicit = [&mapping.anchor, &mapping.positive, &mapping.id];
    let guesses = ANCHOR_NAMES.iter().chain(&POSITIVE_NAMES).chain(&ID_NAMES).copied();
    explicit.into_iter().flatten().map(String::as_str).chain(guesses).any(|wanted| same_name(wanted, name))
}

fn same_name(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.trim().to_lowercase()
}

/// The columns that bear one of these names, the likeliest first.
fn named<'a>(header: &'a [String], names: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    names.iter().filter_map(|name| position(header, name))
}

fn position(header: &[String], name: &str) -> Option<usize> {
    header.iter().position(|column| column == name).or_else(|| header.iter().position(|column| same_name(column, name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn mapping(anchor: &str, positive: &str, id: &str) -> ColumnMapping {
        let some = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        ColumnMapping { anchor: some(anchor), positive: some(positive), id: some(id) }
    }

    #[test]
    fn guesses_follow_the_stated_order() {
        let columns = header(&["Id ", "question", "Query", "document", "ANSWER", "note"]);
        let found = ColumnIndices::find(&ColumnMapping::default(), &columns).unwrap();
        assert_eq!(found, ColumnIndices { anchor: 2, positive: 4, id: Some(0) });
        assert_eq!(found.mapping(&columns), mapping("Query", "ANSWER", "Id "));
        assert_eq!(found.ignored(&columns), ["question", "document", "note"]);
    }

    #[test]
    fn what_names_tell_is_told_even_where_a_part_is_missing() {
        assert_eq!(guess(&header(&["n", "Question", "text"])), mapping("Question", "", ""));
        assert_eq!(guess(&header(&["id", "answer", "query"])), mapping("query", "answer", "id"));
        assert_eq!(guess(&[]), ColumnMapping::default());
    }

    #[test]
    fn the_mapping_comes_before_guesses_and_takes_its_columns_from_them() {
        let columns = header(&["anchor", "query", "answer", "positive"]);
        let found = ColumnIndices::find(&mapping("answer", "anchor", ""), &columns).unwrap();
        assert_eq!(found, ColumnIndices { anchor: 2, positive: 0, id: None });
        let found = ColumnIndices::find(&mapping("", "anchor", ""), &columns).unwrap();
        assert_eq!(found, ColumnIndices { anchor: 1, positive: 0, id: None });
    }

    #[test]
    fn an_exact_name_comes_before_one_of_another_case() {
        let columns = header(&["Anchor", "anchor", "positive"]);
        assert_eq!(ColumnIndices::find(&mapping("anchor", "", ""), &columns).unwrap().anchor, 1);
        assert_eq!(ColumnIndices::find(&mapping("ANCHOR", "", ""), &columns).unwrap().anchor, 0);
    }

    #[test]
    fn what_is_missing_is_said_with_what_was_found() {
        let columns = header(&["anchor", "text"]);
        let error = ColumnIndices::find(&ColumnMapping::default(), &columns).unwrap_err();
        let DatasetError::Columns { field, found, tried, .. } = &error else { panic!("{error}") };
        assert_eq!((*field, found, tried.len()), ("positive", &columns, POSITIVE_NAMES.len()));
        assert!(error.to_string().contains("`text`"), "{error}");
        let error = ColumnIndices::find(&mapping("", "txt", ""), &columns).unwrap_err();
        let DatasetError::Columns { field, tried, .. } = error else { panic!("{error}") };
        assert_eq!((field, tried), ("positive", vec!["txt".to_owned()]));
    }

    #[test]
    fn no_column_is_used_twice() {
        let columns = header(&["a", "b", "positive"]);
        for (mapping, wrong) in
            [(mapping("a", "A", ""), "positive"), (mapping("a", "b", "a"), "id"), (mapping("a", "b", "b"), "id")]
        {
            let error = ColumnIndices::find(&mapping, &columns).unwrap_err();
            let DatasetError::Columns { field, problem, .. } = error else { panic!("{error}") };
            assert_eq!(field, wrong);
            assert!(problem.contains("twice"), "{problem}");
        }
    }
}
