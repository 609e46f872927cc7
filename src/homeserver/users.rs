//! Users of the namespace: accounts, devices, profiles.

use ruma::{DeviceId, MxcUri, OwnedMxcUri, UserId};
use serde_json::{Value, json};

use super::{Actor, Class, Error, Homeserver, Profile, request::Call};

impl Homeserver {
    /// Registers a user of the namespace (`inhibit_login`); one that exists is success.
    pub async fn register(&self, user: &UserId) -> Result<(), Error> {
        // Without `inhibit_login` Synapse answers 400 and creates the user all the same.
        let body = json!({
            "type": "m.login.application_service",
            "username": user.localpart(),
            "inhibit_login": true,
        });
        let target = self.at("/_matrix/client/v3/register");
        match self
            .0
            .done(Call::post("register", target, body.to_string()))
            .await
        {
            Err(error) if error.errcode() == Some("M_USER_IN_USE") => Ok(()),
            other => other,
        }
    }

    /// Makes a device for the actor (MSC4190 `PUT /devices/{id}`); one that exists is success. It never
    /// gets a display name. Whether it was not there before.
    pub async fn create_device(&self, user: &UserId, device: &DeviceId) -> Result<bool, Error> {
        if self.is_deviceless() {
            return Ok(false);
        }
        // Not as the device: a homeserver refuses a request as one that does not exist yet.
        let target = self
            .at("/_matrix/client/v3/devices")
            .segment(device.as_str())
            .query("user_id", user.as_str());
        let call = Call::put("create_device", target, "{}".to_owned());
        Ok(self.0.call(call).await?.status == http::StatusCode::CREATED)
    }

    /// Deletes the actor's device; one that is gone already, or no device at all, is success.
    pub async fn delete_device(&self, actor: &Actor) -> Result<(), Error> {
        let Some(device) = &actor.device else {
            return Ok(());
        };
        if self.is_deviceless() {
            return Ok(());
        }
        // Not as the device, so that a second try is not refused for the device being gone.
        let target = self
            .at("/_matrix/client/v3/devices")
            .segment(device.as_str())
            .query("user_id", actor.user.as_str());
        match self.0.done(Call::delete("delete_device", target)).await {
            Err(error) if error.errcode() == Some("M_NOT_FOUND") => Ok(()),
            other => other,
        }
    }

    /// Sets the actor's display name in its profile.
    pub async fn set_displayname(&self, actor: &Actor, name: &str) -> Result<(), Error> {
        self.put_profile(actor, "displayname", &json!({ "displayname": name }))
            .await
    }

    /// Sets the actor's avatar in its profile.
    pub async fn set_avatar(&self, actor: &Actor, avatar: Option<&MxcUri>) -> Result<(), Error> {
        let uri = avatar.map_or("", MxcUri::as_str);
        self.put_profile(actor, "avatar_url", &json!({ "avatar_url": uri }))
            .await
    }

    /// Sets a custom profile field (MSC4133) of the actor.
    pub async fn set_profile_field(
        &self,
        actor: &Actor,
        field: &str,
        value: &Value,
    ) -> Result<(), Error> {
        let body = json!({ field: value });
        match self.put_profile(actor, field, &body).await {
            Err(error) if error.errcode() == Some("M_UNRECOGNIZED") => {
                let target = self
                    .at("/_matrix/client/unstable/uk.tcpip.msc4133/profile")
                    .segment(actor.user.as_str())
                    .segment(field)
                    .actor(actor);
                self.0
                    .done(Call::put("set_profile", target, body.to_string()))
                    .await
            }
            other => other,
        }
    }

    /// Removes a custom profile field (MSC4133) of the actor.
    pub async fn remove_profile_field(&self, actor: &Actor, field: &str) -> Result<(), Error> {
        let removed = |base: &'static str| {
            let target = self
                .at(base)
                .segment(actor.user.as_str())
                .segment(field)
                .actor(actor);
            self.0.done(Call::delete("set_profile", target))
        };
        match removed("/_matrix/client/v3/profile").await {
            Err(error) if error.errcode() == Some("M_UNRECOGNIZED") => {
                removed("/_matrix/client/unstable/uk.tcpip.msc4133/profile").await
            }
            other => other,
        }
    }

    /// A custom profile field of any user, as the homeserver has or fetches it; `None` when there is no such user or field, or it
    /// may not be seen.
    pub async fn profile_field(
        &self,
        actor: &Actor,
        user: &UserId,
        field: &str,
    ) -> Result<Option<Value>, Error> {
        let target = self
            .at("/_matrix/client/v3/profile")
            .segment(user.as_str())
            .segment(field)
            .actor(actor);
        let fields: Result<Value, Error> = self.0.json(Call::get("profile", target)).await;
        match fields {
            Ok(mut fields) => Ok(fields.get_mut(field).map(Value::take)),
            Err(error) if error.class() == Class::GiveUp => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put_profile(&self, actor: &Actor, field: &str, body: &Value) -> Result<(), Error> {
        let target = self
            .at("/_matrix/client/v3/profile")
            .segment(actor.user.as_str())
            .segment(field)
            .actor(actor);
        self.0
            .done(Call::put("set_profile", target, body.to_string()))
            .await
    }

    /// The actor's own account data of a type; `None` when there is none.
    pub async fn account_data(&self, actor: &Actor, kind: &str) -> Result<Option<Value>, Error> {
        let target = self.own_data(actor, kind);
        match self.0.json(Call::get("account_data", target)).await {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.errcode() == Some("M_NOT_FOUND") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sets the actor's own account data of a type.
    pub async fn set_account_data(
        &self,
        actor: &Actor,
        kind: &str,
        content: &Value,
    ) -> Result<(), Error> {
        let target = self.own_data(actor, kind);
        self.0
            .done(Call::put("set_account_data", target, content.to_string()))
            .await
    }

    fn own_data(&self, actor: &Actor, kind: &str) -> super::target::Target {
        self.at("/_matrix/client/v3/user")
            .segment(actor.user.as_str())
            .path("/account_data")
            .segment(kind)
            .actor(actor)
    }

    /// Reads a profile. A user without one is refused with 404.
    pub async fn profile(&self, actor: &Actor, user: &UserId) -> Result<Profile, Error> {
        let target = self
            .at("/_matrix/client/v3/profile")
            .segment(user.as_str())
            .actor(actor);
        let fields: Value = self.0.json(Call::get("profile", target)).await?;
        Ok(profile(&fields, "displayname"))
    }
}

/// Reads what is well-formed; others write these fields, and one bad field shall not hide the rest.
pub(super) fn profile(fields: &Value, name: &str) -> Profile {
    let text = |key: &str| {
        fields
            .get(key)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    Profile {
        displayname: text(name).map(ToOwned::to_owned),
        avatar_url: text("avatar_url")
            .map(OwnedMxcUri::from)
            .filter(|uri| uri.is_valid()),
    }
}
