import { spawn } from "node:child_process";
import { once } from "node:events";

/** A function for every kind of stream, in mode `http`; the same program is started without the platform to compare. */
export const streamFunction = `
import { createServer } from "node:http";
import { createHash } from "node:crypto";
const piece = Buffer.alloc(65536, "x");
const gone = [];
const now = () => performance.timeOrigin + performance.now();
const server = createServer((request, response) => {
  const url = new URL(request.url, "http://x");
  switch (url.pathname) {
    case "/down": {
      let left = Number(url.searchParams.get("bytes"));
      response.setHeader("Content-Length", left);
      const go = () => {
        while (left > 0) {
          const bytes = Math.min(left, piece.length);
          left -= bytes;
          if (!response.write(bytes === piece.length ? piece : piece.subarray(0, bytes))) return response.once("drain", go);
        }
        response.end();
      };
      return go();
    }
    case "/up": {
      let bytes = 0;
      request.on("data", (chunk) => (bytes += chunk.length));
      return request.on("end", () => response.end(String(bytes)));
    }
    case "/echo":
      return request.pipe(response);
    case "/idle":
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      return response.write("data: open\\n\\n");
    case "/events": {
      let left = Number(url.searchParams.get("count"));
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      const timer = setInterval(() => {
        response.write("data: " + now() + "\\n\\n");
        if (--left > 0) return;
        clearInterval(timer);
        response.end();
      }, 3);
      return response.on("close", () => clearInterval(timer));
    }
    case "/until-gone":
      response.writeHead(200, { "Content-Type": "text/event-stream" });
      response.write("data: open\\n\\n");
      return response.on("close", () => gone.push(now()));
    case "/gone":
      return response.end(JSON.stringify(gone.splice(0)));
    default:
      return response.writeHead(404).end();
  }
});
server.on("upgrade", (request, socket) => {
  const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
  socket.write("HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: " + accept + "\\r\\n\\r\\n");
  socket.on("error", () => {});
});
server.listen(Number(process.env.PORT), "127.0.0.1", () => console.log("listening"));
`;

/** The function's program by itself, to compare with. */
export const startBareFunction = async (program: string): Promise<{ url: string; stop: () => void }> => {
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
    env: { ...process.env, PORT: String(port) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(child.stdout, "data");
  return { url: `http://127.0.0.1:${port}`, stop: () => child.kill() };
};
