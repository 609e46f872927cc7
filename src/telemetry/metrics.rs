//! The metrics recorder, and what each metric means.
//!
//! Labels have few values, fixed in the code: never an id.

use std::sync::OnceLock;

use metrics::{
    Unit, describe_counter, describe_gauge, describe_histogram, set_global_recorder,
    with_local_recorder,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of the buckets of durations, in seconds.
const SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// The process's metrics: installs the recorder the first time. `render` gives the Prometheus text; whoever serves
/// it calls `run_upkeep` now and then.
pub fn metrics() -> PrometheusHandle {
    HANDLE
        .get_or_init(|| {
            let recorder = builder().build_recorder();
            with_local_recorder(&recorder, describe);
            let handle = recorder.handle();
            if set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed; this one stays empty");
            }
            handle
        })
        .clone()
}

fn builder() -> PrometheusBuilder {
    let by_suffix = |builder: PrometheusBuilder, suffix: &str| {
        builder
            .set_buckets_for_metric(Matcher::Suffix(suffix.to_owned()), SECONDS)
            // Only an empty list of buckets is refused.
            .unwrap_or_default()
    };
    by_suffix(PrometheusBuilder::new(), "_seconds")
}

fn describe() {
    describe_counter!("vizard_transactions_total", "Transactions received");
    describe_counter!(
        "vizard_events_total",
        "Events received, by outcome: accepted, malformed, duplicate, or fetched (missed, and found in the history)"
    );
    describe_counter!(
        "vizard_hints_total",
        "What transactions hint at beside their events, by outcome: synced, recent, unknown, failed, dropped, changed, malformed"
    );
    describe_gauge!(
        "vizard_lane_depth",
        "Events waiting in the lanes of all portals"
    );
    describe_gauge!(
        "vizard_inbox_pending",
        "Transactions stored and not yet wholly handled"
    );
    describe_histogram!(
        "vizard_relay_seconds",
        Unit::Seconds,
        "Time from an event's receipt until it was handled, all waiting included, by direction"
    );
    describe_counter!(
        "vizard_failures_total",
        "Failures, by class: retry, give_up, inbound, outbound, job, device, avatar, user_limit, wrong_token"
    );
    describe_counter!(
        "vizard_peer_keys_refused_total",
        "Keys of other servers that were looked for and not had, by why: not_found, invalid, not_anchored, not_by_hand, places_differ, rolled_back, changed, key_changed, store"
    );
    describe_counter!(
        "vizard_invite_answers_ignored_total",
        "Answers to invites that were not taken, by why: shape, other_sender, other_request, signature, other_ghost, mapping"
    );
    describe_counter!(
        "vizard_invite_requests_total",
        "Requests of other Vizards to invite somebody here, by outcome: answered, decoy, refused, dropped; and by reason"
    );
    describe_counter!(
        "vizard_invites_received_total",
        "Invites of ghosts, by outcome: shown, decoy, unoffered, mismatched, over, declined, rescinded, expired, accepted, gone"
    );
    describe_counter!(
        "vizard_homeserver_requests_total",
        "Requests to the homeserver, by endpoint and outcome"
    );
    describe_histogram!(
        "vizard_homeserver_request_seconds",
        Unit::Seconds,
        "Time that requests to the homeserver took"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_rendered_with_their_meaning() {
        let recorder = builder().build_recorder();
        with_local_recorder(&recorder, || {
            describe();
            metrics::counter!("vizard_events_total", "outcome" => "accepted").increment(2);
            metrics::gauge!("vizard_lane_depth").set(3.0);
            metrics::histogram!("vizard_relay_seconds", "direction" => "inbound").record(0.02);
        });
        let text = recorder.handle().render();
        for line in [
            "# HELP vizard_events_total Events received",
            "vizard_events_total{outcome=\"accepted\"} 2",
            "vizard_lane_depth 3",
            "vizard_relay_seconds_bucket{direction=\"inbound\",le=\"0.025\"} 1",
            "vizard_relay_seconds_bucket{direction=\"inbound\",le=\"0.01\"} 0",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }

    #[test]
    fn the_recorder_is_installed_once() {
        metrics();
        metrics::counter!("vizard_transactions_total").increment(1);
        assert!(metrics().render().contains("vizard_transactions_total"));
    }
}
