//! One call to the sandbox, free of the wire protocol that it came by.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::model::{AccountId, Region};

/// One call, as every service of the sandbox takes it.
#[derive(Debug, Clone)]
pub struct Call {
    /// The account of the caller's credentials.
    pub account: AccountId,
    /// The partition of the Region, as in ARNs.
    pub partition: String,
    /// The Region that the request was signed for.
    pub region: Region,
    /// The service as IAM prefixes it: `kms`, `cloudtrail`, `sts`, `organizations`, `account`, `sns`, `config`.
    pub service: String,
    /// The operation as the API names it: `ReplicateKey`.
    pub operation: String,
    /// Who calls.
    pub principal: Principal,
    /// The input with the API's member names (`KeyId`), whatever the protocol.
    pub input: Value,
    /// Where the call comes from.
    pub source_ip: IpAddr,
    /// The caller's software.
    pub user_agent: String,
    /// The id of this request, a UUID.
    pub request_id: String,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The account's root user.
    Root,
    /// An IAM user.
    User {
        /// The user's name.
        name: String,
    },
    /// A session of an IAM role.
    AssumedRole {
        /// The role's name.
        role: String,
        /// The session's name.
        session: String,
    },
    /// An AWS service on behalf of the account.
    Service {
        /// Such as `s3.amazonaws.com`.
        name: String,
    },
}

/// What a service answers: the output with the API's member names, or an error.
pub type Answer = Result<Value, ApiError>;

/// An error as AWS would give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: u16,
    /// The error code without namespace: `NotFoundException`.
    pub code: String,
    /// The message.
    pub message: String,
}

impl ApiError {
    /// A client error, status 400.
    pub fn client(code: &str, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.to_owned(), message: message.into() }
    }

    /// The error as the JSON protocols write it.
    pub fn to_json(&self) -> Value {
        json!({ "__type": self.code, "message": self.message })
    }
}
