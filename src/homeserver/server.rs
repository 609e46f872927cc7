//! The homeserver itself: what it can do, whom it takes us for, whether it reaches us.

use http::header;
use ruma::OwnedUserId;
use serde::Deserialize;
use serde_json::json;

use super::{
    Actor, Error, Homeserver, Versions,
    request::{Call, http_date},
};

impl Homeserver {
    /// `GET /versions`.
    pub async fn versions(&self) -> Result<Versions, Error> {
        #[derive(Deserialize)]
        struct Answer {
            versions: Vec<String>,
            #[serde(default)]
            unstable_features: std::collections::BTreeMap<String, bool>,
        }
        let answer: Answer = self.0.json(self.versions_call()).await?;
        Ok(Versions {
            versions: answer.versions,
            unstable_features: answer.unstable_features,
        })
    }

    /// `GET /account/whoami` as a user of the namespace.
    pub async fn whoami(&self, actor: &Actor) -> Result<OwnedUserId, Error> {
        #[derive(Deserialize)]
        struct Whoami {
            user_id: OwnedUserId,
        }
        let target = self.at("/_matrix/client/v3/account/whoami").actor(actor);
        self.0
            .json(Call::get("whoami", target))
            .await
            .map(|Whoami { user_id }| user_id)
    }

    /// Asks the homeserver to call `POST /_matrix/app/v1/ping` on us; returns the milliseconds it took.
    /// Tried once: that the homeserver cannot reach us is the answer.
    pub async fn ping(&self, appservice_id: &str, txn_id: &str) -> Result<u64, Error> {
        #[derive(Deserialize)]
        struct Pong {
            duration_ms: u64,
        }
        let target = self
            .at("/_matrix/client/v1/appservice")
            .segment(appservice_id)
            .path("/ping");
        let body = json!({ "transaction_id": txn_id }).to_string();
        self.0
            .json(Call::post("ping", target, body).tries(1))
            .await
            .map(|Pong { duration_ms }| duration_ms)
    }

    /// The `Date` header of a response, in Unix seconds, to compare clocks.
    pub async fn server_time(&self) -> Result<Option<u64>, Error> {
        let answer = self.0.call(self.versions_call()).await?;
        Ok(answer
            .headers
            .get(header::DATE)
            .and_then(|value| value.to_str().ok())
            .and_then(http_date))
    }

    fn versions_call(&self) -> Call {
        Call::get("versions", self.at("/_matrix/client/versions")).anonymous()
    }
}
