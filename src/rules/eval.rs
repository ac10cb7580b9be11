//! Compiled conditions, and their three-valued evaluation.
//!
//! What could not be read makes a comparison unknown, and `and`, `or`, `not` follow Kleene: a decisive answer is
//! never lost to an unknown one beside it, and an unknown one is never taken for an answer.

use std::collections::BTreeSet;

use super::document::{Document, Flow, Node, Path, Scalar};
use super::matcher::{Matcher, as_text};
use crate::model::FactMap;

/// Truth, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kleene {
    /// It does not hold, whatever the unknown leaves are.
    False,
    /// It depends on leaves that are not known.
    Unknown,
    /// It holds, whatever the unknown leaves are.
    True,
}

impl Kleene {
    fn negated(self) -> Self {
        match self {
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
            Self::True => Self::False,
        }
    }
}

impl From<bool> for Kleene {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// A compiled condition.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    All(Box<[Expr]>),
    Any(Box<[Expr]>),
    Not(Box<Expr>),
    /// At least so many of some.
    AtLeast(usize, Box<[Expr]>),
    /// A test of the values at a path.
    Field(Path, Test),
    /// A value anywhere in the document.
    Keyword(Matcher),
}

/// A test of the values at a path; where there are several, one that passes is enough.
#[derive(Debug, Clone)]
pub(super) enum Test {
    /// There is a value, and it is not null.
    Exists,
    /// There is a field in the record, whatever it holds; a fact that is null is missing.
    Present,
    /// A scalar, or one of a list, passes.
    Is(Matcher),
    /// A text stands in a relation to that at another path.
    Reference(Path, Relation),
}

/// How a text relates to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) kind: RelationKind,
    pub(super) cased: bool,
}

/// The kinds of relation between two texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RelationKind {
    Equals,
    StartsWith,
    EndsWith,
    Contains,
}

impl Expr {
    /// Evaluates the condition. Allocates nothing, but where a text is looked for in a whole object.
    pub(super) fn eval<D: Document + ?Sized>(&self, document: &D) -> Kleene {
        match self {
            Self::All(parts) => fold(parts, document, Kleene::True, Kleene::False, Kleene::min),
            Self::Any(parts) => fold(parts, document, Kleene::False, Kleene::True, Kleene::max),
            Self::Not(part) => part.eval(document).negated(),
            Self::AtLeast(count, parts) => at_least(*count, parts, document),
            Self::Field(path, test) => any_at(path, document, &|node| test.eval(node, document)),
            Self::Keyword(matcher) => any_leaf(document.searched(), matcher),
        }
    }

    /// Why the condition is unknown: the reasons of every leaf that it hangs on. To be asked only then.
    pub(super) fn reasons<D: Document + ?Sized>(&self, document: &D, reasons: &mut BTreeSet<String>) {
        match self {
            Self::All(parts) | Self::Any(parts) | Self::AtLeast(_, parts) => {
                for part in parts.iter().filter(|part| part.eval(document) == Kleene::Unknown) {
                    part.reasons(document, reasons);
                }
            }
            Self::Not(part) => part.reasons(document, reasons),
            Self::Field(path, test) => {
                unknowns_at(path, document, reasons);
                if let Test::Reference(other, _) = test {
                    unknowns_at(other, document, reasons);
                }
            }
            Self::Keyword(_) => unknowns_in(document.searched(), reasons),
        }
    }

