//! Which of the remembered events lie together in a window that meets a correlation's condition.
//!
//! Every condition here can only become true by more events, never false again: so what holds of the events
//! that have come holds of all, in whatever order they come.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::Remembered;

/// What has to be in one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rules) enum Condition {
    /// So many calls.
    Calls(usize),
    /// So many distinct values.
    Values(usize),
    /// Matches of these rules.
    Rules(Presence),
    /// Matches of so many rules one after the other, in the order of their places.
    Ordered(u16),
}

/// Which rules have to have matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rules) enum Presence {
    /// So many different ones.
    AtLeast(usize),
    /// The one at a place.
    Rule(u16),
    /// All of these.
    All(Vec<Presence>),
    /// Any of these.
    Any(Vec<Presence>),
    /// At least so many of these.
    Some(usize, Vec<Presence>),
}

impl Presence {
    fn holds(&self, rules: &BTreeMap<u16, usize>) -> bool {
        match self {
            Self::AtLeast(count) => rules.len() >= *count,
            Self::Rule(place) => rules.contains_key(place),
            Self::All(parts) => parts.iter().all(|part| part.holds(rules)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(rules)),
            Self::Some(count, parts) => parts.iter().filter(|part| part.holds(rules)).count() >= *count,
        }
    }
}

/// What a window holds.
#[derive(Debug, Default)]
struct Window<'m> {
    counted: BTreeMap<&'m str, usize>,
    rules: BTreeMap<u16, usize>,
}

impl<'m> Window<'m> {
    fn counts(condition: &Condition, one: &'m Remembered) -> Vec<&'m str> {
        match condition {
            Condition::Calls(_) => vec![one.call.as_str()],
            Condition::Values(_) => one.values.iter().map(String::as_str).collect(),
            Condition::Rules(_) | Condition::Ordered(_) => Vec::new(),
        }
    }

    fn add(&mut self, condition: &Condition, one: &'m Remembered) {
        for counted in Self::counts(condition, one) {
            *self.counted.entry(counted).or_default() += 1;
        }
        for rule in &one.rules {
            *self.rules.entry(*rule).or_default() += 1;
        }
    }

    fn remove(&mut self, condition: &Condition, one: &'m Remembered) {
        for counted in Self::counts(condition, one) {
            drop_one(&mut self.counted, &counted);
        }
        for rule in &one.rules {
            drop_one(&mut self.rules, rule);
        }
    }

    fn meets(&self, condition: &Condition) -> bool {
        match condition {
            Condition::Calls(count) | Condition::Values(count) => self.counted.len() >= *count,
            Condition::Rules(presence) => presence.holds(&self.rules),
            Condition::Ordered(_) => false,
        }
    }
}

fn drop_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// What of each event meets the condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rules) struct Met {
    /// It lies in a window that meets it.
    pub(in crate::rules) part: Vec<bool>,
    /// A window that ends with it meets it.
    pub(in crate::rules) end: Vec<bool>,
}

/// What of each of the events, which are sorted by time, meets the condition. A window holds what is at most
/// `span` microseconds apart.
pub(in crate::rules) fn met(condition: &Condition, span: i64, events: &[Remembered]) -> Met {
    match condition {
        Condition::Ordered(rules) => ordered(*rules, span, events),
        _ => sliding(condition, span, events),
    }
}

fn sliding(condition: &Condition, span: i64, events: &[Remembered]) -> Met {
    let mut window = Window::default();
    let mut met = vec![false; events.len()];
    let mut ends = Vec::with_capacity(events.len());
    let (mut left, mut marked) = (0, 0);
    for (right, event) in events.iter().enumerate() {
        window.add(condition, event);
        while let Some(oldest) = events.get(left).filter(|oldest| event.at.saturating_sub(oldest.at) > span) {
            window.remove(condition, oldest);
            left += 1;
        }
        let meets = window.meets(condition);
        ends.push(meets);
        if meets {
            // What was marked before need not be marked again.
            let from = left.max(marked);
            for mark in met.iter_mut().take(right + 1).skip(from) {
                *mark = true;
            }
            marked = right + 1;
        }
    }
    Met { part: met, end: ends }
}

/// The window that ends at an event: what is counted in it, and the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rules) struct Shown<'m> {
    /// How many calls, values or rules there are.
    pub(in crate::rules) count: usize,
    /// The distinct values.
    pub(in crate::rules) values: BTreeSet<&'m str>,
    /// The places of the rules that matched.
    pub(in crate::rules) rules: BTreeSet<u16>,
    /// When the first and the last of them was, in microseconds.
    pub(in crate::rules) first: i64,
    pub(in crate::rules) last: i64,
}

