//! Text that `matrix-sdk-crypto` writes again and again. Used by `pack`.

/// What is not in here is merely longer. **Never changed**: what was packed with it could not be read any more. A better
/// list is a second format (`rows::PACKED`).
pub(super) const WORDS: &[u8] = concat!(
    // A user's identity.
    r#"{"Own":{"version":"2","user_id":"@","master_key":{"user_id":"@","user_signing_key":{"usage":["user_signing"],"#,
    r#""verified":"Verified","NeverVerified","VerificationViolation"{"Other":{"version":"2","master_key":{"keys":{"ed25519:"#,
    r#""signatures":{"@},"usage":["master"],"user_id":"@"},"pinned_master_key":{"keys":{"ed25519:"#,
    r#"},"previously_verified":false,"self_signing_key":{"keys":{"ed25519:"},"usage":["self_signing"],"user_id":"@"#,
    // An account.
    r#"{"user_id":"@_","device_id":"","pickle":{"signing_key":{"Normal":[]},"diffie_hellman_key":[],"one_time_keys":{"#,
    r#""next_key_id":50,"public_keys":{},"private_keys":{"0":[],"1":[]}},"fallback_keys":{"key_id":1,"fallback_key":{"#,
    r#""key_id":0,"key":[],"published":true},"previous_fallback_key":null}},"shared":true,"dehydrated":false,"#,
    r#""uploaded_signed_key_count":50,"creation_local_time":17,"fallback_key_creation_timestamp":17null}"#,
    // An inbound session.
    r#""imported":true,"SenderVerified":{"user_id":"@","device_id":"","master_key":""}},"SenderUnverified":{"user_id":"@"#,
    r#""VerificationViolation":{"DeviceInfo":{"device_keys":{"user_id":"@"legacy_session":true,"owner_check_failed":false}"#,
    r#"{"pickle":{"initial_ratchet":{"inner":[],"counter":0},"signing_key":[],"signing_key_verified":true,"config":{"#,
    r#""version":"V1"}},"sender_key":"","signing_key":{"ed25519":""},"sender_data":{"UnknownDevice":{"#,
    r#""legacy_session":false}},"forwarder_data":null,"room_id":"!","imported":false,"backed_up":false,"#,
    r#""history_visibility":"shared","algorithm":"m.megolm.v1.aes-sha2","shared_history":false}"#,
    // An outbound session and the list of whom it is shared with.
    r#"IdentityBasedStrategy"OnlyTrustedDevices"ErrorOnVerifiedUserProblem"joined"invited"world_readable"#,
    r#"{"pickle":{"ratchet":{"inner":[],"counter":0},"signing_key":{"Normal":[]},"config":{"version":"V1"}},"settings":{"#,
    r#""algorithm":"m.megolm.v1.aes-sha2","encrypt_state_events":false,"rotation_period":{"secs":604800,"nanos":0},"#,
    r#""rotation_period_msgs":100,"history_visibility":"shared","sharing_strategy":"AllDevices"},"room_id":"!"#,
    r#"","creation_time":17,"message_count":0,"shared":true,"invalidated":false,"shared_with_set":{},"requests":{}}"#,
    r#"{"event_type":"m.room.encrypted","txn_id":""messages":{"@":{"{"algorithm":"m.olm.v1.curve25519-aes-sha2","#,
    r#""ciphertext":{"{"body":"","type":0}},"org.matrix.msgid":""recipient_keys":{"sender_key":""}"#,
    r#"{"shared_with_set":{"@":{"Withheld":"m.no_olm"}"m.unverified"m.blacklisted"m.unauthorised":{"Shared":{"sender_key":[]"#,
    r#","message_index":0,"olm_wedging_index":0}},"#,
    // An Olm session.
    r#"{"type":"inactive","ratchet_count":"Unknown"},"receiving_chains":{"inner":[{"ratchet_key":[],"hkdf_ratchet":{"key":[]"#,
    r#","skipped_message_keys":{"inner":[]}}]},"{"pickle":{"session_keys":{"identity_key":[],"base_key":[],"one_time_key":[]},"#,
    r#""sending_ratchet":{"type":"active","parent_ratchet_key":null,"ratchet_count":{"Known":0},"active_ratchet":{"root_key":[]"#,
    r#","ratchet_key":[]},"symmetric_key_ratchet":{"key":[],"index":0}},"receiving_chains":{"inner":[]},"config":{"#,
    r#""version":"V1"}},"sender_key":[],"created_using_fallback_key":false,"creation_time":17,"last_use_time":17"#,
    // A device.
    r#""Verified"BlackListed"Ignored"unsigned":{"device_display_name":""dehydrated":true""#,
    r#"{"user_id":"@","dirty":false}{"device_keys":{"user_id":"@","device_id":"","algorithms":["m.olm.v1.curve25519-aes-sha2","#,
    r#""m.megolm.v1.aes-sha2"],"keys":{"curve25519:","ed25519:"},"signatures":{"@":{"ed25519:":""}}},"deleted":false,"#,
    r#""trust_state":"Unset","withheld_code_sent":false,"first_time_seen_ts":17,"olm_wedging_index":0}"#,
)
.as_bytes();
