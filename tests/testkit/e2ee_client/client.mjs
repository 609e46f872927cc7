// A stock end-to-end-encrypting client as a process: matrix-js-sdk with its Rust crypto, as in a browser client.
//
// One JSON object per line. In: `{"id": 1, "command": "send", …}`. Out: `{"id": 1, "answer": …}` or `{"id": 1,
// "error": "…"}`, and unasked `{"event": "timeline", …}`, `{"event": "redacted", …}`, `{"event": "membership", …}`.
// The client changes nothing about how the SDK encrypts, decrypts or judges. The log goes to stderr.

import { Console } from "node:console";
import { createInterface } from "node:readline";

// Before the SDK looks for it: stdout belongs to the protocol.
globalThis.console = new Console(process.stderr, process.stderr);

const sdk = await import("matrix-js-sdk");
const cryptoApi = await import("matrix-js-sdk/lib/crypto-api/index.js");
const { encrypt, decrypt } = await import("./attachments.mjs");
const { report } = await import("./report.mjs");

let client;
let password;
/** Keys that are kept back, as requests; `null` while none are. */
let held = null;

/** The network, which may be late with room keys: the client believes that they were sent. */
function network(resource, init) {
    if (held && /\/sendToDevice\/m\.room\.encrypted\//.test(String(resource))) {
        held.push([resource, { ...init, signal: undefined }]);
        return new Response("{}", { status: 200, headers: { "content-type": "application/json" } });
    }
    return fetch(resource, init);
}

const answer = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const crypto = () => client.getCrypto();

/** Waits until `look` gives something; looks again whenever the client receives anything. */
async function until(what, look, limit = 120_000) {
    const end = Date.now() + limit;
    for (;;) {
        const found = await look();
        if (found) return found;
        if (Date.now() > end) throw new Error(`waited ${limit} ms for ${what}`);
        await new Promise((done) => setTimeout(done, 20));
    }
}

/** The room once the client has synced the user's being in it: before that the SDK would not encrypt. */
const joined = (id) =>
    until(`being joined to ${id}`, () => {
        const room = client.getRoom(id);
        return room?.getMyMembership() === "join" && room;
    });

/** The same once the client knows that it is encrypted. */
const encrypted = async (id) => {
    await joined(id);
    await until(`encryption in ${id}`, () => crypto().isEncryptionEnabledInRoom(id));
};

/** What is being told of each event: one after the other, or an old report would overtake a newer one. */
const telling = new Map();

/** Tells of an event once its decryption was tried, and again after each further try. */
function tell(event) {
    if (event.status !== null) return; // a local echo; told of when the server has it
    const id = event.getId();
    const told = (telling.get(id) ?? Promise.resolve())
        .then(async () => {
            await client.decryptEventIfNeeded(event);
            answer({ event: "timeline", report: await report(client, event) });
        })
        .catch((error) => console.error("cannot tell of an event", error));
    telling.set(id, told);
}

function listen() {
    client.on(sdk.RoomEvent.Timeline, (event, _room, toStart) => toStart || tell(event));
    client.on(sdk.RoomEvent.LocalEchoUpdated, tell);
    client.on(sdk.MatrixEventEvent.Decrypted, tell);
    client.on(sdk.RoomEvent.Redaction, (event) =>
        answer({ event: "redacted", event_id: event.event.redacts ?? event.getContent().redacts }),
    );
    client.on(sdk.ClientEvent.ReceivedToDeviceMessage, ({ message }) => answer({ event: "to_device", message }));
    client.on(sdk.RoomEvent.MyMembership, (room, membership) =>
        answer({ event: "membership", room: room.roomId, membership }),
    );
}

async function timelineEvent(id) {
    const find = () => client.getRooms().map((room) => room.findEventById(id)).find(Boolean);
    return until(`event ${id}`, find, 60_000);
}

async function download(uri) {
    const address = client.mxcUrlToHttp(uri, undefined, undefined, undefined, false, true, true);
    const response = await fetch(address, { headers: { authorization: `Bearer ${client.getAccessToken()}` } });
    if (!response.ok) throw new Error(`${uri}: ${response.status} ${await response.text()}`);
    return new Uint8Array(await response.arrayBuffer());
}