/// What there is within `span` microseconds up to `last`.
pub(in crate::rules) fn shown<'m>(
    condition: &Condition,
    span: i64,
    events: &'m [Remembered],
    last: i64,
) -> Shown<'m> {
    let inside = || events.iter().filter(|event| event.at <= last && last.saturating_sub(event.at) <= span);
    let mut window = Window::default();
    inside().for_each(|event| window.add(condition, event));
    let rules: BTreeSet<u16> = window.rules.keys().copied().collect();
    let count = match condition {
        Condition::Calls(_) | Condition::Values(_) => window.counted.len(),
        Condition::Rules(_) | Condition::Ordered(_) => rules.len(),
    };
    Shown {
        count,
        values: inside().flat_map(|event| event.values.iter().map(String::as_str)).collect(),
        rules,
        first: inside().map(|event| event.at).min().unwrap_or(last),
        last,
    }
}

/// The ends of chains: for each event and place the best time at which a chain through it begins (or ends).
type Ends = Vec<Vec<Option<i64>>>;

/// An event is part of a chain if the latest beginning before it and the earliest end after it are near enough.
/// Events of the same time count as in order, since times are of whole seconds.
fn ordered(rules: u16, span: i64, events: &[Remembered]) -> Met {
    let forward: Vec<&Remembered> = events.iter().collect();
    let begins = chains(rules, &forward, |place| place, 1);
    let backward: Vec<&Remembered> = events.iter().rev().collect();
    let ends = chains(rules, &backward, |place| rules - 1 - place, -1);
    let near = |at: usize, place: usize| {
        let back = events.len().checked_sub(at + 1)?;
        let begin = (*begins.get(place)?.get(at)?)?;
        let end = (*ends.get(usize::from(rules).checked_sub(place + 1)?)?.get(back)?)?;
        Some(end.saturating_sub(begin) <= span)
    };
    let is_near = |at: usize, place: usize| near(at, place).unwrap_or_default();
    let last = usize::from(rules).saturating_sub(1);
    Met {
        part: (0..events.len()).map(|at| (0..=last).any(|place| is_near(at, place))).collect(),
        end: (0..events.len()).map(|at| is_near(at, last)).collect(),
    }
}

/// Goes through the events in one direction and extends chains place by place, each time from another event.
fn chains(rules: u16, events: &[&Remembered], place_of: impl Fn(u16) -> u16, direction: i64) -> Ends {
    let mut levels: Ends = Vec::new();
    for level in 0..rules {
        let matches = |event: &Remembered| event.rules.contains(&place_of(level));
        let mut bests = Vec::with_capacity(events.len());
        let mut best = Best { direction, first: None, second: None };
        for same_time in events.chunk_by(|one, other| one.at == other.at) {
            let from = bests.len();
            if let Some(before) = levels.last() {
                for (event, start) in same_time.iter().zip(before.iter().skip(from)) {
                    best.offer(*start, &event.event);
                }
            }
            for event in same_time {
                let start = if level == 0 { Some(event.at) } else { best.other_than(&event.event) };
                bests.push(start.filter(|_| matches(event)));
            }
        }
        levels.push(bests);
    }
    levels
}

