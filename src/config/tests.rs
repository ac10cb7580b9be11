//! Tests of reading, overriding and checking a configuration.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::Value as Json;

use super::fields::{FIELDS, Kind, Preset};
use super::*;
use crate::model::Level;

static ATLAS: LazyLock<Atlas> = LazyLock::new(|| Atlas::builtin().unwrap());

fn load_with(text: &str, environment: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(text, "keyward.toml", environment, &ATLAS)
}

fn config(text: &str) -> Config {
    load_with(text, &[]).unwrap().config
}

fn problems(text: &str) -> Vec<String> {
    problems_with(text, &[])
}

fn problems_with(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let error = load_with(text, environment).expect_err("there is something wrong");
    error.problems.iter().map(ToString::to_string).collect()
}

fn warnings(text: &str) -> Vec<String> {
    load_with(text, &[]).unwrap().warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn nothing_given_is_the_defaults() {
    let loaded = load_with("", &[]).unwrap();
    assert_eq!(loaded, Loaded { config: Config::default(), warnings: Vec::new() });
}

#[test]
fn every_section_is_read() {
    let config = config(
        r#"
        accounts = { static = ["111122223333", "444455556666"], role = "KeywardReader", external_id = "id-1" }
        regions.include = ["eu-central-1"]
        policy.adequacy_counts = true
        store.url = "postgres://keyward@db/keyward"
        http = { listen = "[::1]:8080", external_url = "https://keyward.example.com/" }
        rules = { dirs = ["more"], disable = ["key-without-alias"], exceptions = "exceptions.yaml" }
        alerts.reminder_hours = 0
        [inventory]
        interval_secs = 60
        [lookup]
        usage = true
        [[residency]]
        boundary = "eea"
        home = ["DE"]
        match = { tags = { data-class = "personal-eu" }, accounts = [], aliases = "^eu/" }
        [[residency]]
        boundary = "sg"
        [[sns]]
        topic = "arn:aws:sns:eu-central-1:111122223333:alerts.fifo"
        min_level = "critical"
        fallback = "arn:aws:sns:eu-west-1:111122223333:alerts"
        "#,
    );
    assert_eq!(config.accounts.fixed.len(), 2);
    assert_eq!(config.regions.include[0].as_str(), "eu-central-1");
    assert!(config.policy.adequacy_counts && config.lookup.usage);
    assert_eq!((config.inventory.interval_secs, config.alerts.reminder_hours), (60, 0));
    assert_eq!(config.residency[0].matches.tags["data-class"], "personal-eu");
    assert_eq!(config.sns[0].min_level, Level::Critical);
    assert_eq!(config.http.listen.port(), 8080);
    assert_eq!(config.rules.dirs[0], Path::new("more"));
}

#[test]
fn all_of_a_broken_file_is_reported_in_the_order_of_its_lines() {
    let text = r#"[accounts]
static = ["111122223333", "44"]
rol = "KeywardReader"
organization = "yes"
[lookup]
interval_secs = 0
[inventry]
config = true
[[residency]]
boundary = "eae"
match = { aliases = "(", acounts = [] }
[[sns]]
min_level = "loud"
[store]
url = "mysql://db"
"#;
    assert_eq!(
        problems(text),
        [
            "keyward.toml:2: `accounts.static`: item 2: `44` is not an AWS account id; it has to be twelve digits",
            "keyward.toml:3: `accounts.rol`: there is no such setting; did you mean `role`?",
            "keyward.toml:4: `accounts.organization`: this has to be true or false, and is of type string",
            "keyward.toml:6: `lookup.interval_secs`: 0 is not within 1 to 31536000",
            "keyward.toml:7: `inventry`: there is no such setting; did you mean `inventory`?",
            "keyward.toml:10: `residency[0].boundary`: there is no boundary `eae`; did you mean `eea`?",
            "keyward.toml:11: `residency[0].match.acounts`: there is no such setting; did you mean `accounts`?",
            "keyward.toml:11: `residency[0].match.aliases`: not a regular expression: unclosed group",
            "keyward.toml:12: `sns[0].topic`: this has to be given",
            "keyward.toml:13: `sns[0].min_level`: `loud` is not a level; use informational, low, medium, high or critical",
            "keyward.toml:15: `store.url`: a store is `sqlite:PATH` or `postgres://…`, not `mysql:…`",
        ]
    );
}

#[test]
fn what_is_no_toml_is_reported_with_its_line() {
    for (text, line) in [("[accounts\n", 1), ("a = 1\nb = \n", 2), ("[http]\n[http]\n", 2)] {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(&format!("keyward.toml:{line}: not TOML: ")), "{found:#?}");
    }
}

