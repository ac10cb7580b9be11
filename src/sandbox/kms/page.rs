//! Paging as KMS does it: `Limit`, `Marker`, `NextMarker`, `Truncated`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::input::{number_within, text};
use crate::sandbox::call::{ApiError, Call};

/// Which page of which list a call asks for.
#[derive(Debug)]
pub(super) struct Page {
    scope: String,
    limit: usize,
    after: Option<String>,
}

/// What one operation allows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The page size without `Limit`.
    pub(super) default: i64,
    /// The largest `Limit`.
    pub(super) most: i64,
}

impl Page {
    /// Reads `Limit` and `Marker`. A marker is bound to the operation, the place and
    /// `subject`, such as the key that the list belongs to.
    pub(super) fn of(call: &Call, subject: &str, bounds: Bounds) -> Result<Self, ApiError> {
        let limit = number_within(&call.input, "Limit", bounds.default, (1, bounds.most))?;
        let scope = format!("{}|{}|{}|{subject}|", call.operation, call.account, call.region);
        let after = match text(&call.input, "Marker") {
            None => None,
            Some(marker) => Some(decode(marker, &scope).ok_or_else(invalid_marker)?),
        };
        Ok(Self { scope, limit: usize::try_from(limit).unwrap_or(1), after })
    }

    /// The identity of the last item of the page before; items that sort after it are wanted.
    pub(super) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Cuts a page out of the items that follow [`Page::after`], which come with their identities, in their order.
    pub(super) fn cut(&self, member: &str, items: impl Iterator<Item = (String, Value)>) -> Value {
        let mut items = items.peekable();
        let mut values = Vec::new();
        let mut last = String::new();
        while values.len() < self.limit {
            let Some((identity, value)) = items.next() else { break };
            last = identity;
            values.push(value);
        }
        let truncated = items.peek().is_some();
        let mut output = json!({ "Truncated": truncated });
        if let Some(output) = output.as_object_mut() {
            output.insert(member.to_owned(), Value::Array(values));
            if truncated {
                let marker = URL_SAFE_NO_PAD.encode(format!("{}{last}", self.scope));
                output.insert("NextMarker".to_owned(), Value::String(marker));
            }
        }
        output
    }
}

fn decode(marker: &str, scope: &str) -> Option<String> {
    let plain = String::from_utf8(URL_SAFE_NO_PAD.decode(marker).ok()?).ok()?;
    plain.strip_prefix(scope).map(str::to_owned)
}

fn invalid_marker() -> ApiError {
    ApiError::client("InvalidMarkerException", "Could not deserialize marker")
}