/// The best beginning of a chain, and the best of another event.
struct Best<'m> {
    direction: i64,
    first: Option<(i64, &'m str)>,
    second: Option<(i64, &'m str)>,
}

impl<'m> Best<'m> {
    fn offer(&mut self, start: Option<i64>, event: &'m str) {
        let Some(start) = start else { return };
        let is_better = |than: Option<(i64, &str)>| {
            than.is_none_or(|(other, _)| start * self.direction > other * self.direction)
        };
        if is_better(self.first) {
            self.second = self.first;
            self.first = Some((start, event));
        } else if is_better(self.second) {
            self.second = Some((start, event));
        }
    }

    fn other_than(&self, event: &str) -> Option<i64> {
        let found = [self.first, self.second].into_iter().flatten().find(|(_, other)| *other != event);
        found.map(|(start, _)| start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part(condition: &Condition, span: i64, events: &[Remembered]) -> Vec<bool> {
        met(condition, span, events).part
    }

    fn event(at: i64, number: usize, rule: u16, value: &str) -> Remembered {
        Remembered {
            at,
            event: format!("e{number:03}"),
            call: format!("c{number}"),
            rules: vec![rule],
            values: vec![value.to_owned()],
            account: String::new(),
            region: None,
            arrived: 0,
            told: false,
            ended: false,
            lifts: Vec::new(),
        }
    }

    fn events(parts: &[(i64, u16, &str)]) -> Vec<Remembered> {
        parts.iter().enumerate().map(|(number, (at, rule, value))| event(*at, number, *rule, value)).collect()
    }

    #[test]
    fn a_window_slides_and_is_as_long_as_it_says() {
        let events = events(&[(0, 0, "a"), (10, 0, "b"), (20, 0, "b"), (31, 0, "c")]);
        assert_eq!(part(&Condition::Calls(3), 20, &events), [true, true, true, false]);
        assert_eq!(part(&Condition::Calls(3), 19, &events), [false; 4]);
        assert_eq!(part(&Condition::Values(2), 11, &events), [true, true, true, true]);
        assert_eq!(part(&Condition::Values(3), 20, &events), [false; 4]);
        assert_eq!(shown(&Condition::Values(2), 11, &events, 31).count, 2);
    }

    #[test]
    fn records_of_one_call_count_once() {
        let mut events = events(&[(0, 0, "a"), (1, 0, "b")]);
        events[1].call = "c0".to_owned();
        assert_eq!(part(&Condition::Calls(2), 10, &events), [false, false]);
    }

    #[test]
    fn order_matters_only_where_it_is_asked_for() {
        let events = events(&[(0, 1, ""), (5, 0, ""), (9, 0, ""), (30, 1, "")]);
        let both = Condition::Rules(Presence::AtLeast(2));
        assert_eq!(part(&both, 10, &events), [true, true, true, false]);
        assert_eq!(part(&Condition::Ordered(2), 10, &events), [false; 4]);
        assert_eq!(part(&Condition::Ordered(2), 21, &events), [false, false, true, true]);
        assert_eq!(part(&Condition::Ordered(2), 25, &events), [false, true, true, true]);
    }

    #[test]
    fn one_event_is_not_followed_by_itself() {
        let mut one = event(5, 0, 0, "");
        one.rules.push(1);
        assert_eq!(part(&Condition::Ordered(2), 10, std::slice::from_ref(&one)), [false]);
        let other = event(5, 1, 1, "");
        assert_eq!(part(&Condition::Ordered(2), 10, &[one, other]), [true, true], "at the same second");
    }

    /// The condition as it is meant: any subset within the span.
    fn plain_ordered(rules: u16, span: i64, events: &[Remembered]) -> Vec<bool> {
        fn extend(rules: u16, span: i64, events: &[Remembered], chain: &mut Vec<usize>, met: &mut [bool]) {
            let place = u16::try_from(chain.len()).unwrap();
            if place == rules {
                if events[*chain.last().unwrap()].at - events[chain[0]].at <= span {
                    for at in chain.iter() {
                        met[*at] = true;
                    }
                }
                return;
            }
            for next in 0..events.len() {
                let follows =
                    chain.last().is_none_or(|last| *last != next && events[*last].at <= events[next].at);
                if follows && events[next].rules.contains(&place) {
                    chain.push(next);
                    extend(rules, span, events, chain, met);
                    chain.pop();
                }
            }
        }
        let mut met = vec![false; events.len()];
        extend(rules, span, events, &mut Vec::new(), &mut met);
        met
    }

    fn some_events() -> impl Strategy<Value = Vec<Remembered>> {
        prop::collection::vec((0..40_i64, 1..8_u16, 0..4_usize), 0..9).prop_map(|parts| {
            let mut events: Vec<Remembered> = parts
                .into_iter()
                .enumerate()
                .map(|(number, (at, rules, value))| {
                    let mut event = event(at, number, 0, ["a", "b", "c", "d"][value]);
                    event.rules = (0..3).filter(|rule| rules & (1 << rule) != 0).collect();
                    event
                })
                .collect();
            events.sort();
            events
        })
    }

    proptest! {
        #[test]
        fn chains_are_found_as_trying_all_finds_them(events in some_events(), span in 0..40_i64, rules in 2..4_u16) {
            prop_assert_eq!(part(&Condition::Ordered(rules), span, &events), plain_ordered(rules, span, &events));
        }

        /// More events never take an answer back.
        #[test]
        fn more_events_never_take_an_answer_back(events in some_events(), span in 0..40_i64, left_out in 0..9_usize) {
            for condition in [
                Condition::Calls(3), Condition::Values(3), Condition::Ordered(2),
                Condition::Rules(Presence::All(vec![Presence::Rule(0), Presence::Some(1, vec![Presence::Rule(1), Presence::Rule(2)])])),
            ] {
                let all = met(&condition, span, &events);
                let mut fewer = events.clone();
                if left_out < fewer.len() { fewer.remove(left_out); }
                let before = met(&condition, span, &fewer);
                for (at_before, event) in fewer.iter().enumerate() {
                    let at = events.iter().position(|other| other.event == event.event).unwrap();
                    prop_assert!(!before.part[at_before] || all.part[at], "{condition:?} {event:?}");
                    prop_assert!(!before.end[at_before] || all.end[at], "{condition:?} {event:?}");
                }
            }
        }
    }
}
