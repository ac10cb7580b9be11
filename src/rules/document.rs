//! What rules are evaluated against: facts, and CloudTrail records as they came.
//!
//! An event is read where it lies, since turning a whole record into facts costs more than judging it.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::screen::NOT_LOOKED_AT;
use crate::model::{Fact, FactMap};
use crate::records::{Raw, RawItems};

/// A value inside a document, borrowed from facts or from JSON.
#[derive(Debug, Clone, Copy)]
pub enum Node<'a> {
    /// A fact.
    Fact(&'a Fact),
    /// A part of a CloudTrail record.
    Json(&'a Json),
    /// A part of a record as it lies in its file. What takes more than a look is unknown: a text with escapes, and
    /// an object as a whole.
    Raw(Raw<'a>),
}

/// A value that is neither a list nor an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar<'a> {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(&'a str),
}

impl<'a> Node<'a> {
    /// Why it is not known, if it is not.
    pub fn unknown(self) -> Option<&'a str> {
        match self {
            Self::Fact(Fact::Unknown(reason)) => Some(reason),
            Self::Raw(raw) if raw.is_object() || matches!(raw.text(), Some(Cow::Owned(_))) => {
                Some(NOT_LOOKED_AT)
            }
            _ => None,
        }
    }

    /// Whether it is null.
    pub fn is_null(self) -> bool {
        match self {
            Self::Raw(raw) => raw.is_null(),
            other => matches!(other, Self::Fact(Fact::Null) | Self::Json(Json::Null)),
        }
    }

    /// Its value, if it is a scalar.
    pub fn scalar(self) -> Option<Scalar<'a>> {
        Some(match self {
            Self::Fact(Fact::Text(text)) | Self::Json(Json::String(text)) => Scalar::Text(text),
            Self::Fact(Fact::Bool(value)) | Self::Json(Json::Bool(value)) => Scalar::Bool(*value),
            Self::Fact(Fact::Int(value)) => Scalar::Int(*value),
            Self::Fact(Fact::Float(value)) => Scalar::Float(*value),
            Self::Json(Json::Number(number)) => match number.as_i64() {
                Some(value) => Scalar::Int(value),
                None => Scalar::Float(number.as_f64()?),
            },
            Self::Raw(raw) => return raw_scalar(raw),
            _ => return None,
        })
    }

    /// What an object holds under a name.
    pub fn member(self, name: &str) -> Option<Self> {
        match self {
            Self::Fact(Fact::Map(map)) => map.get(name).map(Self::Fact),
            Self::Json(Json::Object(map)) => map.get(name).map(Self::Json),
            Self::Raw(raw) => raw.get(name).map(Self::Raw),
            _ => None,
        }
    }

    /// The items of a list.
    pub fn items(self) -> Option<Items<'a>> {
        match self {
            Self::Fact(Fact::List(items)) => Some(Items::Facts(items.iter())),
            Self::Json(Json::Array(items)) => Some(Items::Json(items.iter())),
            Self::Raw(raw) if raw.is_list() => Some(Items::Raw(raw.items())),
            _ => None,
        }
    }

    /// The members of an object by name.
    pub fn members(self) -> Option<Members<'a>> {
        match self {
            Self::Fact(Fact::Map(map)) => Some(Members::Facts(map.iter())),
            Self::Json(Json::Object(map)) => Some(Members::Json(map.iter())),
            _ => None,
        }
    }

    /// An object as compact JSON, as rules written for raw logs expect it.
    pub fn object_text(self) -> Option<String> {
        match self {
            Self::Fact(Fact::Map(map)) => serde_json::to_string(map).ok(),
            Self::Json(Json::Object(map)) => serde_json::to_string(map).ok(),
            _ => None,
        }
    }

    /// A copy as a fact.
    pub fn to_fact(self) -> Fact {
        match self {
            Self::Fact(fact) => fact.clone(),
            Self::Json(json) => Fact::from(json),
            Self::Raw(raw) => {
                serde_json::from_str(raw.json()).map_or(Fact::Null, |json: Json| Fact::from(&json))
            }
        }
    }
}

/// A scalar as it lies in a file; none of a text that has to be unescaped first.
fn raw_scalar(raw: Raw<'_>) -> Option<Scalar<'_>> {
    if let Some(text) = raw.text() {
        return match text {
            Cow::Borrowed(text) => Some(Scalar::Text(text)),
            Cow::Owned(_) => None,
        };
    }
    if let Some(value) = raw.bool() {
        return Some(Scalar::Bool(value));
    }
    let number: serde_json::Number = serde_json::from_str(raw.json()).ok()?;
    number.as_i64().map(Scalar::Int).or_else(|| number.as_f64().map(Scalar::Float))
}

/// The items of a list.
#[derive(Debug, Clone)]
pub enum Items<'a> {
    /// Of a list of facts.
    Facts(std::slice::Iter<'a, Fact>),
    /// Of a JSON array.
    Json(std::slice::Iter<'a, Json>),
    /// Of an array as it lies in its file.
    Raw(RawItems<'a>),
}

impl<'a> Iterator for Items<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        match self {
            Self::Facts(items) => items.next().map(Node::Fact),
            Self::Json(items) => items.next().map(Node::Json),
            Self::Raw(items) => items.next().map(Node::Raw),
        }
    }
}

