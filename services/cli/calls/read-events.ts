/** One server-sent event, as far as it was given. */
export interface ServerEvent {
  readonly id: string | undefined;
  readonly event: string | undefined;
  readonly data: string;
}

const fieldsOf = (block: string): ServerEvent => {
  const fields = new Map<string, string>();
  for (const line of block.split("\n")) {
    const at = line.indexOf(":");
    if (at <= 0) continue;
    const name = line.slice(0, at);
    const value = line.slice(at + 1).replace(/^ /, "");
    const before = fields.get(name);
    fields.set(name, before === undefined ? value : `${before}\n${value}`);
  }
  return { id: fields.get("id"), event: fields.get("event"), data: fields.get("data") ?? "" };
};

/** Reads server-sent events from a body as they come; comments are passed over. */
export async function* readEvents(body: AsyncIterable<Buffer>): AsyncGenerator<ServerEvent, void> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const event = fieldsOf(block);
      if (event.data !== "" || event.id !== undefined) yield event;
    }
  }
}
