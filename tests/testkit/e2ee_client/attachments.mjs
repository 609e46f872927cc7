// Encrypted attachments as the specification has them (section "Sending encrypted attachments", version v2):
// AES-256-CTR with 64 random bits and a counter of 64, SHA-256 over the ciphertext.

const base64 = (bytes) => Buffer.from(bytes).toString("base64").replace(/=+$/, "");

/** Encrypts bytes; returns the ciphertext and the `EncryptedFile` without its `url`. */
export async function encrypt(bytes) {
    const counter = new Uint8Array(16);
    crypto.getRandomValues(counter.subarray(0, 8));
    const key = await crypto.subtle.generateKey({ name: "AES-CTR", length: 256 }, true, ["encrypt", "decrypt"]);
    const { kty, key_ops, alg, k, ext } = await crypto.subtle.exportKey("jwk", key);
    const ciphertext = await crypto.subtle.encrypt({ name: "AES-CTR", counter, length: 64 }, key, bytes);
    const hash = await crypto.subtle.digest("SHA-256", ciphertext);
    return {
        ciphertext: new Uint8Array(ciphertext),
        file: { v: "v2", key: { kty, key_ops, alg, k, ext }, iv: base64(counter), hashes: { sha256: base64(hash) } },
    };
}

/** Checks the hash and decrypts. */
export async function decrypt(ciphertext, file) {
    if (file.v !== "v2") throw new Error(`an encrypted file of version ${file.v}`);
    const hash = base64(await crypto.subtle.digest("SHA-256", ciphertext));
    const wanted = file.hashes.sha256.replace(/=+$/, "");
    if (hash !== wanted) throw new Error(`the ciphertext hashes to ${hash}, not ${wanted}`);
    const counter = Buffer.from(file.iv, "base64");
    const key = await crypto.subtle.importKey("jwk", file.key, { name: "AES-CTR" }, false, ["decrypt"]);
    const clear = await crypto.subtle.decrypt({ name: "AES-CTR", counter, length: 64 }, key, ciphertext);
    return new Uint8Array(clear);
}
