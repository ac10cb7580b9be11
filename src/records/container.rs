//! What holds the records: `{"Records":[…]}`, an array, or one object behind the other, each a record or an event of
//! EventBridge around one.
//!
//! Within an array, a broken record ends where its brackets say. Between objects on lines of their own, a line
//! that begins with `{` is taken as the beginning of the next one as soon as one was broken.

use std::io::Read;

use memchr::memmem;

use super::envelope::{Fields, Taken};
use super::raw::{has_broken_string, is_blank};
use super::scan::Index;
use super::skip::Skip;
use super::split::{Span, significant};
use super::window::Window;
use super::{Limits, Malformed, Place, Problem, Sink, Summary};

/// What begins a record on a line of its own.
const LINE_START: &[u8] = b"\n{";

/// The longest key that is read of what follows an array `Records`, and the longest value that is read instead of
/// records.
const MAX_KEY: usize = 1024;

/// The reading of one file.
pub(super) struct Reader<'r, R, S> {
    window: Window<R>,
    index: Index,
    /// That of a record within an event of EventBridge.
    inner: Index,
    fields: Fields,
    limits: &'r Limits,
    sink: &'r mut S,
    summary: Summary,
    /// Whether objects end at the latest where the next line begins with one.
    by_lines: bool,
    stopped: bool,
}

impl<'r, R: Read, S: Sink> Reader<'r, R, S> {
    pub(super) fn new(input: R, limits: &'r Limits, sink: &'r mut S, window: usize) -> Self {
        Self {
            window: Window::new(input, limits.max_inflated, window),
            index: Index::new(),
            inner: Index::new(),
            fields: Fields::new(),
            limits,
            sink,
            summary: Summary::default(),
            by_lines: false,
            stopped: false,
        }
    }

    /// Reads it all.
    pub(super) fn run(mut self) -> Summary {
        self.pass_byte_order_mark();
        let mut is_blank = true;
        while let Some(byte) = self.peek() {
            is_blank = false;
            match byte {
                b'{' => self.object(),
                b'[' => {
                    self.go_to(self.window.start + 1);
                    self.array();
                }
                _ => self.no_object(),
            }
        }
        if !self.stopped
            && let Some(problem) = self.window.take_problem()
        {
            self.malformed(problem);
        } else if is_blank {
            // CloudTrail writes no such file; whoever did has lost what was in it.
            self.malformed(Problem::NoRecords);
        }
        self.summary.inflated = self.window.inflated();
        self.summary
    }

    fn pass_byte_order_mark(&mut self) {
        self.fill();
        if self.window.text().starts_with(b"\xEF\xBB\xBF") {
            self.go_to(3);
        }
    }

    /// The next byte that is no white space, to which it goes; none at the end.
    fn peek(&mut self) -> Option<u8> {
        while !self.stopped {
            if let Some((byte, at)) = significant(self.window.text(), self.window.start) {
                self.window.start = at;
                return Some(byte);
            }
            if !self.window.refill() {
                return None;
            }
            self.index.restart(self.window.start);
        }
        None
    }

    fn fill(&mut self) -> bool {
        let more = self.window.fill();
        self.index.restart(self.window.start);
        more
    }

    /// Goes on from a place outside of a string, where all is looked at anew.
    fn go_to(&mut self, at: usize) {
        self.window.start = at;
        self.index.restart(at);
    }

    /// Goes over the rest of an array of records, from behind its bracket.
    fn array(&mut self) {
        let mut comma = true;
        while let Some(byte) = self.peek() {
            match byte {
                b']' => return self.go_to(self.window.start + 1),
                b',' => {
                    if std::mem::replace(&mut comma, true) {
                        self.malformed(Problem::not_json("a record before `,`"));
                    }
                    self.window.start += 1;
                    continue;
                }
                _ => {}
            }
            if !std::mem::take(&mut comma) {
                self.malformed(Problem::not_json("`,` between records"));
            }
            if byte == b'{' {
                self.element();
            } else {
                self.malformed(Problem::NotAnObject);
                self.skip(&mut Skip::default());
            }
        }
        self.ended();
    }

