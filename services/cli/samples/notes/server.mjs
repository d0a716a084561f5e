// An ordinary HTTP server: Busker gives it a port of its own in PORT and passes requests on.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { text } from "node:stream/consumers";

const notes = new Map();

const json = (status, value) => ({ status, body: value === undefined ? "" : `${JSON.stringify(value)}\n` });

const methods = {
  GET: (id) =>
    id === undefined
      ? json(200, [...notes.values()])
      : json(notes.has(id) ? 200 : 404, notes.get(id) ?? { error: "no such note" }),
  POST: (_id, body) => {
    const note = { id: randomUUID(), text: body };
    notes.set(note.id, note);
    return json(201, note);
  },
  PUT: (id, body) => {
    if (id === undefined) return json(400, { error: "PUT needs /notes/ID" });
    notes.set(id, { id, text: body });
    return json(200, notes.get(id));
  },
  DELETE: (id) => (notes.delete(id) ? json(204) : json(404, { error: "no such note" })),
};

const echo = ({ method, url, headers }, body) => json(200, { method, path: url, headers, body });

const answer = (request, body) => {
  const [, what, id] = new URL(request.url, "http://notes").pathname.split("/");
  if (what === "healthz") return json(200, { ok: true });
  if (what === "echo") return echo(request, body);
  if (what !== "notes") return json(404, { error: "try /notes or /echo" });
  const run = methods[request.method];
  return run ? run(id, body) : json(405, { error: "use GET, POST, PUT or DELETE" });
};

createServer(async (request, response) => {
  const { status, body } = answer(request, await text(request));
  response.writeHead(status, { "content-type": "application/json" }).end(body);
}).listen(process.env.PORT, "127.0.0.1");
