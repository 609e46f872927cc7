//! JSON signed as Matrix signs it: canonical, without `signatures` and `unsigned` (specification,
//! appendix "Signing JSON"). The tools of everything here that is signed, and of what [`crate::sealed`] signs.

use data_encoding::BASE64_NOPAD;
use ruma::{CanonicalJsonObject, CanonicalJsonValue};
use serde_json::{Map, Value};

use super::SenderKeyId;

/// The name under which every sender key signs. It is a constant: the key itself names the signer.
pub(crate) const SENDER_KEY_NAME: &str = "ed25519:1";

/// Why one signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    /// It is not there.
    #[error("missing")]
    Missing,
    /// It is not 64 bytes in unpadded standard base64.
    #[error("not an Ed25519 signature in unpadded base64")]
    Malformed,
    /// It is by a key that is not known for this signer.
    #[error("by a key that is not known")]
    UnknownKey,
    /// It is by another key, or over something else.
    #[error("not by this key over this content")]
    Wrong,
}

/// The signatures name other signers than they must.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignersFault {
    /// There is no `signatures` object.
    #[error("there are none")]
    Missing,
    /// Somebody else signed too, or a signer signed more than once.
    #[error("there are more than there must be")]
    TooMany,
}

/// Why a JSON object is not of the expected shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldFault {
    /// It is not there.
    #[error("missing")]
    Missing,
    /// It is not a string.
    #[error("not a string")]
    NotAString,
    /// It has not the form that it must have.
    #[error("not of the form that it must have")]
    Malformed,
    /// It is another value than it must be.
    #[error("another value than expected")]
    Differs,
}

/// The bytes that are signed of an object of strings.
pub(crate) fn bytes_of_strings<const N: usize>(fields: [(&str, &str); N]) -> Vec<u8> {
    let object: CanonicalJsonObject = fields
        .into_iter()
        .map(|(key, value)| (key.to_owned(), CanonicalJsonValue::String(value.to_owned())))
        .collect();
    CanonicalJsonValue::Object(object).to_string().into_bytes()
}

/// The bytes that are signed of any object; `None` when it has no canonical form (floats, large integers).
pub(crate) fn bytes_of(object: &Map<String, Value>) -> Option<Vec<u8>> {
    let mut object = object.clone();
    object.remove("signatures");
    object.remove("unsigned");
    let canonical = CanonicalJsonValue::try_from(Value::Object(object)).ok()?;
    Some(canonical.to_string().into_bytes())
}

/// A signature as it stands in JSON.
pub(crate) fn encode(signature: &[u8; 64]) -> String {
    BASE64_NOPAD.encode(signature)
}

fn decode(signature: &Value) -> Result<[u8; 64], SignatureFault> {
    signature
        .as_str()
        .and_then(|text| BASE64_NOPAD.decode(text.as_bytes()).ok())
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(SignatureFault::Malformed)
}

/// The `signatures` of an object: exactly `expected` signers, each with exactly one signature.
pub(crate) fn signers(
    object: &Map<String, Value>,
    expected: usize,
) -> Result<&Map<String, Value>, SignersFault> {
    let signatures = object
        .get("signatures")
        .and_then(Value::as_object)
        .ok_or(SignersFault::Missing)?;
    let one_each = signatures
        .values()
        .all(|by| by.as_object().is_none_or(|by| by.len() <= 1));
    if signatures.len() > expected || !one_each {
        return Err(SignersFault::TooMany);
    }
    Ok(signatures)
}

/// Checks the one signature of `signer`; `key` finds the public key by the name it has there.
pub(crate) fn check(
    signatures: &Map<String, Value>,
    signer: &str,
    key: impl FnOnce(&str) -> Option<SenderKeyId>,
    message: &[u8],
) -> Result<(), SignatureFault> {
    let (name, signature) = signatures
        .get(signer)
        .and_then(Value::as_object)
        .and_then(|by| by.iter().next())
        .ok_or(SignatureFault::Missing)?;
    check_one(
        signature,
        key(name).ok_or(SignatureFault::UnknownKey)?,
        message,
    )
}

/// Checks one signature as it stands in JSON.
pub(crate) fn check_one(
    signature: &Value,
    key: SenderKeyId,
    message: &[u8],
) -> Result<(), SignatureFault> {
    if key.verify(message, &decode(signature)?) {
        Ok(())
    } else {
        Err(SignatureFault::Wrong)
    }
}

/// Checks that a field is this string.
pub(crate) fn require(
    object: &Map<String, Value>,
    field: &str,
    expected: &str,
) -> Result<(), FieldFault> {
    if text(object, field)? == expected {
        Ok(())
    } else {
        Err(FieldFault::Differs)
    }
}

/// A field that is a string.
pub(crate) fn text<'a>(object: &'a Map<String, Value>, field: &str) -> Result<&'a str, FieldFault> {
    object
        .get(field)
        .ok_or(FieldFault::Missing)?
        .as_str()
        .ok_or(FieldFault::NotAString)
}