    /// Takes one record of an array.
    fn element(&mut self) {
        loop {
            let start = self.window.start;
            match self.fields.take(self.window.text(), &mut self.index, start, self.limits, false) {
                Taken::Whole(end, problem) => {
                    self.take(end, problem, false);
                    self.window.start = end;
                    return;
                }
                _ if self.window.unread() > self.limits.max_record => {
                    self.malformed(Problem::TooLarge { limit: self.limits.max_record });
                    return self.skip(&mut Skip::default());
                }
                _ if self.fill() => {}
                _ => return self.ended(),
            }
        }
    }

    /// Takes one object that stands for itself, or what holds an array of records.
    fn object(&mut self) {
        let max = self.limits.max_record;
        loop {
            let start = self.window.start;
            let bound = self.bound();
            let text = self.window.text().get(..bound.unwrap_or(usize::MAX)).unwrap_or(self.window.text());
            // Where something is found beyond what a record may have does not count: more may be held than that.
            match self.fields.take(text, &mut self.index, start, self.limits, true) {
                Taken::Container(at) if at - start <= max => {
                    self.go_to(at + 1);
                    self.array();
                    return self.container_rest();
                }
                Taken::Whole(end, problem) if end - start <= max => return self.object_ended(end, problem),
                Taken::Short if bound.is_some_and(|bound| bound - start <= max) => {
                    return self.object_broken(None, Problem::not_json("the record's end on its line"));
                }
                _ if self.window.unread() > max => return self.object_too_large(),
                _ if self.fill() => {}
                _ => {
                    if self.next_line(self.window.start + 1, None).is_none() {
                        return self.ended();
                    }
                    return self.object_broken(None, Problem::not_json("the record's end"));
                }
            }
        }
    }

    /// Reports an object that is too large and goes to where it ends, or to the next line that begins with one.
    fn object_too_large(&mut self) {
        self.malformed(Problem::TooLarge { limit: self.limits.max_record });
        if self.by_lines {
            return self.skip_to_line();
        }
        let mut skip = Skip::object();
        self.skip(&mut skip);
        self.by_lines = skip.is_at_line();
    }

    /// Where the object at hand ends at the latest, if that can be told.
    fn bound(&self) -> Option<usize> {
        if self.by_lines { self.next_line(self.window.start + 1, None) } else { None }
    }

    fn object_ended(&mut self, end: usize, problem: Option<Problem>) {
        let object = self.window.text().get(self.window.start..end).unwrap_or_default();
        let is_broken = memchr::memchr(b'\n', object).is_some() && has_broken_string(object);
        match problem {
            _ if is_broken => self.object_broken(Some(end), Problem::not_json("`\"` before the line's end")),
            Some(problem @ Problem::NotJson(_)) => self.object_broken(Some(end), problem),
            problem => {
                self.take(end, problem, true);
                // What was looked at was no more than this line.
                if self.by_lines { self.go_to(end) } else { self.window.start = end }
            }
        }
    }

    /// Reports a broken object and goes to the next line that begins with one, or to where it seems to end.
    fn object_broken(&mut self, end: Option<usize>, problem: Problem) {
        self.malformed(problem);
        if let Some(next) = self.next_line(self.window.start + 1, end) {
            self.by_lines = true;
            return self.go_to(next);
        }
        match end {
            Some(end) => self.go_to(end),
            None => self.skip_to_line(),
        }
    }

    /// Where, from a place on, the first line is that begins with an object.
    fn next_line(&self, from: usize, to: Option<usize>) -> Option<usize> {
        let text = self.window.text();
        let part = text.get(from..to.unwrap_or(text.len()))?;
        memmem::find(part, LINE_START).map(|at| from + at + 1)
    }

    /// Passes by all that is not held, up to the next line that begins with an object.
    fn skip_to_line(&mut self) {
        while !self.stopped {
            if let Some(next) = self.next_line(self.window.start, None) {
                self.by_lines = true;
                return self.go_to(next);
            }
            // The last byte may be the line break before it.
            let last = self.window.unread().min(1);
            self.window.start = self.window.text().len() - last;
            if !self.fill() {
                self.window.start = self.window.text().len();
                return;
            }
        }
    }

