//! Media: reserving, uploading, downloading.

use bytes::Bytes;
use http::{HeaderValue, header};
use ruma::{MxcUri, OwnedMxcUri};
use serde::Deserialize;

use super::{Actor, Error, Homeserver, Media, request::Call, target::Target};

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
        let target = self.media("/_matrix/media/v3/upload", mxc)?.actor(actor);
        let content_type = HeaderValue::from_str(content_type)
            .unwrap_or(HeaderValue::from_static("application/octet-stream"));
        let call = Call::put("upload", target, String::new())
            .body(content_type, Bytes::from(bytes))
            .timeout(self.0.join_timeout);
        match self.0.done(call).await {
            Err(error) if error.errcode() == Some("M_CANNOT_OVERWRITE_MEDIA") => Ok(()),
            other => other,
        }
    }

    /// Downloads (authenticated) at most `max` bytes.
    pub async fn download(&self, actor: &Actor, mxc: &MxcUri, max: usize) -> Result<Media, Error> {
        let target = self
            .media("/_matrix/client/v1/media/download", mxc)?
            .actor(actor);
        let call = Call::get("download", target)
            .timeout(self.0.join_timeout)
            .max(max);
        let answer = self.0.call(call).await?;
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

    fn media(&self, path: &'static str, mxc: &MxcUri) -> Result<Target, Error> {
        let (server, id) = mxc.parts().map_err(|_| Error::Refused {
            status: 400,
            errcode: "M_INVALID_PARAM".to_owned(),
            message: "not an mxc URI".to_owned(),
        })?;
        Ok(self.at(path).segment(server.as_str()).segment(id))
    }
}
