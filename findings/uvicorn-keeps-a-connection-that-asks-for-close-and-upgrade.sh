#!/usr/bin/env bash
# uvicorn 0.52.4 with httptools: "Connection: close, Upgrade" leaves the connection open; 0.53.0 closes it.
#
# RFC 9110, section 7.6.1: Connection is a list, and "close" in it ends the connection after the response, whatever else
# is in the list. With an Upgrade that the server does not follow, uvicorn up to 0.52 answers and then waits for another
# request, without "Connection: close" in its response. A client that reads to the end of the connection hangs until the
# keep-alive time-out, and a lower bound of uvicorn in a package's requirements decides whether it does.
#
# Output seen:
#   uvicorn 0.52.4: the connection stays open
#   uvicorn 0.53.0: the connection is closed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/probe.py" <<'PY'
import asyncio
import socket
import threading
from importlib.metadata import version

import uvicorn


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


listening = socket.create_server(("127.0.0.1", 0))
server = uvicorn.Server(uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_level="error"))
thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
thread.start()
with socket.create_connection(listening.getsockname()) as client:
    client.settimeout(2)
    client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n")
    try:
        while client.recv(4096):
            pass
        end = "is closed"
    except TimeoutError:
        end = "stays open"
server.should_exit = True
thread.join(5)
print(f"uvicorn {version('uvicorn')}: the connection {end}")
PY
for each in 0.52.4 0.53.0; do
  python3 -m venv "$work/$each"
  "$work/$each/bin/pip" install --quiet "uvicorn==$each" httptools==0.7.1
  "$work/$each/bin/python" "$work/probe.py"
done | tee "$work/seen"
diff "$work/seen" - <<'TXT'
uvicorn 0.52.4: the connection stays open
uvicorn 0.53.0: the connection is closed
TXT
