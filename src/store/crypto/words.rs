//! Text that `matrix-sdk-crypto` writes again and again. Used by `pack`.

/// What is not in here is merely longer. **Never changed**: what was packed with it could not be read any more. A better
/// list is a second format (`rows::PACKED`).
pub(super) const WORDS: &[u8] = concat!(
    // An outbound session and the list of whom it was shared with.
    r#"{"pickle":{"ratchet":{"inner":,"counter":0},"signing_key":{"Normal":,"config":{"version":"V1"}},"settings":{"#,
    r#""algorithm":"m.megolm.v1.aes-sha2","encrypt_state_events":false,"rotation_period":{"secs":604800,"nanos":0},"#,
    r#""rotation_period_msgs":100,"history_visibility":"shared","sharing_strategy":"AllDevices","room_id":"!","#,
    r#""creation_time":17,"message_count":,"shared":true,"invalidated":false,"shared_with_set":{},"requests":{}}"#,
    r#"{"shared_with_set":{"@":{"Withheld":"m.no_olm"},"Shared":{"sender_key":"","message_index":0,"olm_wedging_index":0},"#,
    // An inbound session.
    r#"{"pickle":{"initial_ratchet":{"inner":,"counter":0},"signing_key":,"signing_key_verified":true,"config":{"#,
    r#""version":"V1"}},"sender_key":"","signing_key":{"ed25519":""},"sender_data":{"SenderVerified":{"user_id":"@","#,
    r#""device_id":"","master_key":""}},"SenderUnverified":{"UnknownDevice":{"legacy_session":false,"#,
    r#""owner_check_failed":false}},"DeviceInfo":{"device_keys":{"forwarder_data":null,"room_id":"!","imported":false,"#,
    r#""backed_up":false,"history_visibility":"shared","algorithm":"m.megolm.v1.aes-sha2","shared_history":false}"#,
    // An account.
    r#"{"user_id":"@","device_id":"","pickle":{"signing_key":{"Normal":,"diffie_hellman_key":,"one_time_keys":{"#,
    r#""next_key_id":50,"public_keys":{"0":,"private_keys":{"0":},"fallback_keys":{"key_id":0,"fallback_key":{"#,
    r#""key_id":0,"key":,"published":true},"previous_fallback_key":null}},"shared":true,"dehydrated":false,"#,
    r#""uploaded_signed_key_count":50,"creation_local_time":17,"fallback_key_creation_timestamp":17"#,
    // A user's identity.
    r#"{"Own":{"user_id":"@","master_key":{"user_id":"@","usage":["master"],"keys":{"ed25519:":"","signatures":{"@":{"#,
    r#""self_signing_key":{"usage":["self_signing"],"user_signing_key":{"usage":["user_signing"],"verified":true,"#,
    r#"{"Other":{"user_id":"@","pinned_master_key":{"previously_verified":false,"has_been_verified":false}}"#,
    // An Olm session.
    r#"{"pickle":{"session_keys":{"identity_key":,"base_key":,"one_time_key":,"sending_ratchet":{"type":"active","#,
    r#""active_ratchet":{"parent_ratchet_key":null,"ratchet_count":{"Known":0},"root_key":{"key":"#,
    r#","symmetric_key_ratchet":{"index":0,"ratchet_key":,"chain_key":,"receiving_chains":{"inner":[]},"hkdf_ratchet":{"#,
    r#""config":{"version":"V1"}},"sender_key":"","created_using_fallback_key":false,"creation_time":17,"last_use_time":17"#,
    // A device.
    r#"{"device_keys":{"user_id":"@","device_id":"","algorithms":["m.olm.v1.curve25519-aes-sha2","m.megolm.v1.aes-sha2"],"#,
    r#""keys":{"curve25519:","ed25519:"},"signatures":{"@":{"ed25519:":""}},"unsigned":{"device_display_name":""}},"#,
    r#""deleted":false,"trust_state":"Unset","withheld_code_sent":false,"first_time_seen_ts":17,"olm_wedging_index":0}"#,
)
.as_bytes();