/// The members of an object by name.
#[derive(Debug, Clone)]
pub enum Members<'a> {
    /// Of an object of facts.
    Facts(std::collections::btree_map::Iter<'a, String, Fact>),
    /// Of a JSON object.
    Json(serde_json::map::Iter<'a>),
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, Node<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Facts(members) => members.next().map(|(name, fact)| (name.as_str(), Node::Fact(fact))),
            Self::Json(members) => members.next().map(|(name, json)| (name.as_str(), Node::Json(json))),
        }
    }
}

/// What a rule is evaluated against.
pub trait Document {
    /// What stands at the top under a name. `enrichment` says that it is one of Keyward's own facts about an
    /// event and no field of the record.
    fn top(&self, name: &str, enrichment: bool) -> Option<Node<'_>>;

    /// What keywords (values without a field) are looked for in.
    fn searched(&self) -> Node<'_>;
}

impl Document for Fact {
    fn top(&self, name: &str, _enrichment: bool) -> Option<Node<'_>> {
        match self {
            Self::Map(map) => map.get(name).map(Node::Fact),
            Self::Unknown(_) => Some(Node::Fact(self)),
            _ => None,
        }
    }

    fn searched(&self) -> Node<'_> {
        Node::Fact(self)
    }
}

/// A CloudTrail record and what Keyward adds to it.
#[derive(Debug, Clone, Copy)]
pub struct EventDocument<'a> {
    /// The record as delivered.
    pub record: &'a Json,
    /// The facts of kind `event` beyond the record's own fields.
    pub enrichment: &'a Fact,
}

impl Document for EventDocument<'_> {
    fn top(&self, name: &str, enrichment: bool) -> Option<Node<'_>> {
        if enrichment { self.enrichment.top(name, true) } else { self.record.get(name).map(Node::Json) }
    }

    fn searched(&self) -> Node<'_> {
        Node::Json(self.record)
    }
}

/// The names at the top of an event's facts that are Keyward's and not CloudTrail's.
const ENRICHMENT: [&str; 6] = ["event", "boundary", "target", "new_policy", "grant", "trail_change"];

/// Whether a path names one of Keyward's own facts about an event, and no field of the record.
pub fn is_enrichment(path: &str) -> bool {
    path.split('.').next().is_some_and(|first| ENRICHMENT.contains(&first))
}

/// A dotted path, split once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    name: String,
    steps: Vec<Step>,
    enrichment: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    name: String,
    /// The rest of the path from here, for names that hold dots themselves (tags do).
    rest: Option<String>,
}

impl Path {
    /// Splits a dotted path.
    pub(super) fn new(name: &str) -> Self {
        let name = rsigma_parser::fieldpath::unescape_brackets(name).into_owned();
        let names: Vec<&str> = name.split('.').collect();
        let steps = names
            .iter()
            .enumerate()
            .map(|(at, step)| Step {
                name: (*step).to_owned(),
                rest: (at > 0 && at + 1 < names.len())
                    .then(|| names.iter().skip(at).copied().collect::<Vec<_>>().join(".")),
            })
            .collect();
        let enrichment = is_enrichment(&name);
        Self { name, steps, enrichment }
    }

    /// The path as written.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether it leads to one of Keyward's own facts about an event, and to no field of the record.
    pub(super) fn is_enrichment(&self) -> bool {
        self.enrichment
    }

    /// Hands every value at the path to `visit`, until it says to stop: several where the way leads through
    /// lists, none where there is nothing, the unknown itself where the way ends in one.
    pub(super) fn visit<'d, D: Document + ?Sized>(
        &self,
        document: &'d D,
        visit: &mut impl FnMut(Node<'d>) -> Flow,
    ) -> Flow {
        let Some((first, rest)) = self.steps.split_first() else { return Flow::On };
        match document.top(&first.name, self.enrichment) {
            Some(node) => walk(node, rest, visit),
            None => Flow::On,
        }
    }

    /// The value at the path; a list of all where the way leads through lists.
    pub(super) fn gather<D: Document + ?Sized>(&self, document: &D) -> Option<Fact> {
        let mut found = Vec::new();
        self.visit(document, &mut |node| {
            found.push(node.to_fact());
            Flow::On
        });
        if found.len() > 1 { Some(Fact::List(found)) } else { found.pop() }
    }
}

/// Whether a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    Stop,
}