#[test]
fn a_value_in_the_wrong_place_is_told_where_it_belongs() {
    for (text, expected) in [
        ("lookup = 7", "`lookup`: this is a section; give it fields"),
        ("[sns]\ntopic = 'x'", "`sns`: this is a list of sections; write it as `[[sns]]`"),
        ("sns = ['x']", "`sns[0]`: this has to be a table"),
        ("accounts.external_id = 1234", "this has to be text, and is of type integer; put it in quotes"),
        (
            "accounts.static = [111122223333]",
            "item 1: this has to be an account id, and is of type integer; put it in quotes",
        ),
        ("http.listen = 'localhost'", "`localhost` is not an address and port"),
        (
            "sns = [{ topic = 'arn:aws:sns:eu-west-1:111122223333:a', x = 1 }]",
            "`sns[0].x`: there is no such setting; there are: topic, min_level, fallback",
        ),
        ("[[residency]]\nboundary = 'eea'\nmatch.tags = { a = 1 }", "the value of `a` has to be text"),
    ] {
        let found = problems(text);
        assert!(found.len() == 1 && found[0].contains(expected), "{text}: {found:#?}");
    }
}

#[test]
fn bounds_hold_on_both_sides() {
    for field in FIELDS.iter().filter(|field| !field.path.contains("[]")) {
        let Kind::Int(least, most) = field.kind else { continue };
        for (value, fine) in [(least, true), (most, true), (least - 1, false), (most + 1, false)] {
            let loaded = load_with(&format!("{} = {value}", field.path), &[]);
            assert_eq!(loaded.is_ok(), fine, "{} = {value}", field.path);
        }
    }
}

#[test]
fn accounts_have_to_be_meant_one_way_and_be_reachable() {
    for (text, expected) in [
        ("static = ['111122223333']\norganization = true\nrole = 'R'", "`accounts.static`: give either"),
        ("organization = true", "`accounts.role`: other accounts than the caller's own"),
        ("static = ['111122223333', '444455556666']", "`accounts.role`: other accounts"),
        ("role = 'arn:aws:iam::111122223333:role/R'", "give its name, not its ARN"),
        ("role = 'R'\nexternal_id = 'a'", "2 to 1224"),
        ("role = 'R'\nexternal_id = 'with space'", "2 to 1224"),
    ] {
        let found = problems(&format!("[accounts]\n{text}"));
        assert!(found.len() == 1 && found[0].contains(expected), "{text}: {found:#?}");
    }
    assert_eq!(config("accounts.static = ['111122223333']").accounts.role, None);
    assert_eq!(warnings("accounts.external_id = 'id'").len(), 1);
    assert_eq!(warnings("accounts = { static = ['111122223333', '111122223333'], role = 'R' }").len(), 1);
    assert!(warnings("accounts = { organization = true, role = 'audit/Reader' }").is_empty());
}

#[test]
fn a_region_that_is_not_known_is_a_warning_with_a_suggestion() {
    for text in [
        "regions.include = ['eu-cental-1']",
        "policy.approved_regions = ['eu-cental-1']",
        "[[residency]]\nboundary = 'eea'\nmatch.regions = ['eu-cental-1']",
    ] {
        let found = warnings(text);
        assert!(found.len() == 1 && found[0].contains("did you mean `eu-central-1`?"), "{text}: {found:#?}");
    }
}

