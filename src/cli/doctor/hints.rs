//! Whether the homeserver gives hints beside events, which is optional: what the registration asks for, and what a running
//! Vizard has counted. No homeserver announces it.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    cli::{lock::Lock, registration::asks_for_hints, report::Row},
    config::Loaded,
};

const CHECK: &str = "hints";
/// The longest that the metrics may take.
const LIMIT: Duration = Duration::from_secs(5);

/// To be asked for after a message was sent to a device of ours, which is a hint where there are any.
pub(super) async fn row(loaded: &Loaded) -> Row {
    let registration = loaded.dir().join("registration.yaml");
    let asked = std::fs::read_to_string(registration)
        .ok()
        .map(|yaml| asks_for_hints(&yaml));
    let came = match loaded.config.metrics.listen {
        Some(address) if Lock::is_held(loaded) => came(address).await,
        _ => None,
    };
    Row::info(CHECK, words(asked, came))
}

fn words(asked: Option<bool>, came: Option<u64>) -> String {
    let asked = match asked {
        Some(true) => "registration.yaml asks for them",
        Some(false) => "registration.yaml does not ask for them",
        None => "no registration.yaml here to look into",
    };
    match came {
        Some(0) => format!("none came since Vizard was started ({asked}); not needed"),
        Some(count) => format!("on: {count} came since Vizard was started"),
        None => format!("{asked}; a running Vizard with metrics.listen tells whether they come"),
    }
}

/// How many hints a running Vizard has counted.
async fn came(address: SocketAddr) -> Option<u64> {
    let metrics = tokio::time::timeout(LIMIT, metrics(address)).await.ok()?;
    Some(sum(&metrics.ok()?))
}

async fn metrics(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn sum(metrics: &str) -> u64 {
    metrics
        .lines()
        .filter(|line| line.starts_with("vizard_hints_total"))
        .filter_map(|line| line.rsplit(' ').next()?.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_counted_whatever_became_of_them() {
        let metrics = "# HELP vizard_hints_total x\nvizard_hints_total{outcome=\"synced\"} 3\r\n\
            vizard_hints_total{outcome=\"unknown\"} 4\nvizard_transactions_total 9\n";
        assert_eq!(sum(metrics), 7);
        assert_eq!(sum(""), 0);
    }

    #[test]
    fn what_is_said() {
        assert_eq!(
            words(Some(true), Some(7)),
            "on: 7 came since Vizard was started"
        );
        assert!(words(Some(true), Some(0)).starts_with("none came"));
        assert!(words(Some(false), None).starts_with("registration.yaml does not ask"));
    }
}
