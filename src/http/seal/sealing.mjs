// Sealed addresses as docs/protocol.md describes them. Needs no browser, so that a test can run it beside the server's code.

import { CipherSuite, HkdfSha256 } from "@hpke/core";
import { DhkemX25519HkdfSha256 } from "@hpke/dhkem-x25519";
import { Chacha20Poly1305 } from "@hpke/chacha20poly1305";

const SUITE = "X25519-HKDF-SHA256/HKDF-SHA256/ChaCha20Poly1305";
const LABEL = "org.vizard.sealed_address.v1\0";
const CONTACT = 0x02;
const BOUND = 0x01;
const LOCALPART = 0x00;
const NAME_SPACE = 254;
const LONGEST_ID = 255;
const PLAINTEXT = 1 + 1 + NAME_SPACE + 8 + 16;

const utf8 = new TextEncoder();
const suite = new CipherSuite({
  kem: new DhkemX25519HkdfSha256(),
  kdf: new HkdfSha256(),
  aead: new Chacha20Poly1305(),
});

/** What a person can do something about. */
export class SealError extends Error {}

function concat(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Unpadded standard base64 → bytes; of anything else, none. */
export function fromBase64(text) {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

function toBase64Url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";

function base32(bytes) {
  let bits = "";
  for (const byte of bytes) bits += byte.toString(2).padStart(8, "0");
  return bits.match(/.{1,5}/g).map((five) => BASE32[parseInt(five.padEnd(5, "0"), 2)]).join("");
}

/** The first bytes of a key's SHA-256, from which its name follows. */
async function keyId(key) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", key)).slice(0, 5);
}

/** Groups of four characters of the SHA-256 of a key, to be compared by eye. */
export async function fingerprint(key) {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", key));
  return base32(digest.slice(0, 20)).match(/.{4}/g).join(" ");
}

/**
 * The key of a document to which is sealed: the one that lasts longest. TLS to the server that also serves this code vouches for the
 * document, so its signature is not checked here.
 */
export async function sealingKey(document, now) {
  if (document?.type !== "server_keys" || typeof document.server_name !== "string") {
    throw new SealError("This server did not answer with its keys.");
  }
  if (!(document.valid_until_ts > now)) {
    throw new SealError("This server's keys are out of date. Is the clock of this device right?");
  }
  let best = null;
  for (const [name, entry] of Object.entries(document.hpke_keys ?? {})) {
    if (entry?.suite !== SUITE || !(entry.expires_ts > now)) continue;
    const key = fromBase64(entry.key);
    const id = await keyId(key);
    if (key.length !== 32 || name !== `x25519:${base32(id)}`) continue;
    if (best === null || entry.expires_ts > best.expires) best = { name, id, key, expires: entry.expires_ts };
  }
  if (best === null) throw new SealError("This server has no key that this page can seal to.");
  return best;
}

/** What is meant by a link to a person: `https://matrix.to/#/@name:server`, `matrix:u/name:server`. Other text is as it was. */
function unlinked(text) {
  const link = /^(?:https:\/\/matrix\.to\/#\/@?|matrix:u\/)([^?]*)/i.exec(text);
  if (link === null) return text;
  try {
    return decodeURIComponent(link[1]);
  } catch {
    return link[1];
  }
}

/** The localpart of what was typed or pasted: a Matrix ID of this server, a link to it, or the localpart alone. */
export function localpart(typed, server) {
  const text = unlinked(typed.trim()).replace(/^@/, "");
  const colon = text.indexOf(":");
  const domain = colon < 0 ? server : text.slice(colon + 1);
  const name = colon < 0 ? text : text.slice(0, colon);
  if (!/^[\x21-\x39\x3b-\x7e]+$/.test(name) || !/^[A-Za-z0-9.:[\]-]+$/.test(domain)) {
    throw new SealError("That is not a Matrix ID. It looks like @name:" + server);
  }
  if (domain.toLowerCase() !== server.toLowerCase()) {
    throw new SealError(`Only people of ${server} can be sealed here. For ${domain}, use the page of that server.`);
  }
  if (`@${name}:${server}`.length > LONGEST_ID) throw new SealError("That name is too long for a Matrix ID.");
  return name;
}

function plaintext(name, expires) {
  const bytes = utf8.encode(name);
  const plain = new Uint8Array(PLAINTEXT);
  plain[0] = LOCALPART;
  plain[1] = bytes.length;
  plain.set(bytes, 2);
  new DataView(plain.buffer).setBigUint64(2 + NAME_SPACE, BigInt(expires));
  crypto.getRandomValues(plain.subarray(2 + NAME_SPACE + 8));
  return plain;
}

/**
 * Seals a localpart. `bound`, if given, is the room's id and the inviter's 32-byte key; otherwise it is a contact address. `expires` is
 * in milliseconds since 1970.
 */
export async function seal({ server, key, name, expires, bound }) {
  const head = concat([bound ? BOUND : CONTACT], key.id);
  let aad = head;
  if (bound) {
    const room = utf8.encode(bound.room);
    aad = concat(head, [room.length >> 8, room.length & 255], room, bound.inviter);
  }
  const recipientPublicKey = await suite.kem.deserializePublicKey(key.key.buffer.slice(0));
  const info = utf8.encode(LABEL + server);
  const sealed = await suite.seal({ recipientPublicKey, info }, plaintext(name, expires), aad);
  const payload = concat(head, new Uint8Array(sealed.enc), new Uint8Array(sealed.ct));
  return `vz1:${server}:${toBase64Url(payload)}`;
}