#[test]
fn residency_that_cannot_work_is_reported() {
    let home = problems("[[residency]]\nboundary = 'eea'\nhome = ['US']");
    assert_eq!(home, ["keyward.toml:3: `residency[0].home`: `US` is not in the boundary `eea`"]);
    let unit = problems("[[residency]]\nboundary = 'eea'\nmatch.ous = ['Production']");
    assert!(unit[0].contains("`Production` is not the id of an organizational unit"), "{unit:#?}");
    let unread = warnings("[[residency]]\nboundary = 'eea'\nmatch.ous = ['ou-ab12-34cd56ef']");
    assert!(unread[0].contains("with `accounts.organization = true` only"), "{unread:#?}");
    let shadowed = warnings("[[residency]]\nboundary = 'eea'\n[[residency]]\nboundary = 'sg'");
    assert_eq!(
        shadowed,
        [
            "keyward.toml:1: warning: `residency[0]`: it matches every key set, so the ones after it never count; put it last"
        ]
    );
}

#[test]
fn queues_are_checked_by_shape_and_against_each_other() {
    let fine = "https://sqs.eu-central-1.amazonaws.com/111122223333/events";
    let of = |settings: &str| problems(&format!("[[queue]]\n{settings}"));
    for (settings, part) in [
        ("url = 'arn:aws:sqs:eu-central-1:111122223333:events'".to_owned(), "this is an ARN"),
        ("url = 'https://sqs.eu-central-1.amazonaws.com/events'".to_owned(), "one looks like"),
        ("url = 'http://localhost:4566/111122223333/events'".to_owned(), "give it as `region`"),
        (format!("url = '{fine}'\nregion = 'eu-west-1'"), "leave `region` out"),
        (format!("url = '{fine}'\nrole = 'KeywardLogs'"), "not the ARN of an IAM role"),
        (format!("url = '{fine}'\nmax_in_flight = 0"), "not within 1 to 256"),
        (format!("url = '{fine}'\n[[queue]]\nurl = '{fine}'"), "the same queue"),
        ("role = 'arn:aws:iam::111122223333:role/x'".to_owned(), "has to be given"),
    ] {
        let found = of(&settings);
        assert!(found.len() == 1 && found[0].contains(part), "{settings}: {found:?}");
    }
    let local = "url = 'http://localhost:4566/111122223333/events'\nregion = 'eu-central-1'";
    let role = "role = 'arn:aws:iam::111122223333:role/audit/KeywardLogs'\nexternal_id = 'id'";
    let queue = config(&format!("[[queue]]\n{local}\n{role}")).queue.remove(0);
    assert_eq!((queue.max_in_flight, queue.visibility_secs), (8, 120));
    assert_eq!(
        warnings(&format!("[[queue]]\nurl = '{fine}'\nexternal_id = 'id'")),
        ["keyward.toml:3: warning: `queue[0].external_id`: it has no effect without `role`"]
    );
    let list = format!("[{{ url = \"{fine}\", max_in_flight = 2 }}]");
    let loaded = load_with("", &[("KEYWARD__QUEUE", &list)]).unwrap();
    assert_eq!(loaded.config.queue[0].max_in_flight, 2);
}

#[test]
fn topics_are_checked_by_shape_and_against_each_other() {
    let of = |arn: &str| problems(&format!("[[sns]]\ntopic = '{arn}'"));
    for (arn, expected) in [
        ("alerts", "one looks like"),
        ("arn:aws:sqs:eu-west-1:111122223333:alerts", "one looks like"),
        ("arn:aws:sns:eu-west-1:1111:alerts", "one looks like"),
        ("arn:aws:sns:eu-west-1:111122223333:alerts.FIFO", "only the suffix `.fifo`"),
        ("arn:aws:sns:eu-west-1:111122223333:alerts:1234-5678", "this is a subscription"),
    ] {
        let found = of(arn);
        assert!(found.len() == 1 && found[0].contains(expected), "{arn}: {found:#?}");
    }
    let fine = "arn:aws-eusc:sns:eusc-de-east-1:111122223333:a_b-c.fifo";
    assert!(load_with(&format!("[[sns]]\ntopic = '{fine}'"), &[]).is_ok());
    let twice = problems(&format!("[[sns]]\ntopic = '{fine}'\n[[sns]]\ntopic = '{fine}'"));
    assert_eq!(
        twice,
        ["keyward.toml:4: `sns[1].topic`: `sns[0]` has the same topic; every alert would be sent twice"]
    );
    let own = problems(&format!("[[sns]]\ntopic = '{fine}'\nfallback = '{fine}'"));
    assert!(own[0].contains("its own fallback"), "{own:#?}");
}

