//! Profile and media.

use anyhow::{Context as _, Result};
use data_encoding::HEXLOWER;
use reqwest::Method;
use serde_json::json;

use super::{Client, text};

impl Client {
    pub async fn set_display_name(&self, name: &str) -> Result<()> {
        let path = ["v3", "profile", self.id(), "displayname"];
        self.call(Method::PUT, &path, Some(json!({"displayname": name})))
            .await
            .map(drop)
    }

    /// Uploads a picture and makes it the avatar; returns its `mxc` URI.
    pub async fn set_avatar(&self, png: &[u8]) -> Result<String> {
        let uri = self.upload(png, "image/png", "avatar.png").await?;
        let path = ["v3", "profile", self.id(), "avatar_url"];
        self.call(Method::PUT, &path, Some(json!({"avatar_url": uri})))
            .await?;
        Ok(uri)
    }

    /// Uploads a file; returns its `mxc` URI.
    pub async fn upload(&self, bytes: &[u8], content_type: &str, filename: &str) -> Result<String> {
        let request = self
            .http
            .post(self.address("media", &["v3", "upload"])?)
            .query(&[("filename", filename)])
            .header("content-type", content_type)
            .body(bytes.to_vec());
        let response = self.authorized(request).send().await?.error_for_status()?;
        text(&response.json().await?, "content_uri")
    }

    /// Downloads the file behind an `mxc` URI.
    pub async fn download(&self, uri: &str) -> Result<Vec<u8>> {
        let (server, id) = uri
            .strip_prefix("mxc://")
            .and_then(|rest| rest.split_once('/'))
            .with_context(|| format!("not an mxc URI: {uri}"))?;
        let request = self
            .http
            .get(self.address("client", &["v1", "media", "download", server, id])?);
        let response = self.authorized(request).send().await?.error_for_status()?;
        Ok(response.bytes().await?.to_vec())
    }
}

/// A tiny picture (PNG, one pixel) whose bytes follow from `seed`, so that two users' differ.
pub fn picture(seed: &str) -> Vec<u8> {
    const PIXEL: &str = "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d\
        49444154789c63484848f80f00046402207f9f912e0000000049454e44ae426082";
    let mut bytes = HEXLOWER.decode(PIXEL.as_bytes()).unwrap_or_default();
    // Decoders ignore what follows the end.
    bytes.extend_from_slice(format!("the picture of {seed}, told apart by this").as_bytes());
    bytes
}
