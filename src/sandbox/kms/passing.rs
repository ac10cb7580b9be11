//! What happens of itself when time passes.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::key::{Key, Status};
use super::state::{Due, Spot, State};
use super::trace::ServiceEvent;

impl State {
    /// Does what fell due by now, in its order: deletions, rotations, expiries, the end of passing states.
    pub fn advance(&mut self, now: DateTime<Utc>) {
        while let Some((at, spot, due)) = self.agenda.take(now) {
            match due {
                Due::Settled => {
                    if let Some(key) = self.key_mut(&spot) {
                        key.transit = None;
                    }
                }
                Due::Deletion => self.delete_if_due(&spot, at),
                Due::Rotation => self.rotate_if_due(&spot, at),
                Due::Expiry(material) => self.expire_if_due(&spot, &material, at),
            }
        }
    }

    fn delete_if_due(&mut self, spot: &Spot, at: DateTime<Utc>) {
        let due = self
            .key(spot)
            .is_some_and(|key| key.status == Status::PendingDeletion && key.deletion == Some(at));
        if !due {
            return;
        }
        let place = self.place_mut(&spot.account, &spot.region);
        let Some(key) = place.keys.remove(&spot.id) else { return };
        for alias in &key.aliases {
            place.aliases.remove(alias);
        }
        self.note(&key, "DeleteKey", at, None);
        let Some(shared) = self.shared_mut(spot) else { return };
        let primary = shared.related.as_mut().map(|related| {
            related.replicas.remove(&spot.region);
            (related.primary.clone(), related.replicas.is_empty())
        });
        match primary {
            Some((primary, last)) if primary != spot.region => {
                if last {
                    self.begin_waiting_of(&Spot { region: primary, ..spot.clone() }, at);
                }
            }
            // The primary is the last to go.
            _ => {
                if let Some(account) = self.accounts.get_mut(&spot.account) {
                    account.shared.remove(&spot.id);
                }
            }
        }
    }

    /// Starts the waiting period of a primary whose last replica is gone, if its deletion is wanted.
    fn begin_waiting_of(&mut self, primary: &Spot, at: DateTime<Utc>) {
        let Some(key) = self.key_mut(primary) else { return };
        if key.status == Status::PendingReplicaDeletion {
            let end = key.begin_waiting(at, key.pending_window.unwrap_or(30));
            self.agenda.add(end, primary.clone(), Due::Deletion);
        }
    }

    fn rotate_if_due(&mut self, spot: &Spot, at: DateTime<Utc>) {
        let Some(shared) = self.shared(spot) else { return };
        if !shared.rotation.enabled || shared.rotation.next != Some(at) {
            return;
        }
        let region =
            shared.related.as_ref().map_or_else(|| spot.region.clone(), |related| related.primary.clone());
        let spot = Spot { region, ..spot.clone() };
        // A key that cannot be used does not rotate; it catches up when it is enabled again.
        if self.key(&spot).is_some_and(|key| key.status == Status::Enabled) {
            self.rotate_by_schedule(&spot, at);
        }
    }

    /// Rotates a key whose rotation fell due while it was disabled.
    pub(super) fn catch_up_rotation(&mut self, spot: &Spot, now: DateTime<Utc>) {
        let overdue = self.shared(spot).is_some_and(|shared| {
            let rotation = &shared.rotation;
            !shared.is_replica(&spot.region)
                && rotation.enabled
                && rotation.next.is_some_and(|next| next <= now)
        });
        if overdue {
            self.rotate_by_schedule(spot, now);
        }
    }

    fn rotate_by_schedule(&mut self, spot: &Spot, at: DateTime<Utc>) {
        self.rotate(spot, at, "AUTOMATIC", None);
        let Some(shared) = self.shared_mut(spot) else { return };
        let next = at + TimeDelta::days(shared.rotation.period_days);
        shared.rotation.next = Some(next);
        self.agenda.add(next, spot.clone(), Due::Rotation);
    }

    /// Makes a new material current, or one that was imported.
    pub(super) fn rotate(
        &mut self,
        spot: &Spot,
        at: DateTime<Utc>,
        kind: &'static str,
        imported: Option<String>,
    ) {
        let id = imported.unwrap_or_else(|| self.ids.hex(64));
        let Some(shared) = self.shared_mut(spot) else { return };
        let previous = shared.current.clone();
        let origin = shared.origin.as_str();
        shared.rotate(id.clone(), at, kind);
        let details = json!({
            "rotationType": kind,
            "keyOrigin": origin,
            "previousKeyMaterialId": previous,
            "currentKeyMaterialId": id,
            "keyId": spot.id,
        });
        if let Some(key) = self.key(spot).cloned() {
            self.note(&key, "RotateKey", at, Some(details));
        }
        self.synchronize(spot, at);
    }

    fn expire_if_due(&mut self, spot: &Spot, material: &str, at: DateTime<Utc>) {
        let due = self.key(spot).is_some_and(|key| key.imported.get(material) == Some(&Some(at)));
        if !due {
            return;
        }
        self.forget_material(spot, material);
        if let Some(key) = self.key(spot).cloned() {
            let details = json!({ "keyId": spot.id, "keyMaterialId": material });
            self.note(&key, "DeleteExpiredKeyMaterial", at, Some(details));
        }
    }

    /// Takes imported material away; without all of its materials a key cannot be used.
    pub(super) fn forget_material(&mut self, spot: &Spot, material: &str) {
        let used =
            self.shared(spot).is_some_and(|shared| shared.used_materials().iter().any(|id| id == material));
        let Some(key) = self.key_mut(spot) else { return };
        key.imported.remove(material);
        if used && !key.status.is_pending_deletion() {
            key.status = Status::PendingImport;
        }
    }

    /// Notes that the shared properties of a key set were copied to its other members.
    pub(super) fn synchronize(&mut self, from: &Spot, at: DateTime<Utc>) {
        let Some(shared) = self.shared(from) else { return };
        for region in shared.replicas() {
            let member = Spot { region, ..from.clone() };
            if let Some(key) = self.key(&member).cloned() {
                self.note(&key, "SynchronizeMultiRegionKey", at, None);
            }
        }
    }

    fn note(&mut self, key: &Key, name: &'static str, at: DateTime<Utc>, details: Option<Value>) {
        self.events.push(ServiceEvent {
            at,
            account: key.arn.account.clone(),
            region: key.arn.region.clone(),
            name,
            key_arn: key.arn.to_string(),
            details,
        });
    }
}
