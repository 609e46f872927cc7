//! Media: reserving, uploading, downloading.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, header};
use ruma::{MxcUri, OwnedMxcUri};
use serde::Deserialize;

use super::{Actor, Error, Homeserver, Media, body::Payload, request::Call, target::Target};
use crate::spool::{Spool, Spooled};

/// How long something small is waited for.
const NOT_LONG: Duration = Duration::from_secs(10);

impl Homeserver {
    /// Reserves an mxc (MSC2246), so that a crash between upload and use leaves no second copy.
    pub async fn reserve_media(&self, actor: &Actor) -> Result<OwnedMxcUri, Error> {
        #[derive(Deserialize)]
        struct Reserved {
            content_uri: OwnedMxcUri,
        }
        let target = self.at("/_matrix/media/v1/create").actor(actor);
        let call = Call::post("reserve_media", target, "{}".to_owned());
        let Reserved { content_uri } = self.0.json(call).await?;
        if content_uri.is_valid() {
            Ok(content_uri)
        } else {
            Err(Error::Answer("an mxc URI that is none"))
        }
    }

    /// Uploads to a reserved mxc; one already uploaded is success. No file name is given.
    pub async fn upload(
        &self,
        actor: &Actor,
        mxc: &MxcUri,
        bytes: Vec<u8>,
        content_type: &str,
    ) -> Result<(), Error> {
        let payload = Payload::Bytes(Bytes::from(bytes));
        self.put_media(actor, mxc, payload, content_type).await
    }

    /// Uploads a file like [`Homeserver::upload`], reading it while it is sent.
    pub async fn upload_file(
        &self,
        actor: &Actor,
        mxc: &MxcUri,
        file: Spooled,
        content_type: &str,
    ) -> Result<(), Error> {
        let payload = Payload::File(file);
        self.put_media(actor, mxc, payload, content_type).await
    }

    async fn put_media(
        &self,
        actor: &Actor,
        mxc: &MxcUri,
        payload: Payload,
        content_type: &str,
    ) -> Result<(), Error> {
        let target = self.media("/_matrix/media/v3/upload", mxc)?.actor(actor);
        let content_type = HeaderValue::from_str(content_type)
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        let call = Call::put("upload", target, String::new())
            .body(content_type, payload)
            .timeout(self.0.join_timeout);
        match self.0.done(call).await {
            Err(error) if error.errcode() == Some("M_CANNOT_OVERWRITE_MEDIA") => Ok(()),
            other => other,
        }
    }

    /// Downloads (authenticated) at most `max` bytes into memory, in one try that does not take long: for what is small, and not
    /// worth waiting for.
    pub async fn download(&self, actor: &Actor, mxc: &MxcUri, max: usize) -> Result<Media, Error> {
        let call = self.getting(actor, mxc)?.max(max).tries(1);
        let answer = self.0.call(call.timeout(NOT_LONG)).await?;
        let content_type = answer
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .map(ToOwned::to_owned);
        Ok(Media {
            bytes: answer.body.into(),
            content_type,
        })
    }

    /// Downloads (authenticated) at most `max` bytes, writing them away while they come.
    pub async fn download_file(
        &self,
        actor: &Actor,
        mxc: &MxcUri,
        max: u64,
        spool: &Spool,
    ) -> Result<Spooled, Error> {
        let call = self.getting(actor, mxc)?.spool(spool.clone(), max);
        let answer = self.0.call(call).await?;
        answer.file.ok_or(Error::Answer("no file"))
    }

    fn getting(&self, actor: &Actor, mxc: &MxcUri) -> Result<Call, Error> {
        let target = self
            .media("/_matrix/client/v1/media/download", mxc)?
            .actor(actor);
        Ok(Call::get("download", target).timeout(self.0.join_timeout))
    }

    fn media(&self, path: &'static str, mxc: &MxcUri) -> Result<Target, Error> {
        let (server, id) = mxc.parts().map_err(|_| Error::Refused {
            status: 400,
            errcode: "M_INVALID_PARAM".to_owned(),
            message: "not an mxc URI".to_owned(),
        })?;
        Ok(self.at(path).segment(server.as_str()).segment(id))
    }
}
