//! The accounts, principals and keys that made-up records are about.

/// How many accounts there are.
pub(crate) const ACCOUNTS: u64 = 12;
/// How many keys each account has in each Region.
pub(crate) const KEYS: u64 = 20;
/// The first moment, 2026-11-01T00:00:00Z.
pub(crate) const BEGINNING: u64 = 1_793_491_200;

pub(crate) const REGIONS: [&str; 6] =
    ["eu-central-1", "eu-west-1", "eu-west-3", "us-east-1", "us-west-2", "ap-southeast-2"];
pub(crate) const ROLES: [&str; 14] = [
    "payments-api",
    "orders-worker",
    "ledger-writer",
    "etl-nightly",
    "web-frontend",
    "customer-export",
    "search-indexer",
    "AWSReservedSSO_AdministratorAccess_4f2a9c31d07be865",
    "AWSReservedSSO_PowerUserAccess_a81c0d52e7b49f36",
    "ci-deployer",
    "backup-operator",
    "eks-node-group-blue",
    "terraform-apply",
    "monitoring-reader",
];
pub(crate) const USERS: [&str; 5] =
    ["alice.moreau", "svc-legacy-batch", "jenkins", "bruno.keller", "datasync"];
pub(crate) const SERVICES: [&str; 6] = [
    "s3.amazonaws.com",
    "dynamodb.amazonaws.com",
    "rds.amazonaws.com",
    "secretsmanager.amazonaws.com",
    "lambda.amazonaws.com",
    "ebs.amazonaws.com",
];
pub(crate) const AGENTS: [&str; 8] = [
    "aws-sdk-java/2.28.11 md/io#sync md/http#Apache ua/2.1 os/Linux#6.1.112-122.189.amzn2023.x86_64 lang/java#21.0.5 md/OpenJDK_64-Bit_Server_VM#21.0.5+11-LTS md/vendor#Amazon.com_Inc. cfg/retry-mode#standard m/D,N",
    "Boto3/1.35.49 md/Botocore#1.35.49 ua/2.0 os/linux#5.10.226-214.880.amzn2.x86_64 md/arch#x86_64 lang/python#3.12.7 md/pyimpl#CPython exec-env/AWS_Lambda_python3.12 cfg/retry-mode#legacy Botocore/1.35.49",
    "aws-sdk-go-v2/1.32.3 ua/2.1 os/linux lang/go#1.23.2 md/GOOS#linux md/GOARCH#arm64 api/kms#1.37.3 m/E,g",
    "APN/1.0 HashiCorp/1.0 Terraform/1.9.8 (+https://www.terraform.io) terraform-provider-aws/5.73.0 (+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.32.2 os/linux lang/go#1.23.1 md/GOOS#linux md/GOARCH#amd64 api/ec2#1.182.0",
    "aws-cli/2.18.15 md/awscrt#0.22.0 ua/2.0 os/macos#24.1.0 md/arch#arm64 lang/python#3.12.7 md/pyimpl#CPython cfg/retry-mode#standard md/installer#exe md/prompt#off md/command#s3api.list-objects-v2",
    "aws-sdk-nodejs/2.1692.0 linux/v20.18.0 promise",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "aws-sdk-rust/1.3.3 os/linux lang/rust/1.82.0 api/sts/1.121.0",
];

/// Numbers that look random and are the same from the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Small numbers much more often than large ones, as few principals and keys make most events.
    pub(crate) fn skewed(&mut self, bound: u64) -> u64 {
        let (one, two) = (self.below(bound), self.below(bound));
        one * two / bound
    }

    pub(crate) fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    pub(crate) fn place(&mut self, bound: usize) -> usize {
        usize::try_from(self.skewed(bound as u64)).unwrap_or_default()
    }

    pub(crate) fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of.get(self.place(of.len())).copied().unwrap_or_default()
    }

    pub(crate) fn uuid(&mut self) -> String {
        uuid(self.next(), self.next())
    }

    pub(crate) fn session(&mut self, now: u64) -> Session {
        let account = self.skewed(ACCOUNTS);
        let role = self.pick(&ROLES);
        let place = ROLES.iter().position(|other| *other == role).unwrap_or_default() as u64;
        let role_id = role_id(account, place);
        let name = if role.starts_with("AWSReservedSSO") {
            format!("{}@example.com", self.pick(&USERS))
        } else if self.percent(40) {
            format!("i-0{:016x}", self.next())
        } else {
            format!("{role}-{}", self.below(90_000))
        };
        let address = if place.is_multiple_of(3) {
            format!("52.{}.{}.{}", self.below(60), self.below(256), self.below(256))
        } else {
            format!("10.{}.{}.{}", self.below(40), self.below(256), self.below(256))
        };
        Session {
            account,
            role,
            role_id,
            name,
            access_key: format!("ASIA{}", self.letters(16)),
            created: now.saturating_sub(self.below(3_000)),
            address,
            agent: self.pick(&AGENTS),
        }
    }

    pub(crate) fn letters(&mut self, count: usize) -> String {
        (0..count)
            .filter_map(|_| char::from_digit(u32::try_from(self.below(32)).ok()?, 32))
            .map(upper)
            .collect()
    }
}

