//! Which boundary the configuration declares for a key set.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Atlas, did_you_mean};
use crate::model::{AccountId, Country, Region};

/// Assigns a boundary to the key sets that match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResidencyAssignment {
    /// The name of a boundary in `rules/jurisdictions/`.
    pub boundary: String,
    /// The countries in which the primary has to be. Empty: anywhere within the boundary.
    #[serde(default)]
    pub home: Vec<Country>,
    /// What has to match; everything that is given has to.
    #[serde(rename = "match", default)]
    pub matches: ResidencyMatch,
}

/// The conditions of a residency assignment. Nothing given: every key set matches.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResidencyMatch {
    /// Tags that the key set has to carry, on its primary or any readable member.
    pub tags: BTreeMap<String, String>,
    /// The owning account is one of these.
    pub accounts: Vec<AccountId>,
    /// A regular expression that one of the set's alias names, without `alias/`, has to match.
    pub aliases: Option<String>,
    /// The primary is in one of these Regions.
    pub regions: Vec<Region>,
    /// The owning account is in one of these organizational units (ids, `ou-…`), at any depth.
    pub ous: Vec<String>,
}

/// One residency assignment that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssignmentProblem {
    /// Which one, from 0, in the order of the configuration.
    pub index: usize,
    /// The field, such as `match.aliases`.
    pub field: &'static str,
    /// What is wrong and what to do about it.
    pub message: String,
}

/// Why residency assignments cannot be used: every problem, in the order of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct AssignmentsError {
    /// The problems; at least one.
    pub problems: Vec<AssignmentProblem>,
}

impl fmt::Display for AssignmentsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |problem: &AssignmentProblem| {
            format!("residency[{}].{}: {}", problem.index, problem.field, problem.message)
        };
        f.write_str(&self.problems.iter().map(line).collect::<Vec<_>>().join("\n"))
    }
}

/// What is known of a key set when its boundary is looked for.
#[derive(Debug, Clone, Copy)]
pub struct AssignmentInput<'a> {
    /// The owning account.
    pub account: &'a AccountId,
    /// The organizational units that the account is in, at any depth; none: not known.
    pub ous: Option<&'a [String]>,
    /// Where the primary is; none: not known.
    pub primary_region: Option<&'a Region>,
    /// The tags; none: not known.
    pub tags: Option<&'a BTreeMap<String, String>>,
    /// The aliases of all members, without `alias/`; none: not known.
    pub aliases: Option<&'a [String]>,
}

/// What the configuration says of a key set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assigned<'a> {
    /// It has to stay in a boundary, and its primary in one of the home countries, if there are any.
    Declared {
        /// The boundary's name.
        boundary: &'a str,
        /// The countries in which the primary has to be. Empty: anywhere within the boundary.
        home: &'a [Country],
    },
    /// No assignment matches.
    Undeclared,
    /// Whether an assignment matches depends on what is not known, with what that is.
    Unknown(String),
}

/// The residency assignments of a configuration, ready to be asked.
#[derive(Debug, Clone, Default)]
pub struct Assignments {
    all: Vec<Assignment>,
}

#[derive(Debug, Clone)]
struct Assignment {
    boundary: String,
    home: Vec<Country>,
    matches: ResidencyMatch,
    aliases: Option<Regex>,
}

/// Whether something matches, as far as is known.
enum Answer {
    Yes,
    No,
    Unknown(&'static str),
}

impl Assignments {
    /// Prepares assignments; their boundaries have to be in the atlas.
    ///
    /// # Errors
    /// With every boundary that does not exist, every home outside its boundary at all times, and every
    /// regular expression that is none.
    pub fn compile(assignments: &[ResidencyAssignment], atlas: &Atlas) -> Result<Self, AssignmentsError> {
        let mut all = Vec::new();
        let mut problems = Vec::new();
        for (index, assignment) in assignments.iter().enumerate() {
            let mut problem = |field, message| problems.push(AssignmentProblem { index, field, message });
            check_boundary(assignment, atlas, &mut problem);
            let aliases = match assignment.matches.aliases.as_deref().map(Regex::new).transpose() {
                Ok(aliases) => aliases,
                Err(error) => {
                    let reason = error.to_string();
                    let last = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
                    problem("match.aliases", format!("not a regular expression: {last}"));
                    continue;
                }
            };
            all.push(Assignment {
                boundary: assignment.boundary.clone(),
                home: assignment.home.clone(),
                matches: assignment.matches.clone(),
                aliases,
            });
        }
        if problems.is_empty() { Ok(Self { all }) } else { Err(AssignmentsError { problems }) }
    }

