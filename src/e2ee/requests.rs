//! What a machine asks for, sent, and the answers given back to it.

use matrix_sdk_crypto::{
    OlmMachine,
    types::requests::{AnyOutgoingRequest, ToDeviceRequest, UploadSigningKeysRequest},
};
use ruma::{TransactionId, api::client::to_device::send_event_to_device};
use serde_json::{Value, json};

use super::E2eeError;
use crate::homeserver::{Actor, Homeserver};

/// Sends a request and tells the machine what came back.
pub(super) async fn send(
    homeserver: &Homeserver,
    actor: &Actor,
    olm: &OlmMachine,
    id: &TransactionId,
    request: &AnyOutgoingRequest,
) -> Result<(), E2eeError> {
    match request {
        AnyOutgoingRequest::KeysUpload(request) => {
            let answer = homeserver.upload_keys(actor, request).await?;
            olm.mark_request_as_sent(id, &answer).await?;
        }
        AnyOutgoingRequest::KeysQuery(request) => {
            let answer = homeserver.query_keys(actor, &request.device_keys).await?;
            olm.mark_request_as_sent(id, &answer).await?;
        }
        AnyOutgoingRequest::KeysClaim(request) => {
            let answer = homeserver.claim_keys(actor, request).await?;
            olm.mark_request_as_sent(id, &answer).await?;
        }
        AnyOutgoingRequest::ToDeviceRequest(request) => {
            to_device(homeserver, actor, olm, request).await?;
        }
        AnyOutgoingRequest::SignatureUpload(request) => {
            let answer = homeserver.upload_signatures(actor, request).await?;
            olm.mark_request_as_sent(id, &answer).await?;
        }
        // Only a verification that somebody began asks for this, and ours are never begun.
        AnyOutgoingRequest::RoomMessage(_) => {}
    }
    Ok(())
}

/// Sends messages to devices.
pub(super) async fn to_device(
    homeserver: &Homeserver,
    actor: &Actor,
    olm: &OlmMachine,
    request: &ToDeviceRequest,
) -> Result<(), E2eeError> {
    let kind = request.event_type.to_string();
    homeserver
        .send_to_device(actor, &kind, request.txn_id.as_str(), &request.messages)
        .await?;
    let done = send_event_to_device::v3::Response::new();
    olm.mark_request_as_sent(&request.txn_id, &done).await?;
    Ok(())
}

/// The body that uploads a cross-signing identity.
pub(super) fn cross_signing(request: &UploadSigningKeysRequest) -> Result<Value, E2eeError> {
    let keys = [
        ("master_key", &request.master_key),
        ("self_signing_key", &request.self_signing_key),
        ("user_signing_key", &request.user_signing_key),
    ];
    let mut body = json!({});
    for (name, key) in keys {
        if let Some(key) = key {
            body[name] = serde_json::to_value(key).map_err(|_| E2eeError::Encrypt)?;
        }
    }
    Ok(body)
}
