//! The files of `rules/jurisdictions/`: their shape, and everything that can be wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::NaiveDate;
use rust_embed::RustEmbed;
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};
use thiserror::Error;

use super::atlas::{Atlas, Boundary, Membership, MembershipEntry, OptIn, RegionInfo, Source};
use super::suggest::did_you_mean;
use crate::model::{Country, Region};

#[derive(RustEmbed)]
#[folder = "rules/jurisdictions/"]
struct Shipped;

/// The files that Keyward ships: path and text, by path.
pub fn builtin_files() -> Vec<(String, String)> {
    let mut names: Vec<_> = Shipped::iter().filter(|name| name.ends_with(".yml")).collect();
    names.sort();
    let text = |name: &str| Some(String::from_utf8_lossy(&Shipped::get(name)?.data).into_owned());
    names.iter().filter_map(|name| Some((format!("rules/jurisdictions/{name}"), text(name)?))).collect()
}

/// One thing that is wrong in one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AtlasProblem {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 where the file as a whole is meant.
    pub line: u64,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl fmt::Display for AtlasProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, message } = self;
        if *line == 0 { write!(f, "{file}: {message}") } else { write!(f, "{file}:{line}: {message}") }
    }
}

/// Why files are not an atlas: every problem of every file, sorted by place.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct AtlasError {
    /// The problems; at least one.
    pub problems: Vec<AtlasProblem>,
}

