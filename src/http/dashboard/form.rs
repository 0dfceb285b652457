//! Forms: what a person gave, and fields with their help and what is wrong with them.

use maud::{Markup, Render, html};

use super::parts::sentence;
use crate::domain::FieldError;

/// The texts of a form's fields.
#[derive(Debug, Clone, Default)]
pub(super) struct Values(Vec<(String, String)>);

impl From<Vec<(String, String)>> for Values {
    fn from(fields: Vec<(String, String)>) -> Self {
        Self(fields)
    }
}

impl Values {
    /// A field's text; empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(field, _)| field == name).map_or("", |(_, text)| text)
    }

    /// Sets a field, in place of what it held.
    pub(super) fn set(&mut self, name: &str, text: impl Into<String>) {
        self.0.retain(|(field, _)| field != name);
        self.0.push((name.to_owned(), text.into()));
    }
}

/// A form that is shown: what it holds, and what is wrong with that.
#[derive(Debug, Clone, Copy)]
pub(super) struct FormView<'a> {
    pub(super) values: &'a Values,
    pub(super) errors: &'a [FieldError],
    /// Stands before fields' names in their ids, where another form of the page has fields of the same names.
    pub(super) prefix: &'a str,
}

/// A field on one line.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Input<'a> {
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    /// A name of the same in code.
    pub(super) code: &'a str,
    pub(super) help: &'a str,
    pub(super) placeholder: Option<&'a str>,
    /// Which keys a phone shows.
    pub(super) inputmode: Option<&'a str>,
    pub(super) required: bool,
    /// It is not shown while it is typed, and never sent back.
    pub(super) secret: bool,
}

impl FormView<'_> {
    /// A field's id.
    pub(super) fn id(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// True where something is wrong with a field.
    pub(super) fn is_wrong(&self, name: &str) -> bool {
        self.errors.iter().any(|error| error.field == name)
    }

    /// The ids of what describes a field, for its `aria-describedby`.
    pub(super) fn described_by(&self, name: &str, help: &str) -> Option<String> {
        let help = (!help.is_empty()).then(|| format!("{}-help", self.id(name)));
        let error = self.is_wrong(name).then(|| format!("{}-error", self.id(name)));
        let ids: Vec<String> = [help, error].into_iter().flatten().collect();
        (!ids.is_empty()).then(|| ids.join(" "))
    }

    /// `true` where something is wrong, for `aria-invalid`.
    pub(super) fn invalid(&self, name: &str) -> Option<&'static str> {
        self.is_wrong(name).then_some("true")
    }

    /// What is wrong with a field, to stand beside it.
    pub(super) fn field_errors(&self, name: &str) -> Markup {
        html! {
            @if self.is_wrong(name) {
                div class="field-error" id={ (self.id(name)) "-error" } {
                    @for error in self.errors.iter().filter(|error| error.field == name) {
                        p { (sentence(&error.message)) }
                    }
                }
            }
        }
    }

    /// A label, a control of this name, its help and what is wrong with it.
    pub(super) fn field(&self, name: &str, label: &impl Render, help: &str, control: &Markup) -> Markup {
        html! {
            div class={ "field" @if self.is_wrong(name) { " wrong" } } {
                label for=(self.id(name)) { (label) }
                (control)
                @if !help.is_empty() { p class="hint" id={ (self.id(name)) "-help" } { (help) } }
                (self.field_errors(name))
            }
        }
    }

    /// A field on one line.
    pub(super) fn input(&self, input: &Input<'_>) -> Markup {
        let Input { name, label, code, help, placeholder, inputmode, required, secret } = *input;
        let (kind, value, autocomplete) =
            if secret { ("password", None, "new-password") } else { ("text", Some(self.values.get(name)), "off") };
        let label = html! { (label) @if !code.is_empty() { " " code { (code) } } };
        let control = html! {
            input id=(self.id(name)) name=(name) type=(kind) value=[value] placeholder=[placeholder]
                inputmode=[inputmode] required[required] autocomplete=(autocomplete) spellcheck="false"
                aria-describedby=[self.described_by(name, help)] aria-invalid=[self.invalid(name)];
        };
        self.field(name, &label, help, &control)
    }

    /// What is wrong with fields that the form does not show, and how much there is to mend at all.
    pub(super) fn summary(&self, is_shown: impl Fn(&str) -> bool) -> Markup {
        html! {
            @if !self.errors.is_empty() {
                div class="notice bad" role="alert" {
                    p {
                        @if self.errors.len() == 1 { "One thing is not right yet:" }
                        @else { (self.errors.len()) " things are not right yet:" }
                    }
                    ul {
                        @for error in self.errors {
                            li {
                                @if is_shown(&error.field) { a href={ "#" (self.id(&error.field)) } { (error.field) } }
                                @else { (error.field) }
                                ": " (error.message)
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_shows_its_value_and_all_that_is_wrong_with_it() {
        let values = Values::from(vec![("epochs".to_owned(), "<four>".to_owned())]);
        let errors = [FieldError::new("epochs", "no <number>"), FieldError::new("epochs", "too long")];
        let form = FormView { values: &values, errors: &errors, prefix: "" };
        let input = Input { name: "epochs", label: "Epochs", help: "How often.", ..Input::default() };
        let markup = form.input(&input).into_string();
        for part in [
            "value=\"&lt;four&gt;\"",
            "aria-describedby=\"epochs-help epochs-error\"",
            "aria-invalid=\"true\"",
            "<p>No &lt;number&gt;.</p><p>Too long.</p>",
            "<label for=\"epochs\">",
        ] {
            assert!(markup.contains(part), "{part} is not in {markup}");
        }
        let secret = form.input(&Input { secret: true, ..input }).into_string();
        assert!(secret.contains("type=\"password\"") && !secret.contains("four"), "{secret}");
        let sound = FormView { values: &values, errors: &[], prefix: "" }.input(&input).into_string();
        assert!(!sound.contains("error") && !sound.contains("invalid"), "{sound}");
        assert!(form.summary(|_| true).into_string().contains("2 things"));
    }
}
