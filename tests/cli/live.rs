//! `doctor` on a stock Synapse: all is well; and what it says when it is not.

use std::{fs, path::Path};

use crate::{
    Ran,
    testkit::{
        process,
        site::Site,
        synapse::{Options, Synapse},
        vizard::{Setup, Vizard},
    },
};

fn doctor(vizard: &Vizard, environment: &[(&str, &str)]) -> Ran {
    let mut command = vizard.command();
    command
        .arg("doctor")
        .arg("--config")
        .arg(vizard.config())
        .envs(environment.iter().copied());
    process::output(&mut command).unwrap().into()
}

fn set_token(vizard: &Vizard, name: &str, token: &str) {
    fs::write(Path::new(vizard.directory()).join(name), token).unwrap();
}

/// The trial of profile fields takes its own away again.
async fn nothing_is_left_in_public(synapse: &Synapse) {
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    let profile = client.build().unwrap().get(format!(
        "{}/_matrix/client/v3/profile/@vizard:{}",
        synapse.url(),
        synapse.server_name()
    ));
    let profile = profile.send().await.unwrap().text().await.unwrap();
    assert!(!profile.contains("org.vizard.doctor"), "{profile}");
}

#[tokio::test]
async fn it_finds_a_stock_synapse_well_and_says_what_is_not() {
    let site = Site::reserve("doctor").unwrap();
    let mut vizard = Vizard::init(env!("CARGO_BIN_EXE_vizard"), &site).unwrap();
    let options = Options {
        registrations: vec![vizard.registration()],
        ..Options::default()
    };
    let synapse = Synapse::start(site, &options).await.unwrap();

    let ran = doctor(&vizard, &[]);
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    for row in [
        "✓ homeserver",
        "✓ specification",
        "✓ token",
        "✓ namespace",
        "✓ devices",
        "made, for what follows",
        "✓ device keys",
        "✓ device sync",
        "✓ device messages",
        "an identity can be uploaded",
        "deleted again",
        "– bot's keys",
        "✓ profile fields",
        "✓ ping",
        "(doctor answered in Vizard's place)",
        "✓ clock",
        "– database",
        "All is well.",
    ] {
        assert!(ran.out.contains(row), "{row} in\n{}", ran.out);
    }

    nothing_is_left_in_public(&synapse).await;

    vizard.start().await.unwrap();
    let ran = doctor(&vizard, &[]);
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("(Vizard runs and answered)"),
        "{}",
        ran.out
    );
    for row in [
        "in use: Vizard is running; devices with encryption keys: 1",
        "– hints",
        "none came since Vizard was started (registration.yaml does not ask for them)",
        "the identity of an earlier trial is there",
        "✓ bot's keys",
        "with a cross-signing identity; 50 one-time keys left",
        "– keys over TLS",
        "at an address that is not public: try `curl https://127.",
        "✓ keys in profile",
    ] {
        assert!(ran.out.contains(row), "{row} in\n{}", ran.out);
    }
    vizard.stop().await.unwrap();

    let ran = doctor(&vizard, &[]);
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("✓ database"), "{}", ran.out);
    assert!(
        ran.out.contains("devices with encryption keys: 1"),
        "{}",
        ran.out
    );

    let ran = doctor(&vizard, &[("VIZARD__ENCRYPTION__ENABLED", "false")]);
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("– encryption") && ran.out.contains("switched off"),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("device keys"), "{}", ran.out);

    let elsewhere = format!("127.0.0.1:{}", crate::closed_port());
    for (environment, row) in [
        (("VIZARD__APPSERVICE__PREFIX", "_mask_"), "✗ namespace"),
        (("VIZARD__APPSERVICE__BOT", "mask"), "✗ token"),
        (("VIZARD__APPSERVICE__ID", "mask"), "✗ ping"),
        (("VIZARD__APPSERVICE__LISTEN", elsewhere.as_str()), "✗ ping"),
    ] {
        let ran = doctor(&vizard, &[environment]);
        assert_eq!(ran.status, 1, "{environment:?}: {}", ran.out);
        assert!(
            ran.out.contains(row) && ran.out.contains("→ "),
            "{environment:?}: {}",
            ran.out
        );
    }

    set_token(&vizard, "hs_token", "another-token-another-token-another");
    let ran = doctor(&vizard, &[]);
    assert_eq!(ran.status, 1, "{}", ran.out);
    assert!(
        ran.out
            .contains("the homeserver calls with another hs_token"),
        "{}",
        ran.out
    );
    set_token(&vizard, "as_token", "a-third-token-a-third-token-a-third");
    let ran = doctor(&vizard, &[]);
    assert_eq!(ran.status, 1, "{}", ran.out);
    assert!(ran.out.contains("✗ token"), "{}", ran.out);
    assert!(ran.out.contains("app_service_config_files"), "{}", ran.out);
}

#[tokio::test]
async fn it_says_that_hints_come() {
    let site = Site::reserve("doctor-hints").unwrap();
    let setup = Setup {
        hints: true,
        ..Setup::default()
    };
    let mut vizard = Vizard::init_with(env!("CARGO_BIN_EXE_vizard"), &site, &setup).unwrap();
    let options = Options {
        registrations: vec![vizard.registration()],
        experimental: true,
        ..Options::default()
    };
    let _synapse = Synapse::start(site, &options).await.unwrap();
    let ran = doctor(&vizard, &[]);
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    assert!(
        ran.out
            .contains("registration.yaml asks for them; a running"),
        "{}",
        ran.out
    );
    vizard.start().await.unwrap();
    // The message to the device on trial is a hint, if none was before. It may come after the count, and Synapse loses some.
    let mut ran = doctor(&vizard, &[]);
    for _ in 0..4 {
        if ran.out.contains("hints              on: ") {
            break;
        }
        ran = doctor(&vizard, &[]);
    }
    assert_eq!(ran.status, 0, "{}{}", ran.out, ran.err);
    assert!(
        ran.out.contains("hints              on: ")
            && ran.out.contains("came since Vizard was started"),
        "{}",
        ran.out
    );
    vizard.stop().await.unwrap();
}