impl fmt::Display for AtlasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.problems.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    sources: BTreeMap<String, Spanned<Source>>,
    #[serde(default)]
    regions: Vec<RegionEntry>,
    #[serde(default)]
    memberships: Vec<Group>,
    #[serde(default)]
    boundaries: Vec<BoundaryEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionEntry {
    region: Spanned<Region>,
    partition: String,
    #[serde(default)]
    country: Option<Country>,
    location: String,
    opt_in: OptIn,
    source: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: Spanned<String>,
    title: String,
    entries: Vec<GroupEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupEntry {
    country: Spanned<Country>,
    valid_from: NaiveDate,
    #[serde(default)]
    valid_to: Option<NaiveDate>,
    #[serde(default)]
    condition: Option<String>,
    source: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BoundaryEntry {
    name: Spanned<String>,
    title: String,
    basis: String,
    #[serde(default)]
    countries: BTreeSet<Country>,
    #[serde(default)]
    memberships: Vec<Spanned<String>>,
    #[serde(default)]
    partitions: Vec<Spanned<String>>,
    #[serde(default)]
    single_region_only: bool,
}

/// Reads and checks files; see [`Atlas::load`].
pub(super) fn load(files: &[(String, String)]) -> Result<Atlas, AtlasError> {
    let mut loader = Loader::default();
    let mut parsed = Vec::new();
    for (path, text) in files {
        match serde_saphyr::from_str::<File>(text) {
            Ok(file) => parsed.push((path, file)),
            Err(error) => {
                let (line, message) = describe(&error);
                loader.problems.push(AtlasProblem { file: path.clone(), line, message });
            }
        }
    }
    // In the order of what refers to what, across all files: sources, Regions, memberships, boundaries.
    for (path, file) in &mut parsed {
        for (key, source) in std::mem::take(&mut file.sources) {
            loader.source(path, &key, source);
        }
    }
    for (path, file) in &mut parsed {
        for entry in std::mem::take(&mut file.regions) {
            loader.region(path, entry);
        }
    }
    for (path, file) in &mut parsed {
        for group in std::mem::take(&mut file.memberships) {
            loader.membership(path, group);
        }
    }
    for (path, file) in parsed {
        for entry in file.boundaries {
            loader.boundary(path, entry);
        }
    }
    let Loader { atlas, mut problems } = loader;
    problems.sort();
    if problems.is_empty() { Ok(atlas) } else { Err(AtlasError { problems }) }
}

/// The line and the message of a YAML error, with a suggestion where a field is misspelt.
fn describe(error: &serde_saphyr::Error) -> (u64, String) {
    let error = error.without_snippet();
    let line = error.location().map_or(0, |location| location.line());
    let message = match error {
        serde_saphyr::Error::SerdeUnknownField { field, expected, .. } => {
            let hint = did_you_mean(field, expected.iter().copied());
            format!("there is no field `{field}` here{hint} (there are: {})", expected.join(", "))
        }
        serde_saphyr::Error::SerdeMissingField { field, .. } => format!("the field `{field}` is missing"),
        other => other.to_string().replace('\n', " "),
    };
    (line, message)
}

#[derive(Default)]
struct Loader {
    atlas: Atlas,
    problems: Vec<AtlasProblem>,
}

impl Loader {
    fn problem(&mut self, file: &str, at: Location, message: String) {
        self.problems.push(AtlasProblem { file: file.to_owned(), line: at.line(), message });
    }

    fn source(&mut self, path: &str, key: &str, source: Spanned<Source>) {
        let at = source.referenced;
        if self.atlas.sources.insert(key.to_owned(), source.value).is_some() {
            self.problem(path, at, format!("the source `{key}` is declared twice"));
        }
    }

    fn known_source(&mut self, path: &str, source: &Spanned<String>) {
        if !self.atlas.sources.contains_key(&source.value) {
            let hint = did_you_mean(&source.value, self.atlas.sources.keys().map(String::as_str));
            let message = format!("there is no source `{}` under `sources`{hint}", source.value);
            self.problem(path, source.referenced, message);
        }
    }

    fn region(&mut self, path: &str, entry: RegionEntry) {
        self.known_source(path, &entry.source);
        let (region, at) = (entry.region.value, entry.region.referenced);
        let info = RegionInfo {
            region: region.clone(),
            partition: entry.partition,
            country: entry.country,
            location: entry.location,
            opt_in: entry.opt_in,
            source: entry.source.value,
        };
        if self.atlas.regions.insert(region.clone(), info).is_some() {
            self.problem(path, at, format!("the Region `{region}` is declared twice"));
        }
    }

    fn membership(&mut self, path: &str, group: Group) {
        let (name, at) = (group.name.value, group.name.referenced);
        let mut entries: Vec<MembershipEntry> = Vec::new();
        for entry in group.entries {
            self.known_source(path, &entry.source);
            let (country, entry_at) = (entry.country.value, entry.country.referenced);
            let (from, to) = (entry.valid_from, entry.valid_to);
            if to.is_some_and(|to| to < from) {
                self.problem(path, entry_at, format!("`{country}` leaves `{name}` before it joins"));
            }
            let overlaps = |other: &MembershipEntry| {
                other.country == country
                    && to.is_none_or(|to| other.valid_from <= to)
                    && other.valid_to.is_none_or(|other_to| from <= other_to)
            };
            if entries.iter().any(overlaps) {
                let message =
                    format!("`{country}` is in `{name}` twice at the same time; end the earlier entry");
                self.problem(path, entry_at, message);
            }
            entries.push(MembershipEntry {
                country,
                valid_from: from,
                valid_to: to,
                condition: entry.condition,
                source: entry.source.value,
            });
        }
        entries.sort();
        let membership = Membership { name: name.clone(), title: group.title, entries };
        if self.atlas.memberships.insert(name.clone(), membership).is_some() {
            self.problem(path, at, format!("the membership `{name}` is declared twice"));
        }
    }

    fn boundary(&mut self, path: &str, entry: BoundaryEntry) {
        let (name, at) = (entry.name.value, entry.name.referenced);
        if entry.countries.is_empty() && entry.memberships.is_empty() {
            let message =
                format!("the boundary `{name}` holds nothing; give it `countries` or `memberships`");
            self.problem(path, at, message);
        }
        if entry.title.trim().is_empty() || entry.basis.trim().is_empty() {
            self.problem(path, at, format!("the boundary `{name}` needs a `title` and a `basis`"));
        }
        for membership in &entry.memberships {
            self.known_membership(path, membership);
        }
        for partition in &entry.partitions {
            self.known_partition(path, partition);
        }
        let boundary = Boundary {
            name: name.clone(),
            title: entry.title,
            basis: entry.basis.trim().to_owned(),
            countries: entry.countries,
            memberships: entry.memberships.into_iter().map(|name| name.value).collect(),
            partitions: entry.partitions.into_iter().map(|name| name.value).collect(),
            single_region_only: entry.single_region_only,
        };
        if self.atlas.boundaries.insert(name.clone(), boundary).is_some() {
            self.problem(path, at, format!("the boundary `{name}` is declared twice"));
        }
    }

    fn known_membership(&mut self, path: &str, name: &Spanned<String>) {
        let known = &self.atlas.memberships;
        if !known.contains_key(&name.value) {
            let hint = did_you_mean(&name.value, known.keys().map(String::as_str));
            let message = format!("there is no membership `{}`{hint}", name.value);
            self.problem(path, name.referenced, message);
        }
    }

    fn known_partition(&mut self, path: &str, name: &Spanned<String>) {
        let known: BTreeSet<&str> = self.atlas.regions.values().map(|info| info.partition.as_str()).collect();
        if !known.contains(name.value.as_str()) {
            let hint = did_you_mean(&name.value, known);
            let message = format!("no Region is in a partition `{}`{hint}", name.value);
            self.problem(path, name.referenced, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages for one file behind the shipped ones.
    fn problems(text: &str) -> Vec<String> {
        let mut files = builtin_files();
        files.push(("mine.yml".to_owned(), text.to_owned()));
        match Atlas::load(&files) {
            Ok(_) => Vec::new(),
            Err(error) => error.problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_boundary_of_ones_own_joins_the_shipped_ones() {
        let mut files = builtin_files();
        let text = "boundaries:\n  - { name: dach, title: DACH, basis: contract, countries: [DE, AT, CH], memberships: [] }";
        files.push(("mine.yml".to_owned(), text.to_owned()));
        let atlas = Atlas::load(&files).unwrap();
        assert_eq!(atlas.boundary("dach").unwrap().countries.len(), 3);
        assert!(atlas.boundary("eea").is_some());
    }

    #[test]
    fn a_misspelt_field_is_named_with_its_line_and_the_right_one() {
        assert_eq!(
            problems("boundaries:\n  - name: x\n    title: X\n    basis: b\n    countrys: [DE]\n"),
            [
                "mine.yml:5: there is no field `countrys` here; did you mean `countries`? (there are: name, title, basis, countries, memberships, partitions, single_region_only)"
            ]
        );
    }

    #[test]
    fn what_refers_to_nothing_is_named_with_its_line_and_a_suggestion() {
        let text = "boundaries:
  - name: mine
    title: Mine
    basis: contract
    memberships: [eae]
    partitions: [aws-euscc]
regions:
  - { region: eu-new-1, partition: aws, location: New, opt_in: required, source: region-table }
";
        assert_eq!(
            problems(text),
            [
                "mine.yml:5: there is no membership `eae`; did you mean `eea`?",
                "mine.yml:6: no Region is in a partition `aws-euscc`; did you mean `aws-eusc`?",
                "mine.yml:8: there is no source `region-table` under `sources`; did you mean `regions-table`?",
            ]
        );
    }

    #[test]
    fn what_is_declared_twice_or_holds_nothing_is_refused() {
        let text = "boundaries:
  - { name: eea, title: Again, basis: b, countries: [DE] }
  - { name: void, title: Void, basis: b }
  - { name: mute, title: Mute, basis: '', countries: [DE] }
regions:
  - { region: eu-west-1, partition: aws, location: L, opt_in: required, source: partitions }
memberships:
  - { name: eu, title: Again, entries: [] }
";
        let found = problems(text);
        assert_eq!(found.len(), 5, "{found:#?}");
        assert!(found[0].starts_with("mine.yml:2: the boundary `eea` is declared twice"));
        assert!(found[1].starts_with("mine.yml:3: the boundary `void` holds nothing"));
        assert!(found[2].starts_with("mine.yml:4: the boundary `mute` needs"));
        assert!(found[3].starts_with("mine.yml:6: the Region `eu-west-1` is declared twice"));
        assert!(found[4].starts_with("mine.yml:8: the membership `eu` is declared twice"));
    }

    #[test]
    fn times_that_cannot_be_are_refused() {
        let text = "sources: { s: { title: S } }
memberships:
  - name: club
    title: Club
    entries:
      - { country: DE, valid_from: 2020-01-01, valid_to: 2019-01-01, source: s }
      - { country: FR, valid_from: 2020-01-01, source: s }
      - { country: FR, valid_from: 2021-01-01, source: s }
      - { country: IT, valid_from: 2020-01-01, valid_to: 2020-12-31, source: s }
      - { country: IT, valid_from: 2021-01-01, source: s }
";
        assert_eq!(
            problems(text),
            [
                "mine.yml:6: `DE` leaves `club` before it joins",
                "mine.yml:8: `FR` is in `club` twice at the same time; end the earlier entry",
            ]
        );
    }

    #[test]
    fn values_of_the_wrong_kind_are_refused_with_their_line() {
        for (text, line, part) in [
            ("regions:\n  - { region: Frankfurt }", "mine.yml:2:", "AWS Region name"),
            ("boundaries:\n  - name: x\n    countries: [Germany]\n", "mine.yml:3:", "country code"),
            ("memberships: 7\n", "mine.yml:1:", "expected"),
            ("regions: [\n", "mine.yml:", ""),
        ] {
            let found = problems(text);
            assert_eq!(found.len(), 1, "{found:#?}");
            assert!(found[0].starts_with(line) && found[0].contains(part), "{found:#?}");
        }
    }

    #[test]
    fn one_broken_file_does_not_hide_what_is_wrong_in_another() {
        let files =
            [("a.yml".to_owned(), "regions: 7".to_owned()), ("b.yml".to_owned(), "regoins: []".to_owned())];
        let error = Atlas::load(&files).unwrap_err();
        assert_eq!(
            error.problems.iter().map(|problem| problem.file.as_str()).collect::<Vec<_>>(),
            ["a.yml", "b.yml"]
        );
    }

    #[test]
    fn every_shipped_source_is_cited() {
        let atlas = Atlas::builtin().unwrap();
        let groups = atlas.memberships.values().flat_map(|group| &group.entries);
        let cited: BTreeSet<&String> = groups
            .map(|entry| &entry.source)
            .chain(atlas.regions.values().map(|info| &info.source))
            .collect();
        assert_eq!(cited, atlas.sources.keys().collect());
    }
}
