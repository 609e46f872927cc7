//! Which request is which endpoint.

use http::Method;

use super::{
    Refused, account, events, keys, media, post, rooms,
    serve::{Answer, Req},
    world::World,
};

/// What an endpoint does.
pub(super) type Handler = fn(&mut World, &Req) -> Result<Answer, Refused>;

/// An endpoint, and the variable segments of the path.
pub(super) struct Route {
    pub name: &'static str,
    pub handler: Handler,
    pub args: Vec<String>,
    pub access: Access,
}

/// As whom an endpoint is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anyone.
    Open,
    /// The application service itself.
    Service,
    /// A user of the namespace.
    User,
}

/// The endpoints of devices' keys and of account data.
fn of_keys(method: &str, segments: &[&str]) -> Option<Route> {
    let ["_matrix", "client", "v3", rest @ ..] = segments else {
        return None;
    };
    let (name, handler): (_, Handler) = match (method, rest) {
        ("POST", ["keys", "upload"]) => ("upload_keys", keys::upload),
        ("POST", ["keys", "query"]) => ("query_keys", keys::query),
        ("POST", ["keys", "claim"]) => ("claim_keys", keys::claim),
        ("POST", ["keys", "device_signing" | "signatures", "upload"]) => {
            ("upload_signatures", keys::sign)
        }
        // It may wait, so it is served elsewhere.
        ("GET", ["sync"]) => ("sync", keys::account_data),
        ("GET", ["user", _, "account_data", _]) => ("account_data", keys::account_data),
        ("PUT", ["user", _, "account_data", _]) => ("set_account_data", keys::set_account_data),
        _ => return None,
    };
    Some(Route {
        name,
        handler,
        args: Vec::new(),
        access: Access::User,
    })
}

/// Finds the endpoint.
pub(super) fn find(method: &Method, segments: &[&str]) -> Route {
    use Access::{Open, Service, User};
    if let Some(route) = of_keys(method.as_str(), segments) {
        return route;
    }
    let unrecognized: Handler =
        |_, _| Err(Refused::new(404, "M_UNRECOGNIZED", "Unrecognized request"));
    let (name, handler, args, access): (_, Handler, &[&str], _) = match (method.as_str(), segments)
    {
        ("GET", ["_matrix", "client", "versions"]) => ("versions", account::versions, &[], Open),
        ("POST", ["_matrix", "client", "v1", "appservice", id, "ping"]) => {
            ("ping", unrecognized, &[id], Service)
        }
        (
            "GET",
            ["_matrix", "client", "v1", "room_summary", room]
            | [
                "_matrix",
                "client",
                "unstable",
                "im.nheko.summary",
                "summary",
                room,
            ],
        ) => ("summary", rooms::summary, &[room], User),
        ("POST", ["_matrix", "media", "v1", "create"]) => {
            ("reserve_media", media::reserve, &[], User)
        }
        ("PUT", ["_matrix", "media", "v3", "upload", server, id]) => {
            ("upload", media::upload, &[server, id], User)
        }
        ("GET", ["_matrix", "client", "v1", "media", "download", server, id]) => {
            ("download", media::download, &[server, id], User)
        }
        (method, ["_matrix", "client", "v3", rest @ ..]) => match (method, rest) {
            ("POST", ["register"]) => ("register", account::register, &[], Service),
            ("GET", ["account", "whoami"]) => ("whoami", account::whoami, &[], User),
            ("PUT", ["devices", id]) => ("create_device", account::create_device, &[id], User),
            ("DELETE", ["devices", id]) => ("delete_device", account::delete_device, &[id], User),
            ("GET", ["profile", user]) => ("profile", account::profile, &[user], User),
            ("GET", ["profile", user, field]) => {
                ("profile", account::profile, &[user, field], User)
            }
            ("PUT", ["profile", user, field]) => {
                ("set_profile", account::set_profile, &[user, field], User)
            }
            ("GET", ["directory", "room", alias]) => {
                ("resolve_alias", rooms::resolve_alias, &[alias], User)
            }
            ("PUT", ["sendToDevice", kind, txn]) => {
                ("send_to_device", post::send, &[kind, txn], User)
            }
            ("POST", ["createRoom"]) => ("create_room", rooms::create_room, &[], User),
            ("GET", ["joined_rooms"]) => ("joined_rooms", rooms::joined_rooms, &[], User),
            ("POST", ["join", room] | ["rooms", room, "join"]) => {
                ("join", rooms::join, &[room], User)
            }
            ("POST", ["knock", room]) => ("knock", rooms::knock, &[room], User),
            (method, ["rooms", room, rest @ ..]) => match (method, rest) {
                ("POST", ["leave"]) => ("leave", rooms::leave, &[room], User),
                ("POST", ["invite"]) => ("invite", rooms::invite, &[room], User),
                ("POST", ["kick" | "unban"]) => ("kick", rooms::kick, &[room], User),
                ("POST", ["ban"]) => ("ban", rooms::ban, &[room], User),
                ("GET", ["joined_members"]) => {
                    ("joined_members", rooms::joined_members, &[room], User)
                }
                ("GET", ["members"]) => ("members", rooms::members, &[room], User),
                ("GET", ["state"]) => ("state", rooms::state, &[room], User),
                ("GET", ["state", kind]) => {
                    ("state_event", rooms::state_event, &[room, kind], User)
                }
                ("GET", ["state", kind, key]) => {
                    ("state_event", rooms::state_event, &[room, kind, key], User)
                }
                ("PUT", ["state", kind]) => ("send_state", events::send_state, &[room, kind], User),
                ("PUT", ["state", kind, key]) => {
                    ("send_state", events::send_state, &[room, kind, key], User)
                }
                ("PUT", ["send", kind, txn]) => ("send", events::send, &[room, kind, txn], User),
                ("PUT", ["redact", event, txn]) => {
                    ("redact", events::redact, &[room, event, txn], User)
                }
                ("POST", ["receipt", kind, event]) => {
                    ("read_receipt", events::receipt, &[room, kind, event], User)
                }
                ("GET", ["messages"]) => ("messages", events::messages, &[room], User),
                ("GET", ["event", event]) => ("event", events::event, &[room, event], User),
                _ => ("unrecognized", unrecognized, &[], Open),
            },
            _ => ("unrecognized", unrecognized, &[], Open),
        },
        _ => ("unrecognized", unrecognized, &[], Open),
    };
    Route {
        name,
        handler,
        args: args.iter().map(|&arg| arg.to_owned()).collect(),
        access,
    }
}
