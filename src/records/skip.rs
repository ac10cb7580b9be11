//! Passing by a value of any size without holding it.

/// What is known of a value that is being passed by.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is told by another byte, and they go together in any way"
)]
pub(super) struct Skip {
    depth: u64,
    in_string: bool,
    escaped: bool,
    begun: bool,
    /// Whether it also ends before a line that begins with an object.
    by_lines: bool,
    /// The last byte was a line break.
    is_line_start: bool,
}

impl Skip {
    /// Inside an object or array that is open.
    pub(super) fn inside() -> Self {
        Self { depth: 1, begun: true, ..Self::default() }
    }

    /// An object that stands for itself, and ends where the next line begins with one if it does not end before.
    pub(super) fn object() -> Self {
        Self { by_lines: true, ..Self::default() }
    }

    /// Whether it ended before a line that begins with an object.
    pub(super) fn is_at_line(&self) -> bool {
        self.by_lines && self.is_line_start
    }

    /// Passes by the next part of the text: how much of it was left of the value, if it ends here.
    ///
    /// A number or word ends before what is behind it, and so may have no end. A backslash escapes a quote outside of
    /// strings too, where JSON has none: so does what finds the ends of the records that are held, and both have to
    /// find the same.
    pub(super) fn feed(&mut self, part: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = part.get(at) {
            if *byte == b'{' && self.is_at_line() {
                return Some(at);
            }
            if self.in_string && !self.escaped {
                // What is passed by is mostly one long string.
                let rest = part.get(at..).unwrap_or_default();
                let plain = memchr::memchr3(b'"', b'\\', b'\n', rest).unwrap_or(rest.len());
                if plain > 0 {
                    self.is_line_start = false;
                    at += plain;
                    continue;
                }
            }
            self.is_line_start = *byte == b'\n';
            let was_escaped = std::mem::take(&mut self.escaped);
            self.escaped = *byte == b'\\' && !was_escaped;
            match byte {
                b'"' if was_escaped => {}
                b'"' => {
                    self.in_string = !self.in_string;
                    if !self.in_string && self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 1 => self.depth -= 1,
                b'}' | b']' if self.depth == 1 => return Some(at + 1),
                // At least one byte is passed by, whatever it is.
                b'}' | b']' | b',' | b' ' | b'\n' | b'\r' | b'\t' if self.depth == 0 && self.begun => {
                    return Some(at);
                }
                _ => {}
            }
            self.begun = true;
            at += 1;
        }
        None
    }
}
