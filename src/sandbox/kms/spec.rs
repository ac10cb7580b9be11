//! What kinds of key material there are, and what each can do.

/// One value of `KeySpec` with the usages and algorithms that AWS gives it.
#[derive(Debug)]
pub(super) struct Spec {
    /// `SYMMETRIC_DEFAULT`, `RSA_2048`, …
    pub(super) name: &'static str,
    /// The usages that a key of this spec may have.
    pub(super) usages: &'static [&'static str],
    /// The algorithms by usage.
    algorithms: &'static [(&'static str, &'static [&'static str])],
}

const ENCRYPT: &str = "ENCRYPT_DECRYPT";
const SIGN: &str = "SIGN_VERIFY";
const MAC: &str = "GENERATE_VERIFY_MAC";
const AGREE: &str = "KEY_AGREEMENT";
const ENCAPSULATE: &str = "ENCAPSULATE_DECAPSULATE";

const RSA_ENCRYPT: &[&str] = &["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"];
const RSA_SIGN: &[&str] = &[
    "RSASSA_PKCS1_V1_5_SHA_256",
    "RSASSA_PKCS1_V1_5_SHA_384",
    "RSASSA_PKCS1_V1_5_SHA_512",
    "RSASSA_PSS_SHA_256",
    "RSASSA_PSS_SHA_384",
    "RSASSA_PSS_SHA_512",
];

type Algorithms = &'static [(&'static str, &'static [&'static str])];

const RSA: Algorithms = &[(ENCRYPT, RSA_ENCRYPT), (SIGN, RSA_SIGN)];

const fn rsa(name: &'static str) -> Spec {
    Spec { name, usages: &[ENCRYPT, SIGN], algorithms: RSA }
}

const fn signer(name: &'static str, algorithms: Algorithms) -> Spec {
    Spec { name, usages: &[SIGN], algorithms }
}

const fn curve(name: &'static str, algorithms: Algorithms) -> Spec {
    Spec { name, usages: &[SIGN, AGREE], algorithms }
}

const fn hmac(name: &'static str, algorithms: Algorithms) -> Spec {
    Spec { name, usages: &[MAC], algorithms }
}

const fn kem(name: &'static str, algorithms: Algorithms) -> Spec {
    Spec { name, usages: &[ENCAPSULATE], algorithms }
}

/// The spec of ordinary keys.
pub(super) static SYMMETRIC: &Spec =
    &Spec { name: "SYMMETRIC_DEFAULT", usages: &[ENCRYPT], algorithms: &[(ENCRYPT, &["SYMMETRIC_DEFAULT"])] };

static SPECS: &[Spec] = &[
    rsa("RSA_2048"),
    rsa("RSA_3072"),
    rsa("RSA_4096"),
    curve("ECC_NIST_P256", &[(SIGN, &["ECDSA_SHA_256"]), (AGREE, &["ECDH"])]),
    curve("ECC_NIST_P384", &[(SIGN, &["ECDSA_SHA_384"]), (AGREE, &["ECDH"])]),
    curve("ECC_NIST_P521", &[(SIGN, &["ECDSA_SHA_512"]), (AGREE, &["ECDH"])]),
    signer("ECC_SECG_P256K1", &[(SIGN, &["ECDSA_SHA_256"])]),
    signer("ECC_NIST_EDWARDS25519", &[(SIGN, &["ED25519_SHA_512", "ED25519_PH_SHA_512"])]),
    hmac("HMAC_224", &[(MAC, &["HMAC_SHA_224"])]),
    hmac("HMAC_256", &[(MAC, &["HMAC_SHA_256"])]),
    hmac("HMAC_384", &[(MAC, &["HMAC_SHA_384"])]),
    hmac("HMAC_512", &[(MAC, &["HMAC_SHA_512"])]),
    Spec {
        name: "SM2",
        usages: &[ENCRYPT, SIGN, AGREE],
        algorithms: &[(ENCRYPT, &["SM2PKE"]), (SIGN, &["SM2DSA"]), (AGREE, &["ECDH"])],
    },
    signer("ML_DSA_44", &[(SIGN, &["ML_DSA_SHAKE_256"])]),
    signer("ML_DSA_65", &[(SIGN, &["ML_DSA_SHAKE_256"])]),
    signer("ML_DSA_87", &[(SIGN, &["ML_DSA_SHAKE_256"])]),
    kem("ML_KEM_512", &[(ENCAPSULATE, &["ML_KEM"])]),
    kem("ML_KEM_768", &[(ENCAPSULATE, &["ML_KEM"])]),
    kem("ML_KEM_1024", &[(ENCAPSULATE, &["ML_KEM"])]),
];

impl Spec {
    /// The spec with this name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        std::iter::once(SYMMETRIC).chain(SPECS).find(|spec| spec.name == name)
    }

    /// Whether it is the symmetric encryption spec, the only one whose material can rotate.
    pub(super) fn is_symmetric(&self) -> bool {
        self.name == "SYMMETRIC_DEFAULT"
    }

    /// Whether it has a public half.
    pub(super) fn is_asymmetric(&self) -> bool {
        !self.is_symmetric() && !self.usages.contains(&MAC)
    }

    /// The usage that this spec has under its static name, if it may have it.
    pub(super) fn usage(&self, name: &str) -> Option<&'static str> {
        self.usages.iter().find(|usage| **usage == name).copied()
    }

    /// The algorithms of a usage.
    pub(super) fn algorithms(&self, usage: &str) -> &'static [&'static str] {
        self.algorithms.iter().find(|(name, _)| *name == usage).map_or(&[], |(_, algorithms)| algorithms)
    }
}

/// The member of `KeyMetadata` that lists the algorithms of a usage.
pub(super) fn algorithms_member(usage: &str) -> &'static str {
    match usage {
        SIGN => "SigningAlgorithms",
        MAC => "MacAlgorithms",
        AGREE => "KeyAgreementAlgorithms",
        ENCAPSULATE => "EncapsulationAlgorithms",
        _ => "EncryptionAlgorithms",
    }
}

/// Where key material comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// AWS KMS made it.
    AwsKms,
    /// It was imported.
    External,
    /// It lives in a CloudHSM key store.
    AwsCloudHsm,
    /// It lives outside AWS, behind an external key store.
    ExternalKeyStore,
}

impl Origin {
    /// All of them, as the API writes them.
    pub(super) const NAMES: [&str; 4] = ["AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"];

    /// As the API writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwsKms => "AWS_KMS",
            Self::External => "EXTERNAL",
            Self::AwsCloudHsm => "AWS_CLOUDHSM",
            Self::ExternalKeyStore => "EXTERNAL_KEY_STORE",
        }
    }

    /// From what the API takes.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::AwsKms, Self::External, Self::AwsCloudHsm, Self::ExternalKeyStore]
            .into_iter()
            .find(|origin| origin.as_str() == name)
    }
}

/// What an account may do with a grant.
pub(super) const GRANT_OPERATIONS: &[&str] = &[
    "CreateGrant",
    "Decapsulate",
    "Decrypt",
    "DeriveSharedSecret",
    "DescribeKey",
    "Encapsulate",
    "Encrypt",
    "GenerateDataKey",
    "GenerateDataKeyPair",
    "GenerateDataKeyPairWithoutPlaintext",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateMac",
    "GetPublicKey",
    "ReEncryptFrom",
    "ReEncryptTo",
    "RetireGrant",
    "Sign",
    "Verify",
    "VerifyMac",
];
