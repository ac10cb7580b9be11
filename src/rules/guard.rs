//! Texts that a field has to hold for a rule to be worth a look: one pass over a field rules out many rules at once.
//!
//! Where hundreds of rules are about the same calls, each usually asks for some text that hardly any event has. All
//! texts that are asked of a field are looked for together, so that what it costs hangs on the length of the field
//! and not on how many rules there are.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;

use super::document::{Document, Flow, Node, Path, Scalar};
use super::eval::{Expr, Test};
use super::matcher::Matcher;

/// As many rules as are looked at one by one in about the time that it takes to look for texts in a field.
pub(super) const FEW: usize = 8;

/// When so many texts were found, to go on looking takes longer than to look at the rules.
const MANY: usize = 1_000;

/// Texts in a field of the record, of which one has to be there for a condition to hold or to be unknown.
#[derive(Debug, Clone)]
struct Guard<'e> {
    path: &'e Path,
    texts: Vec<&'e str>,
}

impl<'e> Guard<'e> {
    fn of(condition: &'e Expr) -> Option<Self> {
        match condition {
            Expr::All(parts) => parts.iter().filter_map(Self::of).max_by_key(Self::shortest),
            Expr::Any(parts) => Self::of_any(parts),
            Expr::AtLeast(count, parts) if *count > 0 => Self::of_any(parts),
            Expr::Field(path, Test::Is(Matcher::Text(test))) if !path.is_enrichment() => {
                // Candidates were found by these, so that those that are left all have them.
                let is_index = matches!(path.name(), "eventSource" | "eventName");
                let texts = test.needed().filter(|_| !is_index || test.only_values().is_none())?;
                Some(Self { path, texts: texts.iter().map(AsRef::as_ref).collect() })
            }
            _ => None,
        }
    }

    /// The guard of all alternatives, if they look at one field.
    fn of_any(parts: &'e [Expr]) -> Option<Self> {
        let (first, rest) = parts.split_first()?;
        let mut guard = Self::of(first)?;
        for part in rest {
            let other = Self::of(part).filter(|other| other.path == guard.path)?;
            guard.texts.extend(other.texts);
        }
        Some(guard)
    }

    /// The longer a text, the fewer events have it.
    fn shortest(&self) -> usize {
        self.texts.iter().map(|text| text.len()).min().unwrap_or_default()
    }
}

/// All guards of some rules.
#[derive(Debug, Clone, Default)]
pub(super) struct Guards {
    fields: Vec<GuardedField>,
    /// Which of the fields guards a rule, by the rule's number.
    by_rule: BTreeMap<usize, usize>,
}

/// A field and what is looked for in it.
#[derive(Debug, Clone)]
struct GuardedField {
    path: Path,
    texts: AhoCorasick,
    /// The rule that each of the texts is of.
    rules: Vec<usize>,
}

/// What a look at a field tells of the rules that it guards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// These may hold, in the order of their numbers, and no other.
    Only(Vec<usize>),
    /// Nothing: what is in the field takes more than a look, or has too many of the texts.
    Nothing,
}

