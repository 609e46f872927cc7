//! What to do about what went wrong.

use std::net::SocketAddr;

use crate::homeserver::Error;

pub(super) const NAME: &str =
    "see that the name in homeserver.url is right and that this machine can resolve it";
pub(super) const FIREWALL: &str =
    "see that homeserver.url is right and that no firewall is in between";
pub(super) const NOT_LISTENING: &str =
    "start the homeserver, or set homeserver.url to where its client API listens";
pub(super) const REGISTRATION: &str = "the homeserver has another registration: print it with `vizard registration`, put it where the homeserver reads it (Synapse: app_service_config_files), and restart the homeserver";
pub(super) const NO_MESSAGE: &str = "see the homeserver's log, and that all of its workers run: room keys travel as messages to devices";
pub(super) const NO_COUNT: &str = "see that /sync, as homeserver.url leads to it, is the homeserver's own and of the version that the rest is";
pub(super) const NO_IDENTITY: &str = "restart Vizard and read its first lines: members' clients warn of devices that no identity has signed";
const ANSWERS: &str =
    "see the homeserver's log, and that homeserver.url leads to it and not to something else";
const UPGRADE: &str = "upgrade the homeserver: it does not know this request";

/// A request that needs the token and the namespace.
pub(super) fn refusal(error: &Error) -> &'static str {
    match (error.errcode(), error.status()) {
        (Some("M_UNKNOWN_TOKEN" | "M_MISSING_TOKEN" | "M_EXCLUSIVE" | "M_FORBIDDEN"), _)
        | (None | Some(_), Some(401)) => REGISTRATION,
        (Some("M_USER_DEACTIVATED"), _) => {
            "reactivate this user on the homeserver (Synapse: admin API, `deactivated: false`)"
        }
        (Some("M_LIMIT_EXCEEDED"), _) => {
            "wait a minute and try again; see that the registration says rate_limited: false"
        }
        (Some("M_UNRECOGNIZED"), _) | (_, Some(404 | 405)) => UPGRADE,
        _ => ANSWERS,
    }
}

/// `GET /versions`, which needs nothing.
pub(super) fn versions(error: &Error) -> &'static str {
    match error {
        Error::Refused { .. } | Error::Answer(_) => {
            "set homeserver.url to the client API's base URL: what answers there is no Matrix homeserver"
        }
        _ => {
            "see that the homeserver has started up, and, for https, that its certificate is valid for this name"
        }
    }
}

/// Making and deleting a device.
pub(super) fn devices(error: &Error) -> &'static str {
    match (error.errcode(), error.status()) {
        (Some("M_UNRECOGNIZED"), _) | (_, Some(404 | 405)) => {
            "upgrade the homeserver: application services cannot manage devices there (Matrix v1.17, MSC4190)"
        }
        _ => refusal(error),
    }
}

/// Giving a device keys, and what follows from that.
pub(super) fn keys(error: &Error) -> &'static str {
    match (error.errcode(), error.status()) {
        (Some("M_UNRECOGNIZED"), _) | (_, Some(404 | 405)) => {
            "upgrade the homeserver: application services cannot encrypt there (Matrix v1.17, MSC4190); or set encryption.enabled = false, and encrypted rooms are not entered"
        }
        // A homeserver that wants a password for a cross-signing identity has no MSC4190.
        (None | Some(_), Some(401)) if error.errcode() != Some("M_UNKNOWN_TOKEN") => {
            "upgrade the homeserver: it asks application services for a person's password there (Matrix v1.17, MSC4190)"
        }
        _ => refusal(error),
    }
}

/// Setting a custom profile field.
pub(super) fn profile_field(error: &Error) -> &'static str {
    match (error.errcode(), error.status()) {
        (Some("M_FORBIDDEN"), _) => {
            "the homeserver forbids custom profile fields: allow them, or publish Vizard's keys over HTTPS alone"
        }
        (Some("M_UNRECOGNIZED"), _) | (_, Some(400 | 404 | 405)) => {
            "upgrade the homeserver: it has no custom profile fields (Matrix v1.16, MSC4133)"
        }
        _ => refusal(error),
    }
}

/// The homeserver's call to Vizard. `running`: something, presumably Vizard, holds the address.
pub(super) fn ping(error: &Error, url: &str, running: bool, listen: SocketAddr) -> String {
    match error.errcode() {
        Some("M_URL_NOT_SET" | "M_INVALID_PARAM" | "M_FORBIDDEN" | "M_UNKNOWN_TOKEN") => {
            REGISTRATION.to_owned()
        }
        Some("M_BAD_STATUS") if running => format!(
            "see that it is this Vizard that listens on {listen}, and that the homeserver has this registration (`vizard registration`)"
        ),
        Some("M_BAD_STATUS") => format!(
            "something else answers at {url}: set appservice.url to where the homeserver reaches {listen}, print the registration anew, and restart the homeserver"
        ),
        Some("M_CONNECTION_FAILED" | "M_CONNECTION_TIMEOUT") => format!(
            "the homeserver cannot reach {url}: set appservice.url (and appservice.listen, now {listen}) so that it can \
             (in a container, 127.0.0.1 is the container itself), print the registration anew, and restart the homeserver"
        ),
        _ => refusal(error).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, errcode: &str) -> Error {
        Error::Refused {
            status,
            errcode: errcode.to_owned(),
            message: String::new(),
        }
    }

    #[test]
    fn each_refusal_has_its_mend() {
        for (status, errcode, mend) in [
            (401, "M_UNKNOWN_TOKEN", "`vizard registration`"),
            (401, "M_UNKNOWN", "`vizard registration`"),
            (403, "M_FORBIDDEN", "`vizard registration`"),
            (400, "M_EXCLUSIVE", "`vizard registration`"),
            (403, "M_USER_DEACTIVATED", "reactivate"),
            (429, "M_LIMIT_EXCEEDED", "rate_limited: false"),
            (404, "M_UNRECOGNIZED", "upgrade"),
            (418, "M_TEAPOT", "homeserver's log"),
        ] {
            assert!(
                refusal(&refused(status, errcode)).contains(mend),
                "{status} {errcode}"
            );
        }
        assert!(versions(&refused(404, "M_UNKNOWN")).contains("no Matrix homeserver"));
        assert!(devices(&refused(404, "M_UNRECOGNIZED")).contains("MSC4190"));
        assert!(keys(&refused(404, "M_UNRECOGNIZED")).contains("encryption.enabled"));
        assert!(keys(&refused(401, "M_UNKNOWN")).contains("password"));
        assert!(keys(&refused(401, "M_UNKNOWN_TOKEN")).contains("`vizard registration`"));
        assert!(profile_field(&refused(403, "M_FORBIDDEN")).contains("forbids"));
        assert!(profile_field(&refused(404, "M_UNRECOGNIZED")).contains("MSC4133"));
    }

    #[test]
    fn a_ping_that_fails_says_where_to_look() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 29350));
        let mend = |errcode, running| ping(&refused(502, errcode), "http://v:1", running, listen);
        assert!(mend("M_CONNECTION_FAILED", false).contains("cannot reach http://v:1"));
        assert!(mend("M_CONNECTION_TIMEOUT", true).contains("in a container"));
        assert!(mend("M_BAD_STATUS", true).contains("this Vizard"));
        assert!(mend("M_BAD_STATUS", false).contains("something else answers"));
        assert!(mend("M_URL_NOT_SET", false).contains("`vizard registration`"));
    }
}
