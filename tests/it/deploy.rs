//! What is shipped for running Keyward fits the program and the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn keyward(args: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyward"));
    let settings = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("KEYWARD_"));
    settings.for_each(|name| _ = command.env_remove(name));
    let output = command.args(args).current_dir(root()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn the_example_configuration_is_fine() {
    let (fine, said) = keyward(&["config", "check", "--config", "deploy/keyward.example.toml"]);
    assert!(fine, "{said}");
    let summary =
        "every account of the organization, every enabled Region, 2 residency assignments, 2 topics";
    assert_eq!(said.lines().collect::<Vec<_>>(), [format!("deploy/keyward.example.toml: fine: {summary}")]);
}

#[test]
fn the_unit_and_the_image_run_a_command_that_exists() {
    let unit = std::fs::read_to_string(root().join("deploy/keyward.service")).unwrap();
    let command =
        unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/keyward ")).unwrap();
    let mut args: Vec<&str> = command.split(' ').collect();
    args.push("--help");
    let (fine, said) = keyward(&args);
    assert!(fine, "{said}");
    let image = std::fs::read_to_string(root().join("deploy/Dockerfile")).unwrap();
    let command = image.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    let mut args: Vec<String> = serde_json::from_str(command).unwrap();
    args.push("--help".to_owned());
    let (fine, said) = keyward(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(fine, "{said}");
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

#[test]
fn what_compose_builds_and_mounts_is_there() {
    let folder = root().join("deploy/demo");
    let compose = yaml("deploy/demo/compose.yml");
    let services = compose["services"].as_object().unwrap();
    assert!(["keyward", "prometheus", "grafana"].iter().all(|name| services.contains_key(*name)));
    let build = &services["keyward"]["build"];
    let context = folder.join(build["context"].as_str().unwrap());
    let mut needed: Vec<PathBuf> =
        vec![context.join("Cargo.toml"), context.join(build["dockerfile"].as_str().unwrap())];
    for mount in
        services.values().flat_map(|service| service["volumes"].as_array().cloned().unwrap_or_default())
    {
        needed.push(folder.join(mount.as_str().unwrap().split(':').next().unwrap()));
    }
    for rules in yaml("deploy/demo/prometheus.yml")["rule_files"].as_array().unwrap() {
        let name = rules.as_str().unwrap().strip_prefix("keyward/").unwrap();
        needed.push(root().join("dashboards/prometheus").join(name));
    }
    assert!(needed.len() >= 8, "{needed:?}");
    for path in needed {
        assert!(path.exists(), "{} is missing", path.display());
    }
}

#[test]
fn only_what_feeds_the_queue_may_send_to_it_and_what_fails_is_kept() {
    let template = yaml("deploy/cloudformation/keyward-queue.yml");
    let resources = template["Resources"].as_object().unwrap();
    let of_kind = |kind: &str| {
        resources
            .iter()
            .filter(|(_, resource)| resource["Type"] == kind)
            .map(|(name, _)| name.as_str())
            .collect()
    };
    let policies: Vec<&str> = of_kind("AWS::SQS::QueueInlinePolicy");
    assert_eq!(policies, ["FromTheBucket", "FromTheKmsRule", "FromTheObjectRule", "FromTheTopic"]);
    for name in policies {
        let statement = &resources[name]["Properties"]["PolicyDocument"]["Statement"][0];
        assert_eq!(
            (&statement["Effect"], &statement["Action"]),
            (&"Allow".into(), &"sqs:SendMessage".into())
        );
        assert!(statement["Principal"]["Service"].as_str().unwrap().ends_with(".amazonaws.com"), "{name}");
        assert!(!statement["Condition"]["ArnEquals"]["aws:SourceArn"].is_null(), "{name}");
        let condition = resources[name]["Condition"].as_str().unwrap();
        assert!(template["Conditions"].as_object().unwrap().contains_key(condition), "{condition}");
    }
    let redrive = &resources["Events"]["Properties"]["RedrivePolicy"];
    assert_eq!(redrive["deadLetterTargetArn"]["Fn::GetAtt"], serde_json::json!(["DeadLetters", "Arn"]));
    // Without it Decrypt never comes.
    let state = &resources["KmsRule"]["Properties"]["State"];
    assert_eq!(state, "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS");
    // Every reference leads somewhere.
    let text = std::fs::read_to_string(root().join("deploy/cloudformation/keyward-queue.yml")).unwrap();
    let parameters = template["Parameters"].as_object().unwrap();
    for rest in text.split("{Ref: ").skip(1) {
        let name = rest.split('}').next().unwrap().trim_matches('"');
        let is_known =
            name.starts_with("AWS::") || parameters.contains_key(name) || resources.contains_key(name);
        assert!(is_known, "{name}");
    }
}