const COMMANDS = {
    async login(request) {
        const options = {
            baseUrl: request.url,
            enableEncryptedStateEvents: request.encrypted_state ?? false,
            cryptoCallbacks: {},
            fetchFn: network,
        };
        const identity = await sdk.createClient(options).loginRequest({
            type: "m.login.password",
            identifier: { type: "m.id.user", user: request.user },
            password: request.password,
        });
        password = request.password;
        client = sdk.createClient({
            ...options,
            userId: identity.user_id,
            deviceId: identity.device_id,
            accessToken: identity.access_token,
        });
        return identity;
    },
    async start() {
        await client.initRustCrypto({ useIndexedDB: false });
        listen();
        await client.startClient({ initialSyncLimit: 100, lazyLoadMembers: true });
        await until("the first sync", () => client.isInitialSyncComplete());
        // The device's keys are uploaded beside the first sync.
        const [user, device] = [client.getUserId(), client.getDeviceId()];
        const keys = async () => (await client.downloadKeysForUsers([user])).device_keys[user]?.[device];
        await until("the upload of the device's keys", keys);
        return null;
    },
    async bootstrap({ anew }) {
        const identifier = { type: "m.id.user", user: client.getUserId() };
        await crypto().bootstrapCrossSigning({
            setupNewCrossSigning: anew === true,
            authUploadDeviceSigningKeys: async (send) => {
                try {
                    await send(null);
                } catch (error) {
                    const session = error.data?.session;
                    if (!session) throw error;
                    await send({ type: "m.login.password", identifier, password, session });
                }
            },
        });
        return null;
    },
    async sign_device({ device }) {
        const known = async () => {
            const mine = (await crypto().getUserDeviceInfo([client.getUserId()])).get(client.getUserId());
            return mine?.has(device);
        };
        await until(`device ${device}`, known);
        await crypto().crossSignDevice(device);
        return null;
    },
    isolation({ only_signed: onlySigned }) {
        const { AllDevicesIsolationMode, OnlySignedDevicesIsolationMode } = cryptoApi;
        crypto().setDeviceIsolationMode(
            onlySigned ? new OnlySignedDevicesIsolationMode() : new AllDevicesIsolationMode(false),
        );
        return null;
    },
    async create_room({ options }) {
        const { room_id: room } = await client.createRoom(options);
        const encryption = (options.initial_state ?? []).some((event) => event.type === "m.room.encryption");
        await (encryption ? encrypted(room) : joined(room));
        return room;
    },
    async join({ room, via }) {
        const id = (await client.joinRoom(room, { viaServers: via })).roomId;
        await joined(id);
        return id;
    },
    async leave({ room }) {
        await client.leave(room);
        return null;
    },
    async invite({ room, user }) {
        await client.invite(room, user);
        return null;
    },
    async enable_encryption({ room, content }) {
        await client.sendStateEvent(room, "m.room.encryption", content, "");
        await encrypted(room);
        return null;
    },
    async await_encryption({ room }) {
        await encrypted(room);
        return null;
    },
    async await_member({ room, user, membership }) {
        const there = () => client.getRoom(room)?.getMember(user)?.membership === membership;
        await until(`${user}: ${membership}`, there);
        return null;
    },
    async await_device({ user }) {
        const known = async () => (await crypto().getUserDeviceInfo([user], true)).get(user)?.size > 0;
        await until(`a device of ${user}`, known);
        return null;
    },
    async send({ room, type, content }) {
        await joined(room);
        return (await client.sendEvent(room, type, content)).event_id;
    },
    async send_state({ room, type, state_key: key, content }) {
        await joined(room);
        return (await client.sendStateEvent(room, type, content, key)).event_id;
    },
    async redact({ room, event_id: id }) {
        return (await client.redactEvent(room, id)).event_id;
    },
    async upload_encrypted({ data }) {
        const { ciphertext, file } = await encrypt(Buffer.from(data, "base64"));
        const upload = { type: "application/octet-stream", includeFilename: false };
        const { content_uri: url } = await client.uploadContent(new Blob([ciphertext]), upload);
        return { ...file, url };
    },
    async download({ event_id: id, thumbnail }) {
        const content = (await timelineEvent(id)).getOriginalContent();
        const file = thumbnail ? content.info?.thumbnail_file : content.file;
        if (file) return Buffer.from(await decrypt(await download(file.url), file)).toString("base64");
        const url = thumbnail ? content.info?.thumbnail_url : content.url;
        if (!url) throw new Error(`no file in ${JSON.stringify(content)}`);
        return Buffer.from(await download(url)).toString("base64");
    },
    async look({ event_id: id }) {
        return report(client, await timelineEvent(id));
    },
    async keys_query({ users }) {
        return client.downloadKeysForUsers(users);
    },
    async user_status({ user }) {
        const status = await crypto().getUserVerificationStatus(user);
        return {
            verified: status.isVerified(),
            cross_signing_verified: status.isCrossSigningVerified(),
            needs_approval: status.needsUserApproval,
        };
    },
    hold_keys() {
        held ??= [];
        return null;
    },
    async release_keys() {
        const late = held ?? [];
        held = null;
        for (const [resource, init] of late) await fetch(resource, init);
        return late.length;
    },
    only_verified({ only }) {
        crypto().globalBlacklistUnverifiedDevices = only;
        return null;
    },
    async discard_session({ room }) {
        await crypto().forceDiscardSession(room);
        return null;
    },
    stop() {
        client?.stopClient();
        setTimeout(() => process.exit(0), 50);
        return null;
    },
};

/** What failed and why, with the server's words. */
const shown = (error) => (error?.data ? `${error.message} ${JSON.stringify(error.data)}` : String(error?.message ?? error));

process.on("unhandledRejection", (error) => console.error("unhandled rejection", error));
for await (const line of createInterface({ input: process.stdin })) {
    const { id, command, ...request } = JSON.parse(line);
    // Not awaited: commands run side by side, as a person's do.
    (async () => COMMANDS[command](request))().then(
        (result) => answer({ id, answer: result ?? null }),
        (error) => {
            console.error(`${command} failed`, error);
            answer({ id, error: shown(error) });
        },
    );
}
process.exit(0); // whoever asked is gone
