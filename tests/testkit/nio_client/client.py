"""A second stock end-to-end-encrypting client as a process: matrix-nio, which shares no code with the other one.

One JSON object per line, as in `e2ee_client/client.mjs`, of whose commands it knows some. nio knows no cross-signing: what
it judges is whether it knows the device, and whether that device was verified by hand (the command `verify`). The log goes
to stderr.
"""

import asyncio
import json
import logging
import sys
import tempfile
import traceback

from nio import (
    AsyncClient,
    AsyncClientConfig,
    MegolmEvent,
    RoomKeyEvent,
    RoomMessage,
    RoomSendResponse,
    JoinResponse,
    LoginResponse,
)

logging.basicConfig(stream=sys.stderr, level=logging.INFO)

client = None
waiting = {}  # messages without a key, by session


def answer(line):
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def device_of(user, sender_key):
    """The device of `user` that has this Curve25519 key."""
    for device in client.device_store.active_user_devices(user):
        if device.curve25519 == sender_key:
            return device.id
    return None


async def told(room, event):
    """Tells of a message as nio sees it."""
    encrypted = event.decrypted or isinstance(event, MegolmEvent)
    failed = isinstance(event, MegolmEvent)
    if failed:
        waiting.setdefault(event.session_id, []).append((room, event))
    elif encrypted and device_of(event.sender, event.sender_key) is None:
        # The device is asked for beside; once, as a person looks once more.
        client.olm.users_for_key_query.add(event.sender)
        await client.keys_query()
    source = event.source
    answer({"event": "timeline", "report": {
        "event_id": event.event_id,
        "room": room.room_id,
        "sender": event.sender,
        "type": source.get("type", "m.room.message"),
        "wire_type": "m.room.encrypted" if encrypted else source.get("type"),
        "content": source["content"],
        "wire_content": {},
        "redacted": False,
        "encrypted": encrypted,
        "failure": "no key" if failed else None,
        "sender_key": event.sender_key if encrypted else None,
        "sender_device": device_of(event.sender, event.sender_key) if encrypted and not failed else None,
        # Whether nio takes the device for verified.
        "shield": None if failed or not encrypted else "NONE" if event.verified else "GREY",
    }})


async def key_came(event):
    for room, message in waiting.pop(event.session_id, []):
        await told(room, client.decrypt_event(message))


async def until(what, look, limit=120):
    for _ in range(limit * 50):
        found = look()
        if found:
            return found
        await asyncio.sleep(0.02)
    raise TimeoutError(f"waited {limit} s for {what}")


def users_of(room):
    return client.rooms[room].users if room in client.rooms else {}


async def login(url, user, password, **_):
    global client
    config = AsyncClientConfig(encryption_enabled=True, store_sync_tokens=False)
    client = AsyncClient(url, user, store_path=tempfile.mkdtemp(prefix="nio"), config=config)
    response = await client.login(password)
    if not isinstance(response, LoginResponse):
        raise RuntimeError(str(response))
    return {"user_id": response.user_id, "access_token": response.access_token, "device_id": response.device_id}


async def start():
    client.add_event_callback(told, (RoomMessage, MegolmEvent))
    client.add_to_device_callback(key_came, RoomKeyEvent)
    await client.sync(timeout=0, full_state=True)
    if client.should_upload_keys:
        await client.keys_upload()
    asyncio.get_running_loop().create_task(client.sync_forever(timeout=10_000))


async def join(room, **_):
    response = await client.join(room)
    if not isinstance(response, JoinResponse):
        raise RuntimeError(str(response))
    await until(f"being joined to {room}", lambda: client.user_id in users_of(room))
    return response.room_id


async def await_encryption(room):
    await until(f"encryption in {room}", lambda: room in client.rooms and client.rooms[room].encrypted)


async def await_member(room, user, membership):
    there = membership == "join"
    await until(f"{user}: {membership}", lambda: (user in users_of(room)) == there)


async def send(room, type, content):
    response = await client.room_send(room, type, content, ignore_unverified_devices=True)
    if not isinstance(response, RoomSendResponse):
        raise RuntimeError(str(response))
    return response.event_id


async def verify(user):
    """Verifies all devices of a user, as one does who compared their keys."""
    client.olm.users_for_key_query.add(user)
    await client.keys_query()
    devices = list(client.device_store.active_user_devices(user))
    for device in devices:
        client.verify_device(device)
    return [{"device_id": device.id, "curve25519": device.curve25519, "ed25519": device.ed25519} for device in devices]


async def stop():
    await client.close()
    asyncio.get_running_loop().call_later(0.05, sys.exit, 0)


COMMANDS = [login, start, join, await_encryption, await_member, send, verify, stop]


async def handle(request):
    number, command = request.pop("id"), request.pop("command")
    try:
        result = await {one.__name__: one for one in COMMANDS}[command](**request)
        answer({"id": number, "answer": result})
    except Exception as error:
        traceback.print_exc()
        answer({"id": number, "error": f"{type(error).__name__}: {error}"})


async def main():
    reader = asyncio.StreamReader(limit=1 << 24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks = set()
    while line := await reader.readline():
        # Not awaited: commands run side by side, as a person's do.
        task = asyncio.create_task(handle(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