impl Guards {
    /// Finds the guards of conditions, each by the number that it comes with.
    pub(super) fn new<'e>(conditions: impl IntoIterator<Item = (usize, &'e Expr)>) -> Self {
        let mut by_field = BTreeMap::<&str, Vec<(usize, Guard<'e>)>>::new();
        for (number, condition) in conditions {
            if let Some(guard) = Guard::of(condition) {
                by_field.entry(guard.path.name()).or_default().push((number, guard));
            }
        }
        let mut guards = Self::default();
        for of_field in by_field.into_values().filter(|of_field| of_field.len() >= FEW) {
            guards.add(&of_field);
        }
        guards
    }

    fn add(&mut self, of_field: &[(usize, Guard<'_>)]) {
        let Some((_, Guard { path, .. })) = of_field.first() else { return };
        let texts =
            || of_field.iter().flat_map(|(rule, guard)| guard.texts.iter().map(|text| (*rule, *text)));
        let built = AhoCorasick::builder().ascii_case_insensitive(true).build(texts().map(|(_, text)| text));
        // Too many to be looked for together are looked for one by one.
        let Ok(built) = built else { return };
        self.by_rule.extend(of_field.iter().map(|(rule, _)| (*rule, self.fields.len())));
        let rules = texts().map(|(rule, _)| rule).collect();
        self.fields.push(GuardedField { path: (*path).clone(), texts: built, rules });
    }

    /// Which field guards a rule; by its number, for [`Self::look`].
    pub(super) fn field_of(&self, rule: usize) -> Option<usize> {
        self.by_rule.get(&rule).copied()
    }

    /// Looks for all texts in a field.
    pub(super) fn look<D: Document + ?Sized>(&self, field: usize, document: &D) -> Seen {
        let Some(field) = self.fields.get(field) else { return Seen::Nothing };
        let mut found = Vec::new();
        let flow = field.path.visit(document, &mut |node| field.look(node, &mut found));
        if flow == Flow::Stop {
            return Seen::Nothing;
        }
        found.sort_unstable();
        found.dedup();
        Seen::Only(found)
    }
}

impl GuardedField {
    /// Adds the rules whose texts are in a value, or in an item of a list; stops at what takes more than a look.
    fn look(&self, node: Node<'_>, found: &mut Vec<usize>) -> Flow {
        if node.is_null() {
            return Flow::On;
        }
        if let Some(items) = node.items() {
            for item in items {
                if self.look(item, found) == Flow::Stop {
                    return Flow::Stop;
                }
            }
            return Flow::On;
        }
        // Beyond ASCII, letters have other forms of upper and lower case than these.
        let text = match node.scalar() {
            Some(Scalar::Text(text)) if text.is_ascii() => text,
            _ => return Flow::Stop,
        };
        for place in self.texts.find_overlapping_iter(text) {
            found.extend(self.rules.get(place.pattern().as_usize()));
            if found.len() > MANY {
                return Flow::Stop;
            }
        }
        Flow::On
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fact;
    use crate::rules::pattern::{Pattern, TextTest};

    fn is(path: &str, pattern: Pattern) -> Expr {
        let test = TextTest::new(&[pattern], &[]).unwrap();
        Expr::Field(Path::new(path), Test::Is(Matcher::Text(test)))
    }

    fn within(path: &str, text: &str) -> Expr {
        is(path, Pattern::plain(text, false).open_start().open_end())
    }

    fn texts(condition: &Expr) -> Option<(&str, Vec<&str>)> {
        Guard::of(condition).map(|guard| (guard.path.name(), guard.texts))
    }

    #[test]
    fn the_text_that_says_most_guards_a_rule() {
        let call = || is("eventName", Pattern::plain("GetBucketPolicy", false));
        let who = || within("userIdentity.arn", "intruder");
        let short = || within("userAgent", "x");
        assert_eq!(
            texts(&Expr::All([call(), short(), who()].into())),
            Some(("userIdentity.arn", vec!["intruder"]))
        );
        assert_eq!(texts(&call()), None, "those that are left have it");
        assert_eq!(texts(&within("eventName", "Policy")), Some(("eventName", vec!["Policy"])));
        assert_eq!(texts(&Expr::Any([who(), short()].into())), None, "another field would do");
        let other = within("userIdentity.arn", "thief");
        let either = Expr::Any([who(), other].into());
        assert_eq!(texts(&either), Some(("userIdentity.arn", vec!["intruder", "thief"])));
        assert_eq!(texts(&Expr::Not(Box::new(who()))), None);
        assert_eq!(texts(&within("event.key_arn", "key/")), None, "a fact may yet become known");
        assert_eq!(texts(&within("userAgent", "Kelvin \u{212a}")), None, "it is also a k");
    }

    #[test]
    fn a_field_tells_which_rules_may_hold() {
        let conditions: Vec<Expr> = (0..12).map(|at| within("who.name", &format!("someone-{at}"))).collect();
        let guards = Guards::new(conditions.iter().enumerate());
        let field = guards.field_of(3).unwrap();
        let seen = |name: Fact| guards.look(field, &Fact::map([("who", Fact::map([("name", name)]))]));
        assert_eq!(seen(Fact::from("SomeOne-11")), Seen::Only(vec![1, 11]));
        assert_eq!(seen(Fact::texts(["someone-7", "x", "someone-2"])), Seen::Only(vec![2, 7]));
        assert_eq!(seen(Fact::from("nobody")), Seen::Only(Vec::new()));
        assert_eq!(seen(Fact::Null), Seen::Only(Vec::new()));
        for no_text in [
            Fact::Int(7),
            Fact::Unknown("not read".to_owned()),
            Fact::from("\u{17f}omeone-3"),
            Fact::map([("x", Fact::from("someone-3"))]),
            Fact::from("someone-3".repeat(MANY + 1).as_str()),
        ] {
            assert_eq!(seen(no_text), Seen::Nothing);
        }
        assert_eq!(guards.look(field, &Fact::map([("who", Fact::Null)])), Seen::Only(Vec::new()));
    }

    #[test]
    fn few_rules_have_no_guards() {
        let conditions: Vec<Expr> = (0..FEW - 1).map(|at| within("who", &format!("someone-{at}"))).collect();
        assert_eq!(Guards::new(conditions.iter().enumerate()).field_of(0), None);
    }
}
