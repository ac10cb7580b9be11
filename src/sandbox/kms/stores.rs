//! Custom key stores.

use std::ops::Bound;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::aws_managed::require_iam;
use super::input::{epoch, object, one_of, required, text};
use super::page::{Bounds, Page};
use super::spec::Origin;
use super::turn::Turn;
use crate::sandbox::call::{Answer, ApiError};

/// A custom key store.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) external: bool,
    pub(super) cluster: Option<String>,
    pub(super) created: DateTime<Utc>,
    pub(super) connected: bool,
    /// The proxy's settings as they were given, without its secret.
    pub(super) proxy: Value,
}

impl Store {
    /// The origin of the keys in it.
    pub(super) fn origin(&self) -> Origin {
        if self.external { Origin::ExternalKeyStore } else { Origin::AwsCloudHsm }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }
}

pub(super) fn create_custom_key_store(turn: &mut Turn<'_>) -> Answer {
    require_iam(turn)?;
    let input = &turn.call.input;
    let name = required(input, "CustomKeyStoreName")?.to_owned();
    let kinds = ["AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"];
    let external = one_of(input, "CustomKeyStoreType", "AWS_CLOUDHSM", &kinds)? == "EXTERNAL_KEY_STORE";
    let cluster = if external { None } else { Some(required(input, "CloudHsmClusterId")?.to_owned()) };
    let proxy = if external { proxy(input)? } else { Value::Null };
    let id = format!("cks-{}", turn.state.ids.hex(17));
    let place = turn.state.place_mut(&turn.call.account, &turn.call.region);
    if place.stores.values().any(|store| store.name == name) {
        return Err(ApiError::client("CustomKeyStoreNameInUseException", format!("{name} is in use")));
    }
    let store = Store { id: id.clone(), name, external, cluster, created: turn.now, connected: false, proxy };
    place.stores.insert(id.clone(), store);
    Ok(json!({ "CustomKeyStoreId": id }))
}

fn proxy(input: &Value) -> Result<Value, ApiError> {
    let connectivity = required(input, "XksProxyConnectivity")?;
    let credential = input.get("XksProxyAuthenticationCredential").cloned().unwrap_or(Value::Null);
    Ok(object([
        ("Connectivity", Some(json!(connectivity))),
        ("AccessKeyId", Some(json!(required(&credential, "AccessKeyId")?))),
        ("UriEndpoint", Some(json!(required(input, "XksProxyUriEndpoint")?))),
        ("UriPath", Some(json!(required(input, "XksProxyUriPath")?))),
        ("VpcEndpointServiceName", text(input, "XksProxyVpcEndpointServiceName").map(|name| json!(name))),
        ("VpcEndpointServiceOwner", text(input, "XksProxyVpcEndpointServiceOwner").map(|name| json!(name))),
    ]))
}

pub(super) fn describe_custom_key_stores(turn: &mut Turn<'_>) -> Answer {
    require_iam(turn)?;
    let input = &turn.call.input;
    let (id, name) = (text(input, "CustomKeyStoreId"), text(input, "CustomKeyStoreName"));
    let subject = id.or(name).unwrap_or_default();
    let page = Page::of(turn.call, subject, Bounds { default: 1_000, most: 1_000 })?;
    let place = turn.state.place(&turn.call.account, &turn.call.region);
    let start = page.after().map_or(Bound::Unbounded, Bound::Excluded);
    let stores = place.into_iter().flat_map(|place| place.stores.range::<str, _>((start, Bound::Unbounded)));
    let wanted = stores.filter(|(_, store)| {
        id.is_none_or(|id| store.id == id) && name.is_none_or(|name| store.name == name)
    });
    let mut wanted = wanted.peekable();
    if wanted.peek().is_none() && !subject.is_empty() {
        return Err(no_store(subject));
    }
    Ok(page.cut("CustomKeyStores", wanted.map(|(id, store)| (id.clone(), entry(store)))))
}

fn entry(store: &Store) -> Value {
    let kind = if store.external { "EXTERNAL_KEY_STORE" } else { "AWS_CLOUDHSM" };
    let state = if store.connected { "CONNECTED" } else { "DISCONNECTED" };
    object([
        ("CustomKeyStoreId", Some(json!(store.id))),
        ("CustomKeyStoreName", Some(json!(store.name))),
        ("CustomKeyStoreType", Some(json!(kind))),
        ("ConnectionState", Some(json!(state))),
        ("CreationDate", Some(epoch(store.created))),
        ("CloudHsmClusterId", store.cluster.as_ref().map(|id| json!(id))),
        ("XksProxyConfiguration", store.external.then(|| store.proxy.clone())),
    ])
}

pub(super) fn connect_custom_key_store(turn: &mut Turn<'_>) -> Answer {
    change(turn, |store| {
        store.connected = true;
        Ok(())
    })
}

pub(super) fn disconnect_custom_key_store(turn: &mut Turn<'_>) -> Answer {
    change(turn, |store| {
        store.connected = false;
        Ok(())
    })
}

pub(super) fn update_custom_key_store(turn: &mut Turn<'_>) -> Answer {
    let name = text(&turn.call.input, "NewCustomKeyStoreName").map(str::to_owned);
    change(turn, |store| {
        if store.connected {
            return Err(invalid_state(format!("Custom key store {} has to be disconnected", store.id)));
        }
        if let Some(name) = name {
            store.name = name;
        }
        Ok(())
    })
}

pub(super) fn delete_custom_key_store(turn: &mut Turn<'_>) -> Answer {
    let id = required(&turn.call.input, "CustomKeyStoreId")?.to_owned();
    change(turn, |store| {
        if store.connected {
            return Err(invalid_state(format!("Custom key store {} has to be disconnected", store.id)));
        }
        Ok(())
    })?;
    let place = turn.state.place_mut(&turn.call.account, &turn.call.region);
    if place.keys.values().any(|key| key.custom_store.as_ref() == Some(&id)) {
        return Err(ApiError::client(
            "CustomKeyStoreHasCMKsException",
            format!("Custom key store {id} has keys"),
        ));
    }
    place.stores.remove(&id);
    Ok(json!({}))
}

/// Finds the store that the input names, tells CloudTrail of it, and does something with it.
fn change(turn: &mut Turn<'_>, act: impl FnOnce(&mut Store) -> Result<(), ApiError>) -> Answer {
    require_iam(turn)?;
    let id = required(&turn.call.input, "CustomKeyStoreId")?;
    let place = turn.state.place_mut(&turn.call.account, &turn.call.region);
    let store = place.stores.get_mut(id).ok_or_else(|| no_store(id))?;
    let (name, cluster) = (json!(store.name), store.cluster.as_ref().map(|id| json!(id)));
    act(store)?;
    turn.state.trace.additional = Some(object([("customKeyStoreName", Some(name)), ("clusterId", cluster)]));
    Ok(json!({}))
}

fn no_store(id: &str) -> ApiError {
    ApiError::client("CustomKeyStoreNotFoundException", format!("Custom key store {id} does not exist"))
}

fn invalid_state(message: String) -> ApiError {
    ApiError::client("CustomKeyStoreInvalidStateException", message)
}
