//! Code to paste that embeds a text by a model of this server, in three languages.

use axum::http::{HeaderMap, header};
use serde_json::{Value, json};

/// The variable that holds the key: the key itself never stands on a page.
const KEY_VARIABLE: &str = "MATRYO_API_KEY";
/// What is embedded.
const EXAMPLE_TEXT: &str = "What was the revenue of 2023?";
/// A host's name is no longer than this, with its port.
const MAX_HOST_CHARS: usize = 255 + 6;

/// What the code is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snippets {
    /// Such as `http://localhost:8080`.
    pub(super) base_url: String,
    pub(super) model: String,
    pub(super) dimensions: Option<usize>,
    pub(super) needs_key: bool,
}

impl Snippets {
    /// For a shell.
    pub(super) fn curl(&self) -> String {
        let mut lines = vec![format!("curl {}/v1/embeddings", self.base_url)];
        if self.needs_key {
            lines.push(format!("-H \"Authorization: Bearer ${KEY_VARIABLE}\""));
        }
        lines.push("-H 'Content-Type: application/json'".to_owned());
        lines.push(format!("-d '{}'", self.body().to_string().replace('\'', r"'\''")));
        lines.join(" \\\n  ")
    }

    /// For OpenAI's Python client.
    pub(super) fn python(&self) -> String {
        let (import, key) = if self.needs_key {
            ("import os\n\n", format!("os.environ[{}]", literal(KEY_VARIABLE)))
        } else {
            ("", literal("not needed"))
        };
        let Self { base_url, model, .. } = self;
        format!(
            "{import}from openai import OpenAI\n\n\
             client = OpenAI(base_url={}, api_key={key})\n\
             answer = client.embeddings.create(\n    model={},\n    input=[{}],\n{})\n\
             print(answer.data[0].embedding)",
            literal(&format!("{base_url}/v1")),
            literal(model),
            literal(EXAMPLE_TEXT),
            self.dimensions.map(|dimensions| format!("    dimensions={dimensions},\n")).unwrap_or_default(),
        )
    }

    /// For JavaScript, without a package.
    pub(super) fn javascript(&self) -> String {
        let Self { base_url, model, .. } = self;
        let key = if self.needs_key {
            format!("    Authorization: `Bearer ${{process.env.{KEY_VARIABLE}}}`,\n")
        } else {
            String::new()
        };
        let dimensions =
            self.dimensions.map(|dimensions| format!("    dimensions: {dimensions},\n")).unwrap_or_default();
        format!(
            "const response = await fetch({}, {{\n  method: \"POST\",\n  headers: {{\n    \"Content-Type\": \
             \"application/json\",\n{key}  }},\n  body: JSON.stringify({{\n    model: {},\n    input: [{}],\n\
             {dimensions}  }}),\n}});\n\
             if (!response.ok) throw new Error(await response.text());\n\
             const {{ data }} = await response.json();\n\
             console.log(data[0].embedding);",
            literal(&format!("{base_url}/v1/embeddings")),
            literal(model),
            literal(EXAMPLE_TEXT),
        )
    }

    fn body(&self) -> Value {
        let mut body = json!({ "model": self.model, "input": [EXAMPLE_TEXT] });
        if let Some(dimensions) = self.dimensions {
            body["dimensions"] = dimensions.into();
        }
        body
    }
}

/// A string as JSON writes it, which Python and JavaScript read alike.
fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

/// The address that the browser reached this server by; what is no host's name does not get onto a page that people copy
/// commands from.
pub(super) fn base_url(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_host = |host: &&str| {
        (1..=MAX_HOST_CHARS).contains(&host.len())
            && host
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-' | '_' | ':' | '[' | ']'))
            && !host.starts_with('-')
    };
    let host = text(header::HOST.as_str()).filter(is_host).unwrap_or("localhost:8080");
    // A proxy that ends TLS says so.
    let scheme = if text("x-forwarded-proto") == Some("https") { "https" } else { "http" };
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn snippets(model: &str, dimensions: Option<usize>, needs_key: bool) -> Snippets {
        Snippets { base_url: "http://localhost:8080".into(), model: model.into(), dimensions, needs_key }
    }

    #[test]
    fn code_names_the_model_the_dimension_and_where_the_key_is() {
        let open = snippets("org/name", None, false);
        let locked = snippets("org/name", Some(128), true);
        for (open, locked) in
            [(open.curl(), locked.curl()), (open.python(), locked.python()), (open.javascript(), locked.javascript())]
        {
            assert!(
                open.contains("org/name") && !open.contains("imensions") && !open.contains("MATRYO_API_KEY"),
                "{open}"
            );
            assert!(locked.contains("dimensions") && locked.contains("128"), "{locked}");
            assert!(locked.contains("MATRYO_API_KEY"), "{locked}");
        }
    }

    #[test]
    fn names_cannot_end_the_string_that_they_stand_in() {
        let odd = snippets("it's \"$(id)\" `x` \\", None, false);
        assert!(odd.curl().contains(r#""model":"it'\''s \"$(id)\" `x` \\""#), "{}", odd.curl());
        for code in [odd.python(), odd.javascript()] {
            assert!(code.contains(r#""it's \"$(id)\" `x` \\""#), "{code}");
        }
    }

    #[test]
    fn the_address_is_the_one_that_was_asked() {
        let url =
            |host: &'static str| base_url(&HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(host))]));
        assert_eq!(url("matryo.example:8080"), "http://matryo.example:8080");
        assert_eq!(url("[::1]:80"), "http://[::1]:80");
        for odd in ["a b", "a;id", "$(id)", "", "a'b", "-o/etc/x"] {
            assert_eq!(url(odd), "http://localhost:8080", "{odd}");
        }
        let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("a.example"))]);
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        assert_eq!(base_url(&headers), "https://a.example");
    }
}
