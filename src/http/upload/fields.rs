//! What a client says about an upload, in form fields or in the query string.

use utoipa::{IntoParams, ToSchema};

use crate::domain::{ColumnMapping, DatasetFormat, FieldError};

/// Characters of the dataset's name.
const MAX_NAME_CHARS: usize = 200;
/// What a file is for that jobs train on, in OpenAI's words.
pub(crate) const FINE_TUNE: &str = "fine-tune";
/// Bytes of any other field.
pub(super) const MAX_FIELD_BYTES: usize = 4096;
/// The rows that evaluate, unless the client says otherwise.
const DEFAULT_TEST_SIZE: f64 = 0.1;
/// What draws them.
const DEFAULT_SEED: u64 = 42;

/// How to read an upload. Of a multipart body these are form fields, of a raw one query parameters.
#[derive(Debug, Default, PartialEq, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadFields {
    /// What to call the dataset; the file's name by default.
    #[param(min_length = 1, max_length = 200)]
    #[schema(min_length = 1, max_length = 200)]
    pub(super) name: Option<String>,
    /// The question's column; guessed from `anchor`, `query`, `question` by default.
    #[param(min_length = 1)]
    #[schema(min_length = 1)]
    pub(super) anchor: Option<String>,
    /// The passage's column; guessed from `positive`, `context`, `passage`, `answer`, `document` by default.
    #[param(min_length = 1)]
    #[schema(min_length = 1)]
    pub(super) positive: Option<String>,
    /// The id's column; guessed from `id` by default, and rows are numbered where there is none.
    #[param(min_length = 1)]
    #[schema(min_length = 1)]
    pub(super) id: Option<String>,
    /// The layout; told by the file's name, the content type or the content by default.
    #[param(inline)]
    #[schema(inline)]
    pub(super) format: Option<DatasetFormat>,
    /// The share of the rows that evaluates; 0.1 by default, and not to be given beside an evaluation file.
    #[param(minimum = 0, exclusive_maximum = 1)]
    #[schema(minimum = 0, exclusive_maximum = 1)]
    pub(super) test_size: Option<f64>,
    /// Seeds the draw of the rows that evaluate; 42 by default.
    #[param(minimum = 0, maximum = 9007199254740991u64)]
    #[schema(minimum = 0, maximum = 9007199254740991u64)]
    pub(super) seed: Option<u64>,
    /// The file's name, where the body is the file itself.
    #[param(min_length = 1)]
    #[schema(min_length = 1)]
    pub(super) file_name: Option<String>,
}

/// As what an upload comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum UploadKind {
    /// A dataset: only its rows are kept.
    #[default]
    Dataset,
    /// A file in the sense of OpenAI's API: it is kept as it came, too.
    File,
    /// A dataset from a page's form, where a field that is left blank is left out.
    Page,
    /// A model's archive.
    Model,
}

/// A multipart upload.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "describes the body; the parts are read as they come")]
pub(crate) struct UploadForm {
    /// The rows: CSV, TSV, JSON, JSON Lines or Parquet, perhaps packed by gzip or zstd.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    /// The rows that evaluate, where they are in a file of their own.
    #[schema(value_type = Option<String>, format = Binary, content_media_type = "application/octet-stream")]
    eval_file: Option<Vec<u8>>,
    #[serde(flatten)]
    fields: UploadFields,
}

/// A multipart upload of a file that is kept as it comes.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "describes the body; the parts are read as they come")]
pub(crate) struct FileForm {
    /// What the file is for: `fine-tune`, and nothing else.
    #[schema(pattern = "^fine-tune$", example = "fine-tune")]
    purpose: String,
    #[serde(flatten)]
    upload: UploadForm,
}

/// A model's archive and what to call it.
#[derive(Debug, ToSchema)]
#[allow(dead_code, reason = "describes the body; the parts are read as they come")]
pub(crate) struct ModelForm {
    /// A sentence-transformers folder as a tar file (plain, or packed by gzip or zstd) or a ZIP file.
    #[schema(value_type = String, format = Binary, content_media_type = "application/octet-stream")]
    file: Vec<u8>,
    /// What to call it as `model`; by default the archive's name without its ending.
    #[schema(min_length = 1, max_length = 200)]
    name: Option<String>,
}

