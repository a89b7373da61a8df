"""A service as laboratories run them: a page that learns its prefix from
X-Forwarded-Prefix, a REST call, and Socket.IO below /ws/socket.io."""
import html
import sys

import socketio
from aiohttp import web

sio = socketio.AsyncServer(async_mode="aiohttp", cors_allowed_origins="*", ping_interval=1, ping_timeout=5)
app = web.Application()
sio.attach(app, socketio_path="/ws/socket.io")
state = {"voltage": 1.5}


@sio.event
async def get_value(sid, path):
    return state[path]


@sio.event
async def update_value(sid, data):
    state[data["path"]] = data["value"]
    await sio.emit("notify", data)
    return "done"


async def value(request):
    return web.json_response(state[request.query["access_path"]])


async def update(request):
    data = await request.json()
    state[data["path"]] = data["value"]
    return web.json_response("done")


async def page(request):
    prefix = html.escape(request.headers.get("X-Forwarded-Prefix", ""))
    scheme = html.escape(request.headers.get("X-Forwarded-Proto", "http"))
    return web.Response(
        content_type="text/html",
        text=f'<script src="{prefix}/assets/index.js"></script>\n<p>prefix={prefix} scheme={scheme} path={request.path_qs}</p>\n',
    )


app.router.add_get("/api/v1/get_value", value)
app.router.add_put("/api/v1/update_value", update)
app.router.add_get("/{rest:.*}", page)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
