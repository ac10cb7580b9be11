//! One call to the sandbox, free of the wire protocol that it came by.

use std::net::IpAddr;

use serde_json::{Value, json};
use tokio_util::bytes::Bytes;

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
    /// The service as IAM prefixes it: `kms`, `cloudtrail`, `sts`, `organizations`, `account`, `sns`, `config`,
    /// `s3`, `sqs`, `events`.
    pub service: String,
    /// The operation as the API names it: `ReplicateKey`.
    pub operation: String,
    /// Who calls.
    pub principal: Principal,
    /// The id of the access key; none for calls from inside the process.
    pub access_key: Option<String>,
    /// The input with the API's member names (`KeyId`), whatever the protocol.
    pub input: Value,
    /// What comes beside the input: an object's content.
    pub body: Bytes,
    /// Where the call comes from.
    pub source_ip: IpAddr,
    /// The caller's software.
    pub user_agent: String,
    /// The id of this request, a UUID.
    pub request_id: String,
}

impl Call {
    /// The caller's ARN, or a service's name: `arn:aws:sts::111122223333:assumed-role/Auditor/keyward`.
    pub fn principal_arn(&self) -> String {
        self.principal.arn(&self.partition, &self.account)
    }

    /// The ARN of the role behind the caller's session, if it is one.
    pub fn role_arn(&self) -> Option<String> {
        match &self.principal {
            Principal::AssumedRole { role, .. } => {
                Some(format!("arn:{}:iam::{}:role/{role}", self.partition, self.account))
            }
            _ => None,
        }
    }

    /// The call as IAM names the permission for it: `kms:GetKeyPolicy`.
    pub fn action(&self) -> String {
        let operation = match (self.service.as_str(), self.operation.as_str()) {
            ("sns", "PublishBatch") => "Publish",
            ("s3", operation) => super::s3::permission(operation),
            ("sqs", operation) => operation.strip_suffix("Batch").unwrap_or(operation),
            (_, operation) => operation,
        };
        format!("{}:{operation}", self.service)
    }

    /// A member of the input that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.input.get(name).and_then(Value::as_str)
    }

    /// A member of the input that is a whole number, written as one or as text.
    pub fn integer(&self, name: &str) -> Option<i64> {
        let value = self.input.get(name)?;
        value.as_i64().or_else(|| value.as_str().and_then(|text| text.parse().ok()))
    }
}

/// Whether an error's code says that the caller may not.
pub fn is_denial(code: &str) -> bool {
    code.starts_with("AccessDenied") || code == "AuthorizationError"
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

impl Principal {
    /// The principal's ARN in an account, or a service's name.
    pub fn arn(&self, partition: &str, account: &AccountId) -> String {
        match self {
            Self::Root => format!("arn:{partition}:iam::{account}:root"),
            Self::User { name } => format!("arn:{partition}:iam::{account}:user/{name}"),
            Self::AssumedRole { role, session } => {
                format!("arn:{partition}:sts::{account}:assumed-role/{role}/{session}")
            }
            Self::Service { name } => name.clone(),
        }
    }
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