impl UploadFields {
    /// Sets a field from its text.
    ///
    /// # Errors
    /// Where there is no such field, or the text is not a value of it.
    pub(super) fn set(&mut self, field: &str, text: &str) -> Result<(), FieldError> {
        let error = |message: String| FieldError::new(field, message);
        match field {
            "name" => {
                let name = text.trim();
                let length = name.chars().count();
                if !(1..=MAX_NAME_CHARS).contains(&length) || name.chars().any(char::is_control) {
                    return Err(error(format!("1 to {MAX_NAME_CHARS} printable characters are expected")));
                }
                self.name = Some(name.to_owned());
            }
            "anchor" => self.anchor = Some(some_text(field, text)?),
            "positive" => self.positive = Some(some_text(field, text)?),
            "id" => self.id = Some(some_text(field, text)?),
            "file_name" => self.file_name = Some(some_text(field, text)?),
            "format" => {
                let format = serde_json::from_value(text.trim().to_ascii_lowercase().into());
                self.format = Some(format.map_err(|message| error(message.to_string()))?);
            }
            "test_size" => {
                let share = text.trim().parse().ok().filter(|share| (0.0..1.0).contains(share));
                self.test_size = Some(share.ok_or_else(|| error("a number from 0 to below 1 is expected".into()))?);
            }
            "seed" => {
                // Readers of JSON in other languages hold larger integers as doubles, and would show another seed.
                let seed = text.trim().parse().ok().filter(|seed| *seed < 1 << 53);
                self.seed = Some(seed.ok_or_else(|| error("a whole number from 0 to below 2^53 is expected".into()))?);
            }
            unknown => {
                let shown: String = unknown.chars().take(80).collect();
                let known = "file, eval_file, name, anchor, positive, id, format, test_size, seed, file_name";
                return Err(FieldError::new(shown, format!("there is no such field; expected one of {known}")));
            }
        }
        Ok(())
    }

    pub(super) fn mapping(&self) -> ColumnMapping {
        ColumnMapping { anchor: self.anchor.clone(), positive: self.positive.clone(), id: self.id.clone() }
    }

    pub(super) fn test_size(&self) -> f64 {
        self.test_size.unwrap_or(DEFAULT_TEST_SIZE)
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed.unwrap_or(DEFAULT_SEED)
    }

    /// The dataset's name: as given, else the file's, else `otherwise`.
    pub(super) fn dataset_name(&self, file_name: Option<&str>, otherwise: impl ToString) -> String {
        let of_file = || {
            let name: String = file_name?.chars().filter(|char| !char.is_control()).take(MAX_NAME_CHARS).collect();
            Some(name.trim().to_owned()).filter(|name| !name.is_empty())
        };
        self.name.clone().or_else(of_file).unwrap_or_else(|| otherwise.to_string())
    }
}

fn some_text(field: &str, text: &str) -> Result<String, FieldError> {
    if text.is_empty() || text.len() > MAX_FIELD_BYTES {
        return Err(FieldError::new(field, format!("1 to {MAX_FIELD_BYTES} bytes are expected")));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_from_text() {
        let mut fields = UploadFields::default();
        for (field, text) in
            [("name", " pairs "), ("anchor", "q"), ("format", "CSV"), ("test_size", "0.25"), ("seed", "7")]
        {
            fields.set(field, text).unwrap();
        }
        assert_eq!((fields.test_size(), fields.seed()), (0.25, 7));
        assert_eq!(fields.format, Some(DatasetFormat::Csv));
        assert_eq!(fields.dataset_name(Some("x.csv"), 1), "pairs");
        assert_eq!(UploadFields::default().dataset_name(Some("x\n.csv"), 1), "x.csv");
        assert_eq!(UploadFields::default().dataset_name(Some("\n"), 1), "1");
    }

    #[test]
    fn bad_values_are_refused_by_field() {
        let long = "x".repeat(MAX_FIELD_BYTES + 1);
        for (field, text) in [
            ("name", " "),
            ("name", "a\u{7}b"),
            ("anchor", ""),
            ("positive", long.as_str()),
            ("format", "xls"),
            ("test_size", "1"),
            ("test_size", "nan"),
            ("test_size", "-0.1"),
            ("seed", "-1"),
            ("seed", "9007199254740992"),
            ("negative", "x"),
        ] {
            assert_eq!(UploadFields::default().set(field, text).unwrap_err().field, field);
        }
    }
}
