//! Ids of events that a look-up remembers.

use std::collections::{BTreeSet, VecDeque};

/// Ids of events that a look-up remembers, so as to drop what it sees again before it is parsed. The store
/// knows all of them; this only saves work.
const IDS_REMEMBERED: usize = 50_000;

/// The newest ids, as many as [`IDS_REMEMBERED`].
#[derive(Debug, Default)]
pub(super) struct RememberedIds {
    ids: BTreeSet<String>,
    order: VecDeque<String>,
}

impl RememberedIds {
    pub(super) fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    pub(super) fn insert(&mut self, id: String) {
        if !self.ids.insert(id.clone()) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > IDS_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room_for_the_newest() {
        let mut remembered = RememberedIds::default();
        for id in 0..=IDS_REMEMBERED {
            remembered.insert(id.to_string());
            remembered.insert(id.to_string());
        }
        assert!(!remembered.contains("0"));
        assert!(remembered.contains("1") && remembered.contains(&IDS_REMEMBERED.to_string()));
        assert_eq!((remembered.ids.len(), remembered.order.len()), (IDS_REMEMBERED, IDS_REMEMBERED));
    }
}
