//! `weir policy-document`: prints the IAM policy that a weir with this config needs.

mod rights;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::output::{Output, make_safe};
use crate::cli::target::{ConfigArgs, print_config_errors};
use crate::config::{self, ConfigFiles};

use rights::{Place, Rights};

/// `weir policy-document`
#[derive(Debug, Args)]
pub struct PolicyDocumentArgs {
    /// Which config
    #[command(flatten)]
    pub config: ConfigArgs,
    /// The AWS account of what the config names without one [default: any]
    #[arg(long, value_name = "ID", value_parser = parse_account)]
    pub account: Option<String>,
    /// The AWS region of what the config names without one [default: AWS_REGION, or any]
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
}

fn parse_account(text: &str) -> Result<String, String> {
    let is_account = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_account
        .then(|| text.to_owned())
        .ok_or_else(|| "an AWS account has 12 digits".to_owned())
}

/// Prints on stdout the policy document (IAM policy grammar 2012-10-17) with what the config uses of AWS
/// with the credentials of the machine, and nothing else. Nothing is contacted. Exits with 0, or with 2
/// if the config is wrong.
pub fn run(args: PolicyDocumentArgs, output: &mut Output) -> ExitCode {
    // The machine that asks is seldom the one that weir runs on.
    let unset = RefCell::new(BTreeSet::new());
    let env = |name: &str| {
        let value = config::process_env(name);
        if value.is_some() || config::is_standard_variable(name) {
            return value;
        }
        unset.borrow_mut().insert(name.to_owned());
        Some("unset".to_owned())
    };
    let config = ConfigFiles::read(&args.config.config).config(&env);
    for name in unset.take() {
        output.print_warning(&format!(
            "the environment variable `{}` is not set here: its value is taken to be `unset`",
            make_safe(&name)
        ));
    }
    let config = match config {
        Ok(config) => config,
        Err(errors) => {
            print_config_errors(&errors, output);
            return ExitCode::from(2);
        }
    };
    let region = args.region.or_else(|| config::process_env("AWS_REGION"));
    let place = Place {
        account: args.account.unwrap_or_else(|| "*".to_owned()),
        region: region.unwrap_or_else(|| "*".to_owned()),
    };
    let rights = Rights::of(&config, &place);
    for note in &rights.notes {
        output.print_warning(&make_safe(note));
    }
    output.out.print_raw(&text(&rights));
    ExitCode::SUCCESS
}

fn text(rights: &Rights) -> String {
    let statements: Vec<Value> = rights
        .statements()
        .map(|(name, actions, resources)| {
            json!({
                "Sid": name,
                "Effect": "Allow",
                "Action": actions,
                "Resource": resources,
            })
        })
        .collect();
    let document = json!({ "Version": "2012-10-17", "Statement": statements });
    format!("{document:#}\n")
}