    /// Whether the condition, which is unknown, hangs on a leaf whose reason is of some kind. Allocates nothing.
    pub(super) fn hangs_on<D: Document + ?Sized>(&self, document: &D, is_meant: fn(&str) -> bool) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) | Self::AtLeast(_, parts) => parts
                .iter()
                .filter(|part| part.eval(document) == Kleene::Unknown)
                .any(|part| part.hangs_on(document, is_meant)),
            Self::Not(part) => part.hangs_on(document, is_meant),
            Self::Field(path, Test::Reference(other, _)) => {
                is_unknown_at(path, document, is_meant) || is_unknown_at(other, document, is_meant)
            }
            Self::Field(path, _) => is_unknown_at(path, document, is_meant),
            Self::Keyword(_) => is_unknown_in(document.searched(), is_meant),
        }
    }

    /// Whether a value is looked for anywhere in the document.
    pub(super) fn has_keywords(&self) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) | Self::AtLeast(_, parts) => {
                parts.iter().any(Self::has_keywords)
            }
            Self::Not(part) => part.has_keywords(),
            Self::Field(..) => false,
            Self::Keyword(_) => true,
        }
    }

    /// Collects the paths that the condition looks at.
    pub(super) fn paths<'e>(&'e self, paths: &mut Vec<&'e Path>) {
        match self {
            Self::All(parts) | Self::Any(parts) | Self::AtLeast(_, parts) => {
                for part in parts {
                    part.paths(paths);
                }
            }
            Self::Not(part) => part.paths(paths),
            Self::Field(path, test) => {
                paths.push(path);
                if let Test::Reference(other, _) = test {
                    paths.push(other);
                }
            }
            Self::Keyword(_) => {}
        }
    }

    /// The values of which a text field must have one (in lower case) if the condition is to hold or to be
    /// unknown; none if that cannot be told.
    pub(super) fn necessary(&self, field: &str) -> Option<BTreeSet<String>> {
        match self {
            Self::All(parts) => {
                parts.iter().filter_map(|part| part.necessary(field)).reduce(|one, other| &one & &other)
            }
            Self::Any(parts) => united(parts, field),
            Self::AtLeast(count, parts) if *count > 0 => united(parts, field),
            Self::Field(path, Test::Is(matcher)) if path.name() == field => {
                matcher.only_values().map(|values| values.into_iter().collect())
            }
            _ => None,
        }
    }
}

fn united(parts: &[Expr], field: &str) -> Option<BTreeSet<String>> {
    let mut union = BTreeSet::new();
    for part in parts {
        union.extend(part.necessary(field)?);
    }
    Some(union)
}

/// `and` is the least of its parts and ends with the first false one; `or` the other way round.
fn fold<D: Document + ?Sized>(
    parts: &[Expr],
    document: &D,
    start: Kleene,
    decisive: Kleene,
    join: fn(Kleene, Kleene) -> Kleene,
) -> Kleene {
    let mut answer = start;
    for part in parts {
        answer = join(answer, part.eval(document));
        if answer == decisive {
            break;
        }
    }
    answer
}

fn at_least<D: Document + ?Sized>(count: usize, parts: &[Expr], document: &D) -> Kleene {
    let (mut sure, mut possible) = (0, 0);
    for part in parts {
        match part.eval(document) {
            Kleene::True => {
                sure += 1;
                possible += 1;
            }
            Kleene::Unknown => possible += 1,
            Kleene::False => {}
        }
    }
    match (sure >= count, possible >= count) {
        (true, _) => Kleene::True,
        (false, true) => Kleene::Unknown,
        (false, false) => Kleene::False,
    }
}

impl Test {
    fn eval<D: Document + ?Sized>(&self, node: Node<'_>, document: &D) -> Kleene {
        match self {
            Self::Exists => {
                if node.unknown().is_some() {
                    Kleene::Unknown
                } else {
                    (!node.is_null()).into()
                }
            }
            Self::Present => match node {
                Node::Json(_) | Node::Raw(_) => Kleene::True,
                Node::Fact(_) => Self::Exists.eval(node, document),
            },
            Self::Is(matcher) => is(node, matcher),
            Self::Reference(other, relation) => {
                any_at(other, document, &|other| any_scalar_pair(node, other, *relation))
            }
        }
    }
}

/// The greatest of what a test says of each value at a path: true at once, unknown if one is, else false.
fn any_at<D: Document + ?Sized>(path: &Path, document: &D, test: &impl Fn(Node<'_>) -> Kleene) -> Kleene {
    let mut answer = Kleene::False;
    path.visit(document, &mut |node| {
        answer = answer.max(test(node));
        if answer == Kleene::True { Flow::Stop } else { Flow::On }
    });
    answer
}

fn is(node: Node<'_>, matcher: &Matcher) -> Kleene {
    any_item(node, &|item| match item.scalar() {
        Some(scalar) => matcher.matches(scalar).into(),
        None if matcher.reads_text() => is_in_object(item, matcher),
        None => Kleene::False,
    })
}

/// A text that is compared with an object is meant to be compared with the object's JSON.
fn is_in_object(node: Node<'_>, matcher: &Matcher) -> Kleene {
    let Some(text) = node.object_text() else { return Kleene::False };
    let mut reasons = BTreeSet::new();
    unknowns_in(node, &mut reasons);
    if reasons.is_empty() { matcher.matches(Scalar::Text(&text)).into() } else { Kleene::Unknown }
}

/// The greatest of what a test says of a value, or of each item of a list; unknown of an unknown one.
fn any_item(node: Node<'_>, test: &dyn Fn(Node<'_>) -> Kleene) -> Kleene {
    if node.unknown().is_some() {
        return Kleene::Unknown;
    }
    let Some(items) = node.items() else { return test(node) };
    let mut answer = Kleene::False;
    for item in items {
        answer = answer.max(any_item(item, test));
        if answer == Kleene::True {
            break;
        }
    }
    answer
}

