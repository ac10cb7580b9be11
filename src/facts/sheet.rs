//! A facts document while it is being written.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::model::{Fact, FactMap, Gap, Observed};

/// A value, or why it is not known.
pub(super) type Known<T> = Result<T, String>;

/// A facts document while it is being written: dotted paths become nested objects.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    root: FactMap,
}

impl Sheet {
    /// States a fact at a dotted path.
    pub(super) fn put(&mut self, path: &str, fact: impl Into<Fact>) {
        insert(&mut self.root, path, fact.into());
    }

    /// States a fact if there is one.
    pub(super) fn put_some(&mut self, path: &str, fact: Option<impl Into<Fact>>) {
        if let Some(fact) = fact {
            self.put(path, fact);
        }
    }

    /// States what is known, or that it is not.
    pub(super) fn put_known(&mut self, path: &str, known: Known<impl Into<Fact>>) {
        match known {
            Ok(fact) => self.put(path, fact),
            Err(reason) => self.put(path, Fact::Unknown(reason)),
        }
    }

    /// States a list of texts; an empty one is left out, so that `|exists` asks whether there is any.
    pub(super) fn put_texts<T: ToString>(&mut self, path: &str, texts: impl IntoIterator<Item = T>) {
        let texts: Vec<Fact> = texts.into_iter().map(|text| Fact::Text(text.to_string())).collect();
        if !texts.is_empty() {
            self.put(path, Fact::List(texts));
        }
    }

    /// States a list of texts that may not be known; an empty one is left out.
    pub(super) fn put_known_texts<T: ToString>(
        &mut self,
        path: &str,
        known: Known<impl IntoIterator<Item = T>>,
    ) {
        match known {
            Ok(texts) => self.put_texts(path, texts),
            Err(reason) => self.put(path, Fact::Unknown(reason)),
        }
    }

    /// States that none of these is known, for one reason.
    pub(super) fn put_unknown(&mut self, paths: &[&str], reason: &str) {
        for path in paths {
            self.put(path, Fact::Unknown(reason.to_owned()));
        }
    }

    /// The document.
    pub(super) fn finish(self) -> Fact {
        Fact::Map(self.root)
    }
}

fn insert(map: &mut FactMap, path: &str, fact: Fact) {
    match path.split_once('.') {
        None => _ = map.insert(path.to_owned(), fact),
        Some((first, rest)) => {
            let below = map.entry(first.to_owned()).or_insert_with(|| Fact::Map(FactMap::new()));
            if let Fact::Map(below) = below {
                insert(below, rest, fact);
            } else {
                debug_assert!(false, "`{first}` is a value and cannot hold `{rest}`");
            }
        }
    }
}

/// A time as facts give it.
pub(super) fn time(at: &DateTime<Utc>) -> Fact {
    Fact::Text(at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// Whole days from one time to another, rounded down; negative if the other comes first.
pub(super) fn days_between(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    (to - from).num_seconds().div_euclid(86_400)
}

/// Whether more than a number of days lies between two times.
pub(super) fn is_longer_than(from: DateTime<Utc>, to: DateTime<Utc>, days: i64) -> bool {
    chrono::TimeDelta::try_days(days).is_some_and(|limit| to - from > limit)
}

/// What was observed, or why not; none where it does not apply.
pub(super) fn observed<T>(observed: &Observed<T>) -> Option<Known<&T>> {
    match observed {
        Observed::Known(value) => Some(Ok(value)),
        Observed::Unknown(gap) => Some(Err(Gap::to_string(gap))),
        Observed::NotApplicable => None,
    }
}

/// The reasons of several unknowns as one, each once, sorted; none if there is none.
pub(super) fn joined(reasons: impl IntoIterator<Item = String>) -> Option<String> {
    let all: std::collections::BTreeSet<String> = reasons.into_iter().collect();
    (!all.is_empty()).then(|| all.into_iter().collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_objects_and_empty_lists_stay_away() {
        let mut sheet = Sheet::default();
        sheet.put("key.id", "abc");
        sheet.put("key.state", "Enabled");
        sheet.put_texts("key.denied", Vec::<String>::new());
        sheet.put_known_texts("aliases.names", Ok(["alias/a"]));
        sheet.put_known("tags", Err::<Fact, _>("kms:ListResourceTags denied".to_owned()));
        sheet.put_some("none", None::<bool>);
        let root = sheet.finish();
        assert_eq!(root.at("key.state"), Some(&Fact::Text("Enabled".to_owned())));
        assert_eq!(root.at("key.denied"), None);
        assert_eq!(root.at("none"), None);
        assert_eq!(root.at("aliases.names"), Some(&Fact::texts(["alias/a"])));
        assert_eq!(root.at("tags.team"), Some(&Fact::Unknown("kms:ListResourceTags denied".to_owned())));
    }

    #[test]
    fn days_are_whole_and_rounded_down() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let noon = at("2026-03-01T12:00:00Z");
        assert_eq!(days_between(noon, at("2026-03-03T11:59:59Z")), 1);
        assert_eq!(days_between(noon, at("2026-03-01T11:59:59Z")), -1);
        assert!(!is_longer_than(noon, at("2026-03-02T12:00:00Z"), 1));
        assert!(is_longer_than(noon, at("2026-03-02T12:00:01Z"), 1));
        assert!(!is_longer_than(noon, at("2026-03-02T12:00:01Z"), i64::MAX));
    }
}
