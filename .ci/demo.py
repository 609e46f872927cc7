#!/usr/bin/env python3
"""Runs the demo as the README says, without --once: waits until it says that everything stays up, logs in with what it
printed, ends it by Ctrl-C, and looks at its exit status and at what it left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

COMMAND = ["cargo", "run", "--quiet", "--example", "demo"]
# Fetching Synapse and building Vizard included.
PATIENCE = 30 * 60
# The last line, when all is said.
LAST = "Ctrl-C stops everything and removes it."
LOGIN = re.compile(r'homeserver (http://\S+)   user (@\S+)   password "(.*)"')


def fail(why):
    sys.exit(f"the demo: {why}")


def processes():
    """Each process's parent; those that ended and wait for theirs to notice are none."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
                # What stands before is a name in parentheses, which may hold anything.
                state, parent = stat.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state not in "ZX":
            found[int(name)] = int(parent)
    return found


def below(root):
    """All that a process has started, and what these have."""
    parents, found = processes(), {root}
    while True:
        more = {one for one, parent in parents.items() if parent in found} - found
        if not more:
            return found - {root}
        found |= more


def log_in(url, user, password):
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": user},
        "password": password,
    }
    request = urllib.request.Request(
        f"{url.rstrip('/')}/_matrix/client/v3/login",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    # Without the proxy that the environment may name: these are loopback addresses.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        if json.load(answer)["user_id"] != user:
            fail(f"the login of {user} is somebody else's")


def main():
    with tempfile.TemporaryDirectory(prefix="vizard-ci-") as scratch:
        demo = subprocess.Popen(
            COMMAND,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": scratch},
            start_new_session=True,
        )
        # Whatever goes wrong, nothing of it stays: what it has started ends with it.
        timer = threading.Timer(PATIENCE, os.killpg, [demo.pid, signal.SIGKILL])
        timer.start()
        try:
            lines = []
            for line in demo.stdout:
                print(line, end="", flush=True)
                lines.append(line.strip())
                if lines[-1] == LAST:
                    break
            else:
                fail(f"it ended with {demo.wait()} and did not stay up")
            logins = list(filter(None, map(LOGIN.search, lines)))
            if len(logins) != 3:
                fail(f"it names {len(logins)} logins")
            for login in logins:
                log_in(*login.groups())
            started = below(demo.pid)
            # Two homeservers and two Vizards at the least, so that the look at what is left is one at something.
            if len(started) < 4 or not os.listdir(scratch):
                fail(f"only {len(started)} processes and {os.listdir(scratch)} were found while it ran")
            demo.send_signal(signal.SIGINT)
            status = demo.wait(timeout=120)
            if status != 0:
                fail(f"it ended with {status}")
        finally:
            timer.cancel()
            demo.kill()
            demo.wait()
        until = time.monotonic() + 20
        while started & processes().keys() and time.monotonic() < until:
            time.sleep(0.1)
        if left := started & processes().keys():
            fail(f"processes are left: {sorted(left)}")
        if left := os.listdir(scratch):
            fail(f"directories are left: {left}")
        print("the demo stayed up, let everybody in, and left nothing behind")


main()