/// The greatest of what a keyword says of every leaf and every name below a value.
fn any_leaf(node: Node<'_>, keyword: &Matcher) -> Kleene {
    let mut answer = Kleene::False;
    if let Some(members) = node.members() {
        for (name, member) in members {
            let name = Kleene::from(keyword.matches(Scalar::Text(name)));
            answer = answer.max(name).max(any_leaf(member, keyword));
            if answer == Kleene::True {
                break;
            }
        }
        return answer;
    }
    let Some(items) = node.items() else { return is(node, keyword) };
    for item in items {
        answer = answer.max(any_leaf(item, keyword));
        if answer == Kleene::True {
            break;
        }
    }
    answer
}

fn any_scalar_pair(one: Node<'_>, other: Node<'_>, relation: Relation) -> Kleene {
    any_item(one, &|one| {
        any_item(other, &|other| match (one.scalar(), other.scalar()) {
            (Some(one), Some(other)) => {
                as_text(one, |one| as_text(other, |other| relation.holds(one, other))).into()
            }
            _ => Kleene::False,
        })
    })
}

impl Relation {
    fn holds(self, text: &str, other: &str) -> bool {
        let bytes_will_do = self.cased || (text.is_ascii() && other.is_ascii());
        if !bytes_will_do {
            let folded = Self { cased: true, ..self };
            return folded.holds(&text.to_lowercase(), &other.to_lowercase());
        }
        let (text, other) = (text.as_bytes(), other.as_bytes());
        let same = |part: &[u8]| if self.cased { part == other } else { part.eq_ignore_ascii_case(other) };
        match self.kind {
            RelationKind::Equals => same(text),
            RelationKind::StartsWith => text.get(..other.len()).is_some_and(same),
            RelationKind::EndsWith => {
                text.len().checked_sub(other.len()).and_then(|from| text.get(from..)).is_some_and(same)
            }
            RelationKind::Contains => other.is_empty() || text.windows(other.len()).any(same),
        }
    }
}

fn unknowns_at<D: Document + ?Sized>(path: &Path, document: &D, reasons: &mut BTreeSet<String>) {
    path.visit(document, &mut |node| {
        unknowns_in(node, reasons);
        Flow::On
    });
}

fn unknowns_in(node: Node<'_>, reasons: &mut BTreeSet<String>) {
    if let Some(reason) = node.unknown() {
        reasons.insert(reason.to_owned());
    }
    let members = node.members().into_iter().flatten().map(|(_, member)| member);
    for child in node.items().into_iter().flatten().chain(members) {
        unknowns_in(child, reasons);
    }
}

fn is_unknown_at<D: Document + ?Sized>(path: &Path, document: &D, is_meant: fn(&str) -> bool) -> bool {
    path.visit(document, &mut |node| if is_unknown_in(node, is_meant) { Flow::Stop } else { Flow::On })
        == Flow::Stop
}

fn is_unknown_in(node: Node<'_>, is_meant: fn(&str) -> bool) -> bool {
    let members = node.members().into_iter().flatten().map(|(_, member)| member);
    node.unknown().is_some_and(is_meant)
        || node.items().into_iter().flatten().chain(members).any(|child| is_unknown_in(child, is_meant))
}

/// The facts at some paths, those that are there.
pub(super) fn evidence<D: Document + ?Sized>(paths: &[Path], document: &D) -> FactMap {
    paths.iter().filter_map(|path| Some((path.name().to_owned(), path.gather(document)?))).collect()
}
