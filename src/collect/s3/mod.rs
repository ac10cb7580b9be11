//! Buckets: a client for the Region that each is in, what is in them, and their objects as streams.

mod clients;
mod fetch;
mod list;
mod region;

pub(crate) use self::clients::BucketClients;
pub use self::fetch::mark_of;
pub(crate) use self::fetch::{Unread, UnreadKind, fetch};
pub(crate) use self::list::{ListedObject, list, list_page};
pub(crate) use self::region::where_it_is;