#[test]
fn stores_and_addresses_are_checked_and_no_password_is_repeated() {
    for (text, expected) in [
        ("store.url = 'sqlite:'", "the path is missing"),
        ("store.url = 'postgre://db'", "did you mean `postgres`?"),
        ("store.url = 'keyward.db'", "a store is `sqlite:PATH`"),
        ("store.url = 'postgres://u:geheim@db:port/x'", "not a URL"),
        ("http.external_url = 'keyward.example.com'", "is not a web address"),
        ("http.external_url = 'ftp://keyward.example.com'", "is not a web address"),
        ("policy.classification_tag = ' '", "leave it out"),
        ("rules.disable = ['']", "is not the name of a rule"),
    ] {
        let found = problems(text);
        assert!(found.len() == 1 && found[0].contains(expected), "{text}: {found:#?}");
        assert!(!found[0].contains("geheim"));
    }
    assert_eq!(warnings("lookup.overlap_secs = 60").len(), 1);
    assert!(warnings("lookup = { overlap_secs = 60, enabled = false }").is_empty());
}

#[test]
fn events_are_not_forgotten_while_they_may_come_again() {
    let overlap = |enabled: bool, secs: u32| {
        format!("store.event_memory_days = 2\nlookup = {{ enabled = {enabled}, overlap_secs = {secs} }}")
    };
    assert!(warnings(&overlap(true, 172_800)).is_empty());
    assert!(warnings(&overlap(false, 172_801)).is_empty(), "nothing is looked up");
    let found = problems(&overlap(true, 172_801));
    assert!(found.len() == 1 && found[0].contains("give at least 3 days"), "{found:#?}");

    let queue = "[[queue]]\nurl = 'https://sqs.eu-central-1.amazonaws.com/111122223333/keyward-events'";
    for (days, expected) in [(13, 1), (14, 0)] {
        let found = warnings(&format!("store.event_memory_days = {days}\n{queue}"));
        assert_eq!(found.len(), expected, "{found:#?}");
    }
    for beyond in [0, 3651] {
        assert_eq!(problems(&format!("store.event_memory_days = {beyond}")).len(), 1);
    }
}

#[test]
fn the_environment_goes_over_the_file() {
    let loaded = load_with(
        "[store]\nurl = 'sqlite:a.db'\nretention_days = 7\n[[sns]]\ntopic = 'not one'",
        &[
            ("KEYWARD__STORE__URL", "postgres://db/keyward"),
            ("KEYWARD__INVENTORY__INTERVAL_SECS", "600"),
            ("KEYWARD__INVENTORY__CONFIG", "false"),
            ("KEYWARD__REGIONS__INCLUDE", "[\"eu-central-1\"]"),
            ("KEYWARD__ACCOUNTS__EXTERNAL_ID", "123456"),
            ("KEYWARD__ACCOUNTS__ROLE", "Reader"),
            ("KEYWARD__SNS", "[{ topic = \"arn:aws:sns:eu-west-1:111122223333:a\", min_level = \"low\" }]"),
            ("KEYWARD__HTTP__LISTEN", "0.0.0.0:80"),
            ("PATH", "/bin"),
            ("KEYWARD_LOG", "debug"),
        ],
    );
    let config = loaded.unwrap().config;
    assert_eq!((config.store.url.as_str(), config.store.retention_days), ("postgres://db/keyward", 7));
    assert_eq!((config.inventory.interval_secs, config.inventory.config), (600, false));
    assert_eq!(config.regions.include.len(), 1);
    assert_eq!(config.accounts.external_id.as_deref(), Some("123456"));
    assert_eq!((config.sns.len(), config.sns[0].min_level), (1, Level::Low));
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:80");
}

