//! Passing by a value of any size without holding it.

/// What is known of a value that is being passed by.
#[derive(Debug, Default)]
pub(super) struct Skip {
    depth: u64,
    in_string: bool,
    escaped: bool,
    begun: bool,
}

impl Skip {
    /// Inside an object or array that is open.
    pub(super) fn inside() -> Self {
        Self { depth: 1, begun: true, ..Self::default() }
    }

    /// Passes by the next part of the text: how much of it was left of the value, if it ends here.
    ///
    /// A number or word ends before what is behind it, and so may have no end.
    pub(super) fn feed(&mut self, part: &[u8]) -> Option<usize> {
        for (at, byte) in part.iter().enumerate() {
            if self.in_string {
                self.within_string(*byte);
                if !self.in_string && self.depth == 0 {
                    return Some(at + 1);
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
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
        }
        None
    }

    fn within_string(&mut self, byte: u8) {
        if self.escaped {
            self.escaped = false;
        } else {
            self.escaped = byte == b'\\';
            self.in_string = byte != b'"';
        }
    }
}
