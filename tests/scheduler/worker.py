"""A process with several agents that share a backend with other processes; run as a program by tests.

It says when it is ready, begins when it is told a line, and prints one line of JSON: how many turns were finished, and
the tokens of those that lost their lease.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time

from pagefault import LeaseLost, Scheduler

url, process, slots, agents, turns, port, seconds, style = sys.argv[1:9]
scheduler = Scheduler(slots=int(slots), shared=url, affinity_slack=0)
done, stale = [0], [0]
lost: list = []
lock = threading.Lock()


class StaleToken(Exception):
    pass


def note(token=None, *, was_stale=False):
    with lock:
        if token is None:
            done[0] += 1
        else:
            lost.append([int(process), *token])
            stale[0] += was_stale


def line(verb, token):
    return json.dumps([verb, int(process), token.slot, token.number]).encode() + b"\n"


def check(answer):
    if answer.strip() != b"ok":
        raise StaleToken


def threaded(agent):
    with socket.create_connection(("127.0.0.1", int(port))) as wire, wire.makefile("rwb") as file:

        def tell(verb, token):
            file.write(line(verb, token))
            file.flush()
            check(file.readline())

        count = 0
        while count < int(turns):
            token, was_stale = None, False
            try:
                with scheduler.turn(agent=agent, input_tokens=10, max_output_tokens=10) as turn:
                    token = turn.token
                    for verb in ("begin", "again", "end"):
                        tell(verb, token)
                        time.sleep(float(seconds) / 2 if verb != "end" else 0)
            except StaleToken:
                was_stale = True
            except LeaseLost:
                pass
            else:
                count += 1
                note()
                continue
            if token is not None:
                note(token, was_stale=was_stale)


async def tasked(agent):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    count = 0
    while count < int(turns):
        token, was_stale = None, False
        try:
            async with scheduler.turn(agent=agent, input_tokens=10, max_output_tokens=10) as turn:
                token = turn.token
                for verb in ("begin", "again", "end"):
                    writer.write(line(verb, token))
                    check(await reader.readline())
                    await asyncio.sleep(float(seconds) / 2 if verb != "end" else 0)
        except StaleToken:
            was_stale = True
        except LeaseLost:
            pass
        else:
            count += 1
            note()
            continue
        if token is not None:
            note(token, was_stale=was_stale)
    writer.close()


async def tasks():
    await asyncio.gather(*(tasked(f"{process}.{number}") for number in range(int(agents))))


def threads():
    each = [threading.Thread(target=threaded, args=(f"{process}.{n}",)) for n in range(int(agents))]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()


print("ready", flush=True)
sys.stdin.readline()  # a process that was slow to start finds as much left to do as the others
if style == "tasks":
    asyncio.run(tasks())
else:
    threads()
scheduler.close()
print(json.dumps({"done": done[0], "lost": lost, "stale": stale[0]}))