#[test]
fn a_variable_that_is_wrong_is_named() {
    assert_eq!(
        problems_with(
            "",
            &[
                ("KEYWARD__HTTP__LISTEN", "here"),
                ("KEYWARD__INVENTORY__INTERVAL_SECS", "often"),
                ("KEYWARD__LOOKUP__INTERVAL_SECS", "0"),
                ("KEYWARD__RESIDENCY", "[{ boundary = \"eae\" }]"),
                ("KEYWARD__STORE", "x"),
                ("KEYWARD__STORE__ULR", "sqlite:x"),
            ]
        ),
        [
            "KEYWARD__HTTP__LISTEN: `http.listen`: `here` is not an address and port; one looks like `127.0.0.1:9464`",
            "KEYWARD__INVENTORY__INTERVAL_SECS: `inventory.interval_secs`: not a TOML value, such as `7`, `true` or `[\"a\", \"b\"]`: string values must be quoted, expected literal string",
            "KEYWARD__LOOKUP__INTERVAL_SECS: `lookup.interval_secs`: 0 is not within 1 to 31536000",
            "KEYWARD__RESIDENCY: `residency[0].boundary`: there is no boundary `eae`; did you mean `eea`?",
            "KEYWARD__STORE: this is a section; name one of its fields: URL, RETENTION_DAYS, EVENT_MEMORY_DAYS",
            "KEYWARD__STORE__ULR: there is no such setting; did you mean `KEYWARD__STORE__URL`?",
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let missing = Path::new("/nonexistent/keyward.toml");
    let error = Config::read(Some(missing), [], &ATLAS).unwrap_err();
    assert!(error.to_string().starts_with("/nonexistent/keyward.toml: the file cannot be read: "), "{error}");
}

#[test]
fn a_file_is_read_and_without_one_the_environment_counts_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyward.toml");
    std::fs::write(&path, "alerts.reminder_hours = 7").unwrap();
    let variable = || [("KEYWARD__ALERTS__EXCEPTION_NOTICE_DAYS".to_owned(), "3".to_owned())];
    let alerts = |path| Config::read(path, variable(), &ATLAS).unwrap().config.alerts;
    let (with, without) = (alerts(Some(path.as_path())), alerts(None));
    assert_eq!((with.reminder_hours, with.exception_notice_days), (7, 3));
    assert_eq!((without.reminder_hours, without.exception_notice_days), (24, 3));
}

/// A configuration in which every setting that can be unset and every list of sections has a value.
fn full() -> Config {
    let text = "[[residency]]\nboundary = 'eea'\n[[sns]]\ntopic = 'arn:aws:sns:eu-west-1:111122223333:a'\n[[queue]]\n\
                url = 'https://sqs.eu-west-1.amazonaws.com/111122223333/q'";
    let mut config = config(text);
    config.residency[0].matches.tags.clear();
    config
}

/// The leaves of a document by path; what the table knows as a map is one leaf.
fn leaves(json: &Json, path: &str, into: &mut Vec<(String, Json)>) {
    let is_field = FIELDS.iter().any(|field| field.path == path);
    match json {
        Json::Object(fields) if !is_field => {
            for (name, value) in fields {
                leaves(value, &if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, into);
            }
        }
        Json::Array(items) if !is_field => {
            for item in items {
                leaves(item, &format!("{path}[]"), into);
            }
        }
        leaf => into.push((path.to_owned(), leaf.clone())),
    }
}

#[test]
fn the_table_of_settings_and_the_structs_say_the_same() {
    let mut found = Vec::new();
    leaves(&serde_json::to_value(full()).unwrap(), "", &mut found);
    let in_structs: BTreeSet<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    let in_table: BTreeSet<&str> = FIELDS.iter().map(|field| field.path).collect();
    assert_eq!(in_structs, in_table);
    for (path, value) in &found {
        let field = FIELDS.iter().find(|field| field.path == path).unwrap();
        let expected = match field.default {
            Preset::Required => continue,
            Preset::Unset => Json::Null,
            Preset::Value(text) => {
                let table: toml::Table = toml::from_str(&format!("value = {text}")).unwrap();
                field.kind.check(&table["value"]).unwrap();
                serde_json::to_value(&table["value"]).unwrap()
            }
        };
        assert_eq!(*value, expected, "{path}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_and_no_variable_breaks_the_reader(text in "\\PC{0,60}", value in "\\PC{0,20}") {
        for field in FIELDS.iter().take(12) {
            let name = overrides::variable(field.path);
            drop(load_with(&text, &[(&name, &value)]));
            drop(load_with(&format!("{} = {value}", field.path.replace("[]", "")), &[]));
        }
    }
}
