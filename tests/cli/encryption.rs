//! `doctor` on a homeserver that lacks what encryption needs: it says what is missing, and what to do.

use crate::{
    Sandbox, closed_port,
    testkit::fake::{Config, Fake, Keys},
};

async fn doctor(keys: Keys) -> crate::Ran {
    let fake = Fake::start(Config {
        keys,
        // Shorter ones are not accepted.
        as_token: "as_token".repeat(8),
        hs_token: "hs_token".repeat(8),
        ..Config::default()
    })
    .await;
    let listen = format!("127.0.0.1:{}", closed_port());
    let sandbox = Sandbox::initialised_for(fake.url(), &listen);
    let config = fake.config();
    sandbox.write("v/as_token", &config.as_token);
    sandbox.write("v/hs_token", &config.hs_token);
    fake.set_appservice(Some(&format!("http://{listen}")));
    sandbox.on_config(&["doctor"])
}

/// The failing row of a check, and the line below it.
fn failed<'a>(out: &'a str, check: &str) -> (&'a str, &'a str) {
    let begins = format!("✗ {check}");
    let mut lines = out.lines();
    let row = lines
        .find(|line| line.trim_start().starts_with(&begins))
        .unwrap_or_else(|| panic!("{check} does not fail:\n{out}"));
    (row, lines.next().unwrap_or_default())
}

const MEND: &str = "→ upgrade the homeserver: application services cannot encrypt there (Matrix v1.17, MSC4190); or set encryption.enabled = false";

#[tokio::test(flavor = "multi_thread")]
async fn a_homeserver_without_device_keys() {
    let ran = doctor(Keys::Unknown).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    for part in [
        "✓ namespace",
        "✓ devices",
        "– what needs them",
        "deleted again",
    ] {
        assert!(ran.out.contains(part), "{part} in\n{}", ran.out);
    }
    for check in ["device keys", "bot's keys"] {
        let (row, below) = failed(&ran.out, check);
        assert!(row.contains("M_UNRECOGNIZED"), "{row}");
        assert!(below.trim_start().starts_with(MEND), "{below}");
    }
    assert!(!ran.out.contains("device sync"), "{}", ran.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_homeserver_without_sync_for_devices() {
    let ran = doctor(Keys::WithoutSync).await;
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.out.contains("✓ device keys"), "{}", ran.out);
    for check in ["device sync", "device messages"] {
        let (row, below) = failed(&ran.out, check);
        assert!(row.contains("M_UNRECOGNIZED"), "{row}");
        assert!(below.trim_start().starts_with(MEND), "{below}");
    }
    assert!(
        ran.out.contains("deleted again"),
        "a trial leaves nothing:\n{}",
        ran.out
    );
}
