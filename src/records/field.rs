//! The names of a record's top-level fields.

/// Declares the fields once: the variant, and the name that AWS gives it.
macro_rules! fields {
    ($($variant:ident $name:literal),* $(,)?) => {
        /// A top-level field of a CloudTrail record that AWS documents.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Field {
            $(#[doc = concat!("`", $name, "`.")] $variant),*
        }

        impl Field {
            /// All fields.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The name as CloudTrail writes it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

fields! {
    EventVersion "eventVersion",
    UserIdentity "userIdentity",
    EventTime "eventTime",
    EventSource "eventSource",
    EventName "eventName",
    AwsRegion "awsRegion",
    SourceIpAddress "sourceIPAddress",
    UserAgent "userAgent",
    ErrorCode "errorCode",
    ErrorMessage "errorMessage",
    RequestParameters "requestParameters",
    ResponseElements "responseElements",
    AdditionalEventData "additionalEventData",
    RequestId "requestID",
    EventId "eventID",
    ReadOnly "readOnly",
    Resources "resources",
    EventType "eventType",
    ApiVersion "apiVersion",
    ManagementEvent "managementEvent",
    RecipientAccountId "recipientAccountId",
    SharedEventId "sharedEventID",
    VpcEndpointId "vpcEndpointId",
    VpcEndpointAccountId "vpcEndpointAccountId",
    EventCategory "eventCategory",
    ServiceEventDetails "serviceEventDetails",
    Addendum "addendum",
    SessionCredentialFromConsole "sessionCredentialFromConsole",
    EdgeDeviceDetails "edgeDeviceDetails",
    TlsDetails "tlsDetails",
    InsightDetails "insightDetails",
    EventContext "eventContext",
}

/// How many fields there are.
pub(super) const COUNT: usize = Field::ALL.len();

/// How many places [`TABLE`] has.
const PLACES: usize = 64;

/// Each field and its name at the place that the name leads to; no name elsewhere.
static TABLE: [(&[u8], Field); PLACES] = table();

/// A place for a name, found by trial so that all names have one of their own.
#[inline]
const fn place(name: &[u8]) -> Option<usize> {
    match (name, name.split_last()) {
        ([_, _, _, _, _, _, seventh, ..], Some((last, _))) => {
            Some((name.len() * 11 + *seventh as usize * 6 + *last as usize * 10) % PLACES)
        }
        _ => None,
    }
}

#[expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "runs in the compiler, which then says what is wrong"
)]
const fn table() -> [(&'static [u8], Field); PLACES] {
    let mut table: [(&[u8], Field); PLACES] = [(b"", Field::EventId); PLACES];
    let mut at = 0;
    while at < COUNT {
        let field = Field::ALL[at];
        match place(field.name().as_bytes()) {
            Some(place) if table[place].0.is_empty() => table[place] = (field.name().as_bytes(), field),
            _ => panic!("two fields have one place: find other factors for `place`"),
        }
        at += 1;
    }
    table
}

impl Field {
    /// The field of a name.
    #[inline]
    pub fn of(name: &[u8]) -> Option<Self> {
        let (known, field) = TABLE.get(place(name)?)?;
        is_same(name, known).then_some(*field)
    }
}

/// Whether two names are the same. Most have 8 to 16 letters, of which the first and the last 8 are all.
#[inline]
fn is_same(name: &[u8], known: &[u8]) -> bool {
    match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) if name.len() <= 16 => {
            name.len() == known.len()
                && known.first_chunk() == Some(first)
                && known.last_chunk() == Some(last)
        }
        _ => name == known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_field_and_no_other_does() {
        for field in Field::ALL {
            assert_eq!(Field::of(field.name().as_bytes()), Some(field));
            assert_eq!(Field::of(field.name().to_uppercase().as_bytes()), None);
        }
        for other in ["", "event", "eventId", "eventid", "Records", "detail", "eventTimes"] {
            assert_eq!(Field::of(other.as_bytes()), None, "{other}");
        }
    }
}