fn walk<'d>(node: Node<'d>, steps: &[Step], visit: &mut impl FnMut(Node<'d>) -> Flow) -> Flow {
    let Some((step, rest)) = steps.split_first() else { return visit(node) };
    if let Some(member) = node.member(&step.name) {
        return walk(member, rest, visit);
    }
    if let Some(items) = node.items() {
        for item in items {
            if walk(item, steps, visit) == Flow::Stop {
                return Flow::Stop;
            }
        }
        return Flow::On;
    }
    if node.unknown().is_some() && !matches!(node, Node::Raw(raw) if raw.is_object()) {
        return visit(node);
    }
    match step.rest.as_deref().and_then(|name| node.member(name)) {
        Some(member) => visit(member),
        None => Flow::On,
    }
}

/// Makes the leaf at a dotted path unknown, as exemplars ask for; whatever stood there is replaced.
pub(super) fn put_unknown(root: &mut FactMap, path: &str, reason: &str) {
    match path.split_once('.') {
        None => {
            root.insert(path.to_owned(), Fact::Unknown(reason.to_owned()));
        }
        Some((first, rest)) => {
            let below = root.entry(first.to_owned()).or_insert_with(|| Fact::Map(FactMap::new()));
            if !matches!(below, Fact::Map(_)) {
                *below = Fact::Map(FactMap::new());
            }
            if let Fact::Map(map) = below {
                put_unknown(map, rest, reason);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gather(fact: &Json, path: &str) -> Option<Fact> {
        Path::new(path).gather(&Fact::from(fact))
    }

    #[test]
    fn a_path_leads_through_objects_and_lists() {
        let facts = json!({"resources": [{"ARN": "a"}, {"ARN": "b"}, {"type": "x"}], "key": {"id": 7}});
        assert_eq!(gather(&facts, "key.id"), Some(Fact::Int(7)));
        assert_eq!(gather(&facts, "resources.ARN"), Some(Fact::texts(["a", "b"])));
        assert_eq!(gather(&facts, "resources.type"), Some(Fact::from("x")));
        assert_eq!(gather(&facts, "key.id.more"), None);
        assert_eq!(gather(&facts, "nothing"), None);
    }

    #[test]
    fn a_name_may_hold_dots() {
        let facts = json!({"tags": {"data.class": "eu", "aws:x": "y"}});
        assert_eq!(gather(&facts, "tags.data.class"), Some(Fact::from("eu")));
        assert_eq!(gather(&facts, "tags.aws:x"), Some(Fact::from("y")));
    }

    #[test]
    fn an_unknown_on_the_way_is_the_answer() {
        let facts = Fact::map([("policy", Fact::Unknown("kms:GetKeyPolicy denied".to_owned()))]);
        assert_eq!(
            Path::new("policy.public").gather(&facts),
            Some(Fact::Unknown("kms:GetKeyPolicy denied".to_owned()))
        );
        let nothing_read = Fact::Unknown("kms:DescribeKey denied".to_owned());
        assert_eq!(Path::new("key.state").gather(&nothing_read), Some(nothing_read.clone()));
    }

    #[test]
    fn an_event_is_read_from_the_record_and_from_the_enrichment() {
        let record = json!({"eventName": "Decrypt", "event": {"own": "not ours"}});
        let enrichment = Fact::map([("event", Fact::map([("own", Fact::Bool(false))]))]);
        let document = EventDocument { record: &record, enrichment: &enrichment };
        assert_eq!(Path::new("eventName").gather(&document), Some(Fact::from("Decrypt")));
        assert_eq!(Path::new("event.own").gather(&document), Some(Fact::Bool(false)));
    }

    #[test]
    fn the_enrichment_is_what_the_catalogue_says_beyond_cloudtrail() {
        use crate::facts::catalogue::CATALOGUE;
        use crate::model::SubjectKind;
        for spec in CATALOGUE.iter().filter(|spec| spec.kind == SubjectKind::Event) {
            let first = spec.path.split('.').next().unwrap();
            assert_eq!(
                !spec.meaning.starts_with("CloudTrail:"),
                ENRICHMENT.contains(&first),
                "{}",
                spec.path
            );
        }
    }

    #[test]
    fn an_unknown_can_be_put_anywhere() {
        let mut root = FactMap::new();
        root.insert("boundary".to_owned(), Fact::map([("declared", Fact::Bool(true))]));
        put_unknown(&mut root, "boundary.outside", "not read");
        put_unknown(&mut root, "drift.policy", "not read");
        let root = Fact::Map(root);
        assert_eq!(root.at("boundary.outside"), Some(&Fact::Unknown("not read".to_owned())));
        assert_eq!(root.at("boundary.declared"), Some(&Fact::Bool(true)));
        assert_eq!(root.at("drift.policy"), Some(&Fact::Unknown("not read".to_owned())));
    }
}
