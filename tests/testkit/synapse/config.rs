//! The settings of a stock Synapse for tests: what an ordinary admin may write, with limits out of the way.

use std::path::Path;

use anyhow::Result;
use data_encoding::BASE64_NOPAD;
use serde_json::{Value, json};

use super::{Options, Site};

/// Writes `homeserver.yaml` (JSON is YAML) and what it names. Returns the registration secret.
pub(super) fn write(site: &Site, authority: &Path, options: &Options) -> Result<String> {
    let rng = vizard::rng::Rng::os();
    let secret = BASE64_NOPAD.encode(&rng.bytes::<24>());
    let seed = BASE64_NOPAD.encode(&rng.bytes::<32>());
    std::fs::write(site.path("signing.key"), format!("ed25519 a_test {seed}\n"))?;
    std::fs::write(site.path("log.yaml"), log(site, options).to_string())?;
    let mut config = settings(site, authority, options, &secret);
    if let (Some(config), Some(extra)) = (config.as_object_mut(), options.extra.as_object()) {
        config.extend(extra.clone());
    }
    std::fs::write(
        site.path("homeserver.yaml"),
        serde_json::to_string_pretty(&config)?,
    )?;
    Ok(secret)
}

fn settings(site: &Site, authority: &Path, options: &Options, secret: &str) -> Value {
    let listener = |address: std::net::SocketAddr, tls: bool, resource: &str| {
        json!({
            "type": "http", "tls": tls, "port": address.port(), "bind_addresses": [address.ip()],
            "x_forwarded": false, "resources": [{"names": [resource], "compress": false}],
        })
    };
    let mut config = json!({
        "server_name": site.server_name,
        "public_baseurl": site.url(),
        "report_stats": false,
        "pid_file": site.path("synapse.pid"),
        "signing_key_path": site.path("signing.key"),
        "log_config": site.path("log.yaml"),
        "media_store_path": site.path("media"),
        "database": {"name": "sqlite3", "args": {"database": site.path("homeserver.db")}},
        "listeners": [
            listener(site.client, false, "client"),
            listener(site.federation, true, "federation"),
        ],
        "tls_certificate_path": site.path("tls.pem"),
        "tls_private_key_path": site.path("tls.key"),
        "federation_custom_ca_list": [authority],
        "ip_range_blacklist": [],
        "federation_ip_range_blacklist": [],
        "trusted_key_servers": [],
        "suppress_key_server_warning": true,
        "registration_shared_secret": secret,
        "macaroon_secret_key": secret,
        "form_secret": secret,
        // Passwords in tests guard nothing, and the default costs a quarter of a second each.
        "bcrypt_rounds": 4,
        "presence": {"enabled": true},
        "url_preview_enabled": false,
        "filter_timeline_limit": 5000,
        "app_service_config_files": options.registrations,
        // A server that was restarted is tried again at once, not after ten minutes.
        "federation": {
            "destination_min_retry_interval": "1s",
            "destination_retry_multiplier": 1,
            "destination_max_retry_interval": "5s",
        },
    });
    if options.experimental {
        config["experimental_features"] = json!({
            "msc2409_to_device_messages_enabled": true,
            "msc3202_transaction_extensions": true,
        });
    }
    limits(&mut config);
    config
}

/// Ordinary users in tests act faster than people.
fn limits(config: &mut Value) {
    let plenty = json!({"per_second": 10_000, "burst_count": 100_000});
    for name in [
        "rc_message",
        "rc_registration",
        "rc_admin_redaction",
        "rc_joins_per_room",
        "rc_room_creation",
        "rc_media_create",
        "rc_third_party_invite",
        "rc_user_directory",
        "rc_3pid_validation",
        "rc_delayed_event_mgmt",
        "rc_reports",
        "rc_registration_token_validity",
    ] {
        config[name] = plenty.clone();
    }
    config["rc_login"] = json!({"address": plenty, "account": plenty, "failed_attempts": plenty});
    config["rc_joins"] = json!({"local": plenty, "remote": plenty});
    config["rc_invites"] = json!({"per_room": plenty, "per_user": plenty, "per_issuer": plenty});
    config["rc_presence"] = json!({"per_user": plenty});
    config["rc_federation"] = json!({"window_size": 1000, "sleep_limit": 100_000, "sleep_delay": 1, "reject_limit": 100_000, "concurrent": 50});
    config["federation_rr_transactions_per_room_per_second"] = json!(1000);
    config["remote_media_download_per_second"] = json!("100M");
}

fn log(site: &Site, options: &Options) -> Value {
    let level = if options.debug_log { "DEBUG" } else { "INFO" };
    json!({
        "version": 1,
        "formatters": {"precise": {
            "format": "%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(request)s - %(message)s",
        }},
        "handlers": {"file": {
            "class": "logging.FileHandler", "formatter": "precise",
            "filename": site.path("homeserver.log"), "encoding": "utf8",
        }},
        "root": {"level": level, "handlers": ["file"]},
        "disable_existing_loggers": false,
    })
}