    /// Passes by something that neither begins an object nor an array.
    fn no_object(&mut self) {
        let is_first = self.summary == Summary::default();
        if is_first && self.is_other_json() {
            self.malformed(Problem::NoRecords);
            // What is wrong with the compression is told beside.
            return self.go_to(self.window.text().len());
        }
        self.malformed(if is_first { Problem::OtherFormat } else { Problem::not_json("a record") });
        self.skip_to_line();
    }

    /// Whether the whole file is one small JSON value other than an object or array.
    fn is_other_json(&mut self) -> bool {
        while !self.window.is_ended() && self.window.unread() <= MAX_KEY && self.fill() {}
        let rest = self.window.text().get(self.window.start..).unwrap_or_default();
        self.window.is_ended()
            && rest.len() <= MAX_KEY
            && serde_json::from_slice::<serde::de::IgnoredAny>(rest).is_ok()
    }

    /// Passes by what follows the array in what holds it, up to its end. A second array `Records` would be taken
    /// by some readers and not by others.
    fn container_rest(&mut self) {
        loop {
            match self.peek() {
                Some(b'}') => return self.go_to(self.window.start + 1),
                Some(b',') => self.go_to(self.window.start + 1),
                Some(_) => {
                    self.malformed(Problem::not_json("`,` or `}` behind the records"));
                    return self.skip(&mut Skip::inside());
                }
                None => return self.ended(),
            }
            if self.peek() != Some(b'"') {
                continue;
            }
            while self.window.unread() < MAX_KEY && self.fill() {}
            let rest = self.window.text().get(self.window.start..).unwrap_or_default();
            if rest.starts_with(b"\"Records\"") {
                self.malformed(Problem::duplicate("Records"));
            }
            self.skip(&mut Skip::default());
            if self.peek() == Some(b':') {
                self.go_to(self.window.start + 1);
                self.peek();
                self.skip(&mut Skip::default());
            }
        }
    }

    /// Passes by a value.
    fn skip(&mut self, skip: &mut Skip) {
        loop {
            let rest = self.window.text().get(self.window.start..).unwrap_or_default();
            if let Some(length) = skip.feed(rest) {
                return self.go_to(self.window.start + length);
            }
            if !self.window.refill() {
                return self.go_to(self.window.text().len());
            }
        }
    }

    /// Hands on the object that ends before a place.
    fn take(&mut self, end: usize, problem: Option<Problem>, stands_alone: bool) {
        let place = self.place();
        if let Some(problem) = problem {
            return self.malformed(problem);
        }
        let (mut text, mut index) = (self.window.text(), &self.index);
        let mut span = Span { start: self.window.start, end };
        let mut outcome = Ok(());
        if let Some(detail) = self.fields.detail(text) {
            text = detail.of(text);
            span = Span { start: 0, end: text.len() };
            self.inner.restart(0);
            outcome = match self.fields.take(text, &mut self.inner, 0, self.limits, false) {
                Taken::Whole(_, None) => Ok(()),
                Taken::Whole(_, Some(problem)) => Err(problem),
                _ => Err(Problem::not_json("the end of `detail`")),
            };
            index = &self.inner;
        } else if stands_alone && self.fields.is_no_record() {
            outcome = Err(Problem::NoRecords);
        }
        match outcome.and_then(|()| self.fields.envelope(text, index, span)) {
            Ok(envelope) => {
                self.sink.record(&envelope, place);
                self.summary.records += 1;
            }
            Err(problem) => self.malformed(problem),
        }
    }

    fn place(&self) -> Place {
        Place { offset: self.window.offset(), index: self.summary.records + self.summary.malformed }
    }

    fn malformed(&mut self, problem: Problem) {
        let place = self.place();
        self.sink.malformed(Malformed { place, problem });
        self.summary.malformed += 1;
    }

    /// The text ended in the midst of something.
    fn ended(&mut self) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        let rest = self.window.text().get(self.window.start..).unwrap_or_default();
        debug_assert!(self.window.is_ended() || is_blank(rest), "the end is where nothing more comes");
        let problem = self.window.take_problem().unwrap_or(Problem::Truncated);
        self.malformed(problem);
    }
}
