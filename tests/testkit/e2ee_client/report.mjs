// What the client tells of an event: what came by wire, what it makes of it, and whom it believes it to be from.

import { EventShieldReason } from "matrix-js-sdk/lib/crypto-api/index.js";

const SHIELDS = ["NONE", "GREY", "RED"];

/** The device of `user` that has this Curve25519 key. */
async function deviceOf(crypto, user, senderKey) {
    const devices = (await crypto.getUserDeviceInfo([user], true)).get(user) ?? new Map();
    for (const [id, device] of devices) if (device.getIdentityKey() === senderKey) return id;
    return null;
}

/** The report on one event, as the Rust side reads it. The verdict is the SDK's own. */
export async function report(client, event) {
    const crypto = client.getCrypto();
    const encrypted = event.getWireType() === "m.room.encrypted";
    const answer = {
        event_id: event.getId(),
        room: event.getRoomId(),
        sender: event.getSender(),
        type: event.getType(),
        wire_type: event.getWireType(),
        state_key: event.getWireStateKey() ?? null,
        // Not `getContent`, which is the edited text once an edit came.
        content: event.getOriginalContent(),
        wire_content: event.getWireContent(),
        redacts: event.isRedaction() ? (event.event.redacts ?? event.getContent().redacts) : null,
        redacted: event.isRedacted(),
        encrypted,
        failure: event.isDecryptionFailure() ? (event.decryptionFailureReason ?? "UNKNOWN_ERROR") : null,
        sender_key: event.getSenderKey(),
        sender_device: null,
        signed_by_owner: null,
        shield: null,
        shield_reason: null,
    };
    if (!crypto || !encrypted) return answer;
    if (answer.sender_key) {
        answer.sender_device = await deviceOf(crypto, answer.sender, answer.sender_key);
        if (answer.sender_device) {
            const status = await crypto.getDeviceVerificationStatus(answer.sender, answer.sender_device);
            answer.signed_by_owner = status?.signedByOwner ?? null;
        }
    }
    const verdict = await crypto.getEncryptionInfoForEvent(event);
    if (verdict) {
        answer.shield = SHIELDS[verdict.shieldColour] ?? String(verdict.shieldColour);
        answer.shield_reason = verdict.shieldReason === null ? null : EventShieldReason[verdict.shieldReason];
    }
    return answer;
}
