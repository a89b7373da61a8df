"""A client that reads, writes and waits for pings, by WebSocket only."""
import asyncio
import sys

import socketio


async def main(base, prefix):
    sio = socketio.AsyncClient(ssl_verify=False)
    told = asyncio.Event()

    @sio.event
    async def notify(data):
        if data == {"path": "voltage", "value": 2.5}:
            told.set()

    await sio.connect(base, socketio_path=prefix + "/ws/socket.io", transports=["websocket"])
    before = await sio.call("get_value", "voltage")
    done = await sio.call("update_value", {"path": "voltage", "value": 2.5})
    await asyncio.wait_for(told.wait(), 5)
    await asyncio.sleep(2.5)  # two pings of the server
    after = await sio.call("get_value", "voltage")
    print(before, done, after, sio.transport())
    await sio.disconnect()


asyncio.run(main(sys.argv[1], sys.argv[2]))
