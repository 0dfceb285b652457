//! A strict reader of what `/metrics` answers: it panics at whatever Prometheus' text format 0.0.4 or OpenMetrics 1.0
//! does not allow.

use std::collections::{BTreeMap, BTreeSet};

/// Labels by name.
pub(crate) type Labels = BTreeMap<String, String>;

/// Metrics of one name.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    /// Values by the sample's name and labels.
    pub(crate) samples: BTreeMap<(String, Labels), f64>,
}

/// A whole page, by the names of its families as Prometheus stores them (a counter's with `_total`).
#[derive(Debug)]
pub(crate) struct Page(pub(crate) BTreeMap<String, Family>);

impl Page {
    /// The value of a sample with exactly these labels; 0 where there is none yet.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.samples(name).find(|(known, _)| **known == labels).map_or(0.0, |(_, value)| value)
    }

    /// All samples of a name.
    pub(crate) fn samples(&self, name: &str) -> impl Iterator<Item = (&Labels, f64)> {
        let all = self.0.values().flat_map(|family| &family.samples);
        all.filter(move |((known, _), _)| known == name).map(|((_, labels), value)| (labels, *value))
    }
}

/// Reads text format 0.0.4.
pub(crate) fn parse_text(page: &str) -> Page {
    assert!(!page.contains("# EOF"), "OpenMetrics alone has an end");
    parse(page.strip_suffix('\n').expect("the last line is ended"), false)
}

/// Reads OpenMetrics 1.0.
pub(crate) fn parse_open_metrics(page: &str) -> Page {
    parse(page.strip_suffix("\n# EOF\n").expect("it ends with EOF"), true)
}

fn parse(page: &str, is_open_metrics: bool) -> Page {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current: Option<(String, Family)> = None;
    for line in page.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let [keyword, name, rest] =
                std::array::from_fn(|_| words.next().unwrap_or_else(|| panic!("short: {line}")));
            assert!(is_name(name), "{line}");
            match keyword {
                "HELP" => {
                    finish(&mut families, current.take(), is_open_metrics);
                    assert!(rest.ends_with('.') && !rest.contains("..") && rest.len() > 5, "{line}");
                    current = Some((name.into(), Family::default()));
                }
                "TYPE" => {
                    let (known, family) = current.as_mut().unwrap_or_else(|| panic!("TYPE before HELP: {line}"));
                    assert!(known == name && family.kind.is_empty() && family.samples.is_empty(), "{line}");
                    let kinds = ["counter", "gauge", "histogram"];
                    assert!(kinds.contains(&rest) || (is_open_metrics && rest == "info"), "{line}");
                    family.kind = rest.into();
                }
                "UNIT" => {
                    assert!(name.ends_with(&format!("_{rest}")) && ["seconds", "bytes"].contains(&rest), "{line}")
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let (known, family) = current.as_mut().unwrap_or_else(|| panic!("a sample before its family: {line}"));
        let (name, labels, value) = sample(line);
        let suffix = name.strip_prefix(known.as_str()).unwrap_or_else(|| panic!("{line} stands below {known}"));
        let allowed: &[&str] = match (family.kind.as_str(), is_open_metrics) {
            ("counter", true) => &["_total"],
            ("counter" | "gauge", _) => &[""],
            ("info", _) => &["_info"],
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            _ => panic!("{known} has no type"),
        };
        assert!(allowed.contains(&suffix), "{line} is not of a {}", family.kind);
        assert!(value.is_finite() || family.kind == "gauge", "{line}");
        assert!(value >= 0.0 || family.kind == "gauge", "{line}");
        assert!(family.samples.insert((name, labels), value).is_none(), "twice: {line}");
    }
    finish(&mut families, current, is_open_metrics);
    Page(families)
}

fn finish(families: &mut BTreeMap<String, Family>, family: Option<(String, Family)>, is_open_metrics: bool) {
    let Some((mut name, family)) = family else { return };
    if family.kind == "counter" {
        if is_open_metrics {
            name += "_total";
        }
        assert!(name.ends_with("_total"), "{name}");
    }
    if family.kind == "histogram" {
        check_histogram(&name, &family);
    }
    assert!(families.insert(name.clone(), family).is_none(), "{name} comes twice");
}

/// Buckets grow up to the one without a bound, which is the count.
fn check_histogram(name: &str, family: &Family) {
    let of = |labels: &Labels| {
        let mut labels = labels.clone();
        labels.remove("le");
        labels
    };
    let series: BTreeSet<Labels> = family.samples.keys().map(|(_, labels)| of(labels)).collect();
    for labels in series {
        let buckets =
            family.samples.iter().filter(|((known, found), _)| known.ends_with("_bucket") && of(found) == labels);
        let mut buckets: Vec<(f64, f64)> = buckets
            .map(|((_, labels), count)| (labels["le"].replace("+Inf", "inf").parse().expect("a bound"), *count))
            .collect();
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1), "{name}: {buckets:?}");
        let last = buckets.last().expect("there are buckets");
        assert_eq!(last.0, f64::INFINITY, "{name}");
        let value = |suffix: &str| family.samples[&(format!("{name}{suffix}"), labels.clone())];
        assert_eq!(value("_count"), last.1, "{name}");
        assert!(value("_sum") >= 0.0, "{name}");
    }
}

fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_lowercase())
        && characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// `name{label="value",…} number`.
fn sample(line: &str) -> (String, Labels, f64) {
    let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
    let value = value.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
    let (name, mut rest) = match series.split_once('{') {
        None => (series, ""),
        Some((name, labels)) => (name, labels.strip_suffix('}').unwrap_or_else(|| panic!("not closed: {line}"))),
    };
    assert!(is_name(name), "{line}");
    assert!(!series.contains('{') || !rest.is_empty(), "braces around nothing: {line}");
    let mut labels = Labels::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no value of a label: {line}"));
        assert!(is_name(label), "{line}");
        let mut text = String::new();
        let mut characters = after.chars();
        loop {
            match characters.next().unwrap_or_else(|| panic!("a value without an end: {line}")) {
                '"' => break,
                '\\' => text.push(match characters.next() {
                    Some('n') => '\n',
                    Some(c @ ('\\' | '"')) => c,
                    other => panic!("an escape of {other:?}: {line}"),
                }),
                c => text.push(c),
            }
        }
        assert!(labels.insert(label.to_owned(), text).is_none(), "{label} twice: {line}");
        rest = characters.as_str();
        if !rest.is_empty() {
            rest = rest.strip_prefix(',').filter(|rest| !rest.is_empty()).unwrap_or_else(|| panic!("a comma: {line}"));
        }
    }
    (name.to_owned(), labels, value)
}