/// A digit to the base of 32 as access keys have it, `A` to `Z` and `2` to `7`.
pub(crate) fn upper(digit: char) -> char {
    match digit {
        '0' => 'W',
        '1' => 'X',
        '8' => 'Y',
        '9' => 'Z',
        other => other.to_ascii_uppercase(),
    }
}

pub(crate) fn uuid(high: u64, low: u64) -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        (low >> 48) & 0xfff,
        low & 0xffff_ffff_ffff
    )
}

/// One session of a role.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    pub(crate) account: u64,
    pub(crate) role: &'static str,
    pub(crate) role_id: String,
    pub(crate) name: String,
    pub(crate) access_key: String,
    pub(crate) created: u64,
    pub(crate) address: String,
    pub(crate) agent: &'static str,
}

impl Session {
    /// The place of its role.
    pub(crate) fn place(&self) -> u64 {
        ROLES.iter().position(|role| *role == self.role).unwrap_or_default() as u64
    }

    /// The like session of another account.
    pub(crate) fn in_account(self, account: u64) -> Self {
        let role_id = role_id(account, self.place());
        Self { account, role_id, ..self }
    }
}

/// A role's id, which stays the same.
fn role_id(account: u64, place: u64) -> String {
    format!("AROA{}", Dice(account << 8 | place).letters(17))
}

/// An account's number.
pub(crate) fn number(account: u64) -> u64 {
    111_122_223_333 + account * 71_111_091_113 % 888_877_776_666
}

/// A key's id, which stays the same.
pub(crate) fn key_id(account: u64, region: &str, key: u64) -> String {
    let place = REGIONS.iter().position(|other| *other == region).unwrap_or_default() as u64;
    let mut dice = Dice(account << 16 | place << 8 | key);
    if key.is_multiple_of(5) { format!("mrk-{:016x}{:016x}", dice.next(), dice.next()) } else { dice.uuid() }
}

pub(crate) fn assumed_role(session: &Session, invoked_by: Option<&str>) -> String {
    let (account, created) = (number(session.account), time(session.created));
    let Session { role, role_id, name, access_key, .. } = session;
    let path =
        if role.starts_with("AWSReservedSSO") { "aws-reserved/sso.amazonaws.com/eu-central-1/" } else { "" };
    let invoked_by = invoked_by.map(|service| format!(r#","invokedBy":"{service}""#)).unwrap_or_default();
    format!(
        r#"{{"type":"AssumedRole","principalId":"{role_id}:{name}","arn":"arn:aws:sts::{account}:assumed-role/{role}/{name}","accountId":"{account}","accessKeyId":"{access_key}","sessionContext":{{"sessionIssuer":{{"type":"Role","principalId":"{role_id}","arn":"arn:aws:iam::{account}:role/{path}{role}","accountId":"{account}","userName":"{role}"}},"attributes":{{"creationDate":"{created}","mfaAuthenticated":"false"}}}}{invoked_by}}}"#
    )
}

pub(crate) fn iam_user(account: u64, user: &str) -> String {
    let mut dice = Dice(account << 8 | user.len() as u64);
    format!(
        r#"{{"type":"IAMUser","principalId":"AIDA{}","arn":"arn:aws:iam::{1}:user/{user}","accountId":"{1}","accessKeyId":"AKIA{2}","userName":"{user}"}}"#,
        dice.letters(17),
        number(account),
        dice.letters(16)
    )
}

/// A moment as CloudTrail writes it. All of them are in November 2026.
pub(crate) fn time(at: u64) -> String {
    let since = at.saturating_sub(BEGINNING - 86_400);
    format!(
        "2026-11-{:02}T{:02}:{:02}:{:02}Z",
        (since / 86_400).max(1),
        since / 3_600 % 24,
        since / 60 % 60,
        since % 60
    )
}

/// A moment as the AWS SDK for Java writes it.
pub(crate) fn long_time(at: u64) -> String {
    let since = at.saturating_sub(BEGINNING - 86_400);
    format!(
        "Nov {}, 2026, {}:{:02}:{:02} AM",
        since / 86_400,
        since / 3_600 % 12,
        since / 60 % 60,
        since % 60
    )
}
