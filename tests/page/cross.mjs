// Runs the page's own sealing code, and what the page has no use for: opening. Reads a job as JSON from stdin, writes the answer
// to stdout. Lies beside a copy of sealing.mjs when it runs.

import { CipherSuite, HkdfSha256 } from "@hpke/core";
import { DhkemX25519HkdfSha256 } from "@hpke/dhkem-x25519";
import { Chacha20Poly1305 } from "@hpke/chacha20poly1305";
import { SealError, fingerprint, localpart, seal, sealingKey } from "./sealing.mjs";

const suite = new CipherSuite({ kem: new DhkemX25519HkdfSha256(), kdf: new HkdfSha256(), aead: new Chacha20Poly1305() });
const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
const hex = (buffer) => Buffer.from(buffer).toString("hex");
const infoOf = (server) => Buffer.concat([Buffer.from("org.vizard.sealed_address.v1\0"), Buffer.from(server)]);

function aadOf(head, bound) {
  if (bound === null) return head;
  const room = Buffer.from(bound.room);
  return Buffer.concat([head, Buffer.from([room.length >> 8, room.length & 255]), room, bytes(bound.inviter)]);
}

/** What docs/protocol.md says about a sealed address, read backwards. */
async function open({ text, room, inviter, key }) {
  const at = text.lastIndexOf(":");
  const server = text.slice("vz1:".length, at);
  const payload = Buffer.from(text.slice(at + 1), "base64url");
  const head = payload.subarray(0, 6);
  const aad = aadOf(head, payload[0] === 1 ? { room, inviter } : null);
  const recipientKey = await suite.kem.importKey("raw", bytes(key), false);
  const enc = payload.subarray(6, 38);
  let plain;
  try {
    plain = Buffer.from(await suite.open({ recipientKey, enc, info: infoOf(server) }, payload.subarray(38), aad));
  } catch {
    return null;
  }
  return {
    kind: payload[0],
    target: plain[0],
    name: hex(plain.subarray(2, 2 + plain[1])),
    padding: plain.subarray(2 + plain[1], 256).every((byte) => byte === 0),
    expires_ts: Number(plain.readBigUInt64BE(256)),
    plaintext: hex(plain),
  };
}

/** The address again, from a vector's randomness. */
async function sealAgain(vector, publicKey) {
  const recipientPublicKey = await suite.kem.importKey("raw", bytes(publicKey), true);
  const sender = await suite.createSenderContext({
    recipientPublicKey,
    info: bytes(vector.info),
    ekm: await suite.kem.deriveKeyPair(bytes(vector.ephemeral_ikm)),
  });
  const ciphertext = await sender.seal(bytes(vector.plaintext), bytes(vector.aad));
  const head = bytes(vector.payload).slice(0, 6);
  return hex(Buffer.concat([head, Buffer.from(sender.enc), Buffer.from(ciphertext)]));
}

const jobs = {
  async seal({ document, now, seals }) {
    const key = await sealingKey(document, now);
    const bind = (bound) => bound && { room: bound.room, inviter: bytes(bound.inviter) };
    const one = (it) => seal({ server: document.server_name, key, name: it.name, expires: it.expires, bound: bind(it.bound) });
    return { key: key.name, fingerprint: await fingerprint(key.key), texts: await Promise.all(seals.map(one)) };
  },

  async key({ document, now }) {
    try {
      const key = await sealingKey(document, now);
      return { name: key.name, fingerprint: await fingerprint(key.key) };
    } catch (error) {
      return { error: error instanceof SealError ? error.message : `unexpected: ${error.stack}` };
    }
  },

  open: ({ texts }) => Promise.all(texts.map(open)),

  vectors: ({ addresses, publicKey }) => Promise.all(addresses.map((vector) => sealAgain(vector, publicKey))),

  async names({ server, typed }) {
    return typed.map((text) => {
      try {
        return { name: localpart(text, server) };
      } catch (error) {
        return { error: error instanceof SealError ? error.message : `unexpected: ${error.stack}` };
      }
    });
  },
};

let input = "";
for await (const chunk of process.stdin) input += chunk;
const { job, ...parameters } = JSON.parse(input);
process.stdout.write(JSON.stringify(await jobs[job](parameters)));
