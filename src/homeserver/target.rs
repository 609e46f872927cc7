//! URLs of requests, built in one pass.
//!
//! Every request of this module starts at a [`Target`]. Each segment and query value is
//! percent-encoded by itself, so no identifier can add a segment or a parameter; nothing is joined from
//! strings that others wrote.

use super::Actor;

/// A URL under construction.
#[derive(Debug)]
pub(super) struct Target {
    url: String,
    has_query: bool,
    sound: bool,
    deviceless: bool,
}

impl Target {
    /// Starts at `path` below the homeserver's base URL.
    pub(super) fn new(base: &str, path: &'static str) -> Self {
        let mut url = String::with_capacity(base.len() + path.len() + 256);
        url.push_str(base);
        url.push_str(path);
        Self {
            url,
            has_query: false,
            sound: true,
            deviceless: false,
        }
    }

    /// No device is named in it.
    pub(super) fn without_devices(mut self) -> Self {
        self.deviceless = true;
        self
    }

    /// Adds `/` and a segment, encoded.
    pub(super) fn segment(mut self, text: &str) -> Self {
        // A URL parser resolves these even when they are encoded, which would address something else.
        self.sound &= !matches!(text, "." | "..");
        self.url.push('/');
        encode(&mut self.url, text);
        self
    }

    /// Adds a fixed piece of the path, as it stands.
    pub(super) fn path(mut self, fixed: &'static str) -> Self {
        self.url.push_str(fixed);
        self
    }

    /// Adds a query parameter.
    pub(super) fn query(mut self, name: &'static str, value: &str) -> Self {
        self.url.push(if self.has_query { '&' } else { '?' });
        self.has_query = true;
        self.url.push_str(name);
        self.url.push('=');
        encode(&mut self.url, value);
        self
    }

    /// Adds who acts.
    pub(super) fn actor(self, actor: &Actor) -> Self {
        let target = self.query("user_id", actor.user.as_str());
        match &actor.device {
            Some(device) if !target.deviceless => target.query("device_id", device.as_str()),
            _ => target,
        }
    }

    /// Adds the servers through which a room can be reached, in both spellings: `via` is the
    /// specification's, `server_name` is what older homeservers know.
    pub(super) fn via(mut self, servers: &[ruma::OwnedServerName]) -> Self {
        for server in servers {
            self = self.query("via", server.as_str());
        }
        for server in servers {
            self = self.query("server_name", server.as_str());
        }
        self
    }

    /// The URL; `None` when a segment cannot be expressed in one.
    pub(super) fn finish(self) -> Option<url::Url> {
        if self.sound {
            url::Url::parse(&self.url).ok()
        } else {
            None
        }
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn encode(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use ruma::{owned_server_name, owned_user_id};

    use super::*;

    fn url(target: Target) -> String {
        target.finish().unwrap().to_string()
    }

    #[test]
    fn segments_and_values_are_encoded() {
        let target = Target::new("http://h", "/rooms")
            .segment("!a/b?c#d%2F:x.example")
            .path("/state")
            .segment("")
            .query("q", "a&b=c +é");
        assert_eq!(
            url(target),
            "http://h/rooms/%21a%2Fb%3Fc%23d%252F%3Ax.example/state/?q=a%26b%3Dc%20%2B%C3%A9"
        );
    }

    #[test]
    fn long_and_odd_text_survives() {
        let long = "\0\u{202e}'\"<>\\^`{|}".repeat(20);
        let parsed = Target::new("http://h", "/x")
            .segment(&long)
            .finish()
            .unwrap();
        let segment = parsed.path_segments().unwrap().next_back().unwrap();
        let decoded: Vec<u8> = url::form_urlencoded::parse(format!("k={segment}").as_bytes())
            .next()
            .unwrap()
            .1
            .into_owned()
            .into_bytes();
        assert_eq!(decoded, long.as_bytes());
    }

    #[test]
    fn the_actor_brings_its_device() {
        let actor = Actor {
            user: owned_user_id!("@g:x.example"),
            device: Some("DEV".into()),
        };
        assert_eq!(
            url(Target::new("http://h", "/x")
                .actor(&actor)
                .via(&[owned_server_name!("b.example:8448")])),
            "http://h/x?user_id=%40g%3Ax.example&device_id=DEV&via=b.example%3A8448&server_name=b.example%3A8448"
        );
    }

    #[test]
    fn where_there_are_no_devices_none_is_named() {
        let actor = Actor {
            user: owned_user_id!("@g:x.example"),
            device: Some("DEV".into()),
        };
        let target = Target::new("http://h", "/x").without_devices();
        assert_eq!(
            url(target.actor(&actor)),
            "http://h/x?user_id=%40g%3Ax.example"
        );
    }

    #[test]
    fn dots_alone_are_refused() {
        assert!(
            Target::new("http://h", "/media")
                .segment("..")
                .finish()
                .is_none()
        );
        assert!(
            Target::new("http://h", "/media")
                .segment("...")
                .finish()
                .is_some()
        );
    }
}
