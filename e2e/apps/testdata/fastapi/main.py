"""An application that knows its public prefix from --root-path only."""
from fastapi import FastAPI, Request, WebSocket

app = FastAPI(servers=None)


@app.get("/app")
def read_main(request: Request):
    return {"message": "Hello World", "root_path": request.scope.get("root_path")}


@app.get("/")
def root(request: Request):
    return {"path": request.scope["path"]}


@app.get("/items/")
def items(q: str = ""):
    return {"q": q}


@app.get("/seen/{rest:path}")
def seen(request: Request, rest: str):
    return {
        "url": str(request.url),
        "raw": request.scope["raw_path"].decode(),
        "query": request.scope["query_string"].decode(),
        "headers": {k.decode(): v.decode() for k, v in request.scope["headers"]},
    }


@app.websocket("/ws")
async def ws(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text(str(websocket.url))
    while True:
        await websocket.send_text(await websocket.receive_text())