    /// Whether the configuration declares no boundary at all.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The boundary of a key set: that of the first assignment that matches.
    ///
    /// Where a match depends on something that is not known and no earlier assignment matches, the answer is
    /// unknown: a later one may not stand in for it.
    pub fn assign(&self, input: &AssignmentInput<'_>) -> Assigned<'_> {
        for assignment in &self.all {
            match assignment.matches(input) {
                Answer::Yes => {
                    return Assigned::Declared { boundary: &assignment.boundary, home: &assignment.home };
                }
                Answer::No => {}
                Answer::Unknown(what) => {
                    let boundary = &assignment.boundary;
                    return Assigned::Unknown(format!(
                        "whether boundary `{boundary}` applies depends on {what}, which could not be read"
                    ));
                }
            }
        }
        Assigned::Undeclared
    }
}

fn check_boundary(
    assignment: &ResidencyAssignment,
    atlas: &Atlas,
    problem: &mut impl FnMut(&'static str, String),
) {
    let name = &assignment.boundary;
    let Some(boundary) = atlas.boundary(name) else {
        let hint = did_you_mean(name, atlas.boundary_names());
        problem("boundary", format!("there is no boundary `{name}`{hint}"));
        return;
    };
    let countries = atlas.boundary_countries_ever(boundary);
    for country in assignment.home.iter().filter(|country| !countries.contains(country)) {
        problem("home", format!("`{country}` is not in the boundary `{name}`"));
    }
}

impl Assignment {
    /// Everything that is given has to match. What is known not to match decides, whatever is not known.
    fn matches(&self, input: &AssignmentInput<'_>) -> Answer {
        let ResidencyMatch { tags, accounts, aliases: _, regions, ous } = &self.matches;
        if !accounts.is_empty() && !accounts.contains(input.account) {
            return Answer::No;
        }
        let mut unknown = None;
        let mut conditions = |given: bool, known: Option<bool>, what| match known {
            _ if !given => true,
            Some(holds) => holds,
            None => {
                unknown = unknown.or(Some(what));
                true
            }
        };
        let region = input.primary_region.map(|region| regions.contains(region));
        let ou = input.ous.map(|account_ous| account_ous.iter().any(|ou| ous.contains(ou)));
        let tag = input.tags.map(|known| tags.iter().all(|(name, value)| known.get(name) == Some(value)));
        let alias = input.aliases.map(|names| {
            self.aliases.as_ref().is_some_and(|pattern| names.iter().any(|name| pattern.is_match(name)))
        });
        let holds = [
            conditions(!regions.is_empty(), region, "the primary's Region"),
            conditions(!ous.is_empty(), ou, "the account's organizational units"),
            conditions(!tags.is_empty(), tag, "the key's tags"),
            conditions(self.aliases.is_some(), alias, "the key's aliases"),
        ];
        match unknown {
            _ if holds.contains(&false) => Answer::No,
            Some(what) => Answer::Unknown(what),
            None => Answer::Yes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atlas() -> Atlas {
        Atlas::builtin().unwrap()
    }

    fn assignment(text: &str) -> ResidencyAssignment {
        toml::from_str(text).unwrap()
    }

    fn compile(texts: &[&str]) -> Assignments {
        let all: Vec<_> = texts.iter().map(|text| assignment(text)).collect();
        Assignments::compile(&all, &atlas()).unwrap()
    }

    /// A key set of which everything is known.
    struct Known {
        account: AccountId,
        ous: Vec<String>,
        region: Region,
        tags: BTreeMap<String, String>,
        aliases: Vec<String>,
    }

    fn known() -> Known {
        Known {
            account: "111122223333".parse().unwrap(),
            ous: vec!["ou-ab12-11111111".to_owned(), "r-ab12".to_owned()],
            region: "eu-central-1".parse().unwrap(),
            tags: BTreeMap::from([("data-class".to_owned(), "personal-eu".to_owned())]),
            aliases: vec!["eu/orders".to_owned(), "legacy".to_owned()],
        }
    }

    impl Known {
        fn input(&self) -> AssignmentInput<'_> {
            AssignmentInput {
                account: &self.account,
                ous: Some(&self.ous),
                primary_region: Some(&self.region),
                tags: Some(&self.tags),
                aliases: Some(&self.aliases),
            }
        }
    }

    fn boundary_of(assigned: &Assigned<'_>) -> Option<String> {
        match assigned {
            Assigned::Declared { boundary, .. } => Some((*boundary).to_owned()),
            _ => None,
        }
    }

    #[test]
    fn each_condition_decides_alone() {
        let known = known();
        for (condition, expected) in [
            (r#"tags = { data-class = "personal-eu" }"#, true),
            (r#"tags = { data-class = "public" }"#, false),
            (r#"tags = { data-class = "personal-eu", owner = "x" }"#, false),
            (r#"accounts = ["111122223333"]"#, true),
            (r#"accounts = ["999999999999"]"#, false),
            (r#"aliases = "^eu/""#, true),
            (r#"aliases = "^us/""#, false),
            (r#"regions = ["eu-central-1", "eu-west-1"]"#, true),
            (r#"regions = ["us-east-1"]"#, false),
            (r#"ous = ["r-ab12"]"#, true),
            (r#"ous = ["ou-ab12-22222222"]"#, false),
        ] {
            let assignments = compile(&[&format!("boundary = \"eea\"\nmatch = {{ {condition} }}")]);
            let assigned = assignments.assign(&known.input());
            assert_eq!(boundary_of(&assigned).is_some(), expected, "{condition}");
        }
    }

    #[test]
    fn all_conditions_of_one_assignment_have_to_hold() {
        let both = |account: &str| {
            format!("boundary = \"eea\"\nmatch = {{ aliases = \"^eu/\", accounts = [\"{account}\"] }}")
        };
        let known = known();
        assert!(boundary_of(&compile(&[&both("111122223333")]).assign(&known.input())).is_some());
        assert_eq!(compile(&[&both("999999999999")]).assign(&known.input()), Assigned::Undeclared);
    }

    #[test]
    fn the_first_match_counts_and_brings_its_home() {
        let assignments = compile(&[
            "boundary = \"sg\"\nmatch = { aliases = \"^sg/\" }",
            "boundary = \"eea\"\nhome = [\"DE\"]\nmatch = { aliases = \"^eu/\" }",
            "boundary = \"us\"",
        ]);
        let known = known();
        let Assigned::Declared { boundary, home } = assignments.assign(&known.input()) else {
            panic!("declared");
        };
        assert_eq!((boundary, home.len()), ("eea", 1));
    }

    #[test]
    fn without_conditions_everything_matches_and_without_assignments_nothing() {
        let known = known();
        assert_eq!(
            boundary_of(&compile(&["boundary = \"us\""]).assign(&known.input())).as_deref(),
            Some("us")
        );
        let none = compile(&[]);
        assert!(none.is_empty());
        assert_eq!(none.assign(&known.input()), Assigned::Undeclared);
    }

    #[test]
    fn what_is_not_known_makes_the_answer_unknown_and_no_later_match_hides_it() {
        let assignments = compile(&[
            "boundary = \"eea\"\nmatch = { tags = { data-class = \"personal-eu\" } }",
            "boundary = \"us\"",
        ]);
        let known = known();
        let input = AssignmentInput { tags: None, ..known.input() };
        let Assigned::Unknown(reason) = assignments.assign(&input) else { panic!("unknown") };
        assert_eq!(
            reason,
            "whether boundary `eea` applies depends on the key's tags, which could not be read"
        );
    }

    #[test]
    fn an_earlier_match_stands_whatever_is_not_known_later() {
        let assignments = compile(&[
            "boundary = \"eea\"\nmatch = { regions = [\"eu-central-1\"] }",
            "boundary = \"us\"\nmatch = { tags = { a = \"b\" } }",
        ]);
        let known = known();
        let input = AssignmentInput { tags: None, ..known.input() };
        assert_eq!(boundary_of(&assignments.assign(&input)).as_deref(), Some("eea"));
    }

    #[test]
    fn what_is_known_not_to_match_decides_over_what_is_not_known() {
        let text = "boundary = \"eea\"\nmatch = { tags = { a = \"b\" }, regions = [\"us-east-1\"] }";
        let known = known();
        let input = AssignmentInput { tags: None, ..known.input() };
        assert_eq!(compile(&[text]).assign(&input), Assigned::Undeclared);
    }

    #[test]
    fn every_part_can_be_unknown() {
        let known = known();
        let full = known.input();
        for (condition, input, what) in [
            (
                "regions = [\"us-east-1\"]",
                AssignmentInput { primary_region: None, ..full },
                "primary's Region",
            ),
            ("ous = [\"r-ab12\"]", AssignmentInput { ous: None, ..full }, "organizational units"),
            ("aliases = \"x\"", AssignmentInput { aliases: None, ..full }, "aliases"),
        ] {
            let assignments = compile(&[&format!("boundary = \"eea\"\nmatch = {{ {condition} }}")]);
            let Assigned::Unknown(reason) = assignments.assign(&input) else { panic!("{condition}") };
            assert!(reason.contains(what), "{reason}");
        }
        let nothing = AssignmentInput { ous: None, primary_region: None, tags: None, aliases: None, ..full };
        assert!(boundary_of(&compile(&["boundary = \"us\""]).assign(&nothing)).is_some());
    }

    #[test]
    fn every_problem_is_reported_with_its_place() {
        let all = [
            assignment("boundary = \"eae\""),
            assignment("boundary = \"eea\"\nhome = [\"US\", \"DE\"]\nmatch = { aliases = \"(\" }"),
        ];
        let error = Assignments::compile(&all, &atlas()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "residency[0].boundary: there is no boundary `eae`; did you mean `eea`?\n\
             residency[1].home: `US` is not in the boundary `eea`\n\
             residency[1].match.aliases: not a regular expression: unclosed group"
        );
    }
}
