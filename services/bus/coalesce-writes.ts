import type { NatsConnection } from "nats";

/** What this module needs of the library's transport: where frames leave, one call a flush. */
interface Transport {
  send: (frame: Uint8Array) => void;
  coalesced?: boolean;
  readonly socket?: { readonly cork: () => void; readonly uncork: () => void };
}

/** What it needs of the library's protocol: a command on its way into the buffer that `flushPending` empties. */
interface Protocol {
  readonly transport?: Transport;
  readonly connected: boolean;
  readonly infoReceived: boolean;
  readonly flushPending: () => void;
  sendCommand: (command: string | Uint8Array, ...payloads: Uint8Array[]) => void;
  uncopied?: boolean;
}

const protocolOf = (nc: NatsConnection): Protocol | undefined => {
  const { protocol } = nc as unknown as { readonly protocol?: Protocol };
  return typeof protocol?.transport?.send === "function" ? protocol : undefined;
};

// A batch is bounded, so that one long turn does not keep all its calls waiting. Bounds of 6 to 32 made no difference
// beyond noise (32 connections, two cores); 2 cost twice the CPU per call.
const maxFrames = 16;

// From here on a payload is written from where it is: the library and the batch would copy it once each.
const uncopiedBytes = 16 * 1024;

// Enough for one system call.
const maxBatchBytes = 128 * 1024;

/** Copies neighbours that are small into one; the large ones stay as they are. */
const joinSmall = (frames: readonly Uint8Array[]): readonly Uint8Array[] => {
  const joined: Uint8Array[] = [];
  let small: Uint8Array[] = [];
  const close = (): void => {
    if (small.length > 0) joined.push(small.length === 1 && small[0] ? small[0] : Buffer.concat(small));
    small = [];
  };
  for (const frame of frames)
    if (frame.length < uncopiedBytes) small.push(frame);
    else {
      close();
      joined.push(frame);
    }
  close();
  return joined;
};

const coalesceTransport = (transport: Transport): void => {
  if (transport.coalesced) return;
  transport.coalesced = true;
  const send = transport.send.bind(transport);
  let frames: Uint8Array[] = [];
  let bytes = 0;
  const flush = (): void => {
    if (frames.length === 0) return;
    const all = frames;
    frames = [];
    if (bytes < uncopiedBytes) send(all.length === 1 && all[0] ? all[0] : Buffer.concat(all));
    else {
      transport.socket?.cork();
      for (const frame of joinSmall(all)) send(frame);
      transport.socket?.uncork();
    }
    bytes = 0;
  };
  transport.send = (frame) => {
    frames.push(frame);
    bytes += frame.length;
    if (frames.length === maxFrames || bytes >= maxBatchBytes) flush();
    else if (frames.length === 1) setImmediate(flush);
  };
};

/** Lets large payloads go around the library's buffer, which would copy them. Their memory must not be used again. */
const passLargeBy = (protocol: Protocol): void => {
  if (protocol.uncopied) return;
  protocol.uncopied = true;
  const sendCommand = protocol.sendCommand.bind(protocol);
  protocol.sendCommand = (command, ...payloads) => {
    const { transport } = protocol;
    const isLarge = payloads.some((payload) => payload.length >= uncopiedBytes);
    if (!isLarge || !transport?.coalesced || !protocol.connected || !protocol.infoReceived)
      return sendCommand(command, ...payloads);
    protocol.flushPending();
    transport.send(typeof command === "string" ? Buffer.from(command) : command);
    for (const payload of payloads) if (payload.length > 0) transport.send(payload);
  };
};

/**
 * Makes one system call of what the library would send in several. It flushes at the end of each callback, so that
 * thirty requests read in one turn of the event loop become thirty writes, and thirty wake-ups of the server; here they
 * wait for the end of the turn (`setImmediate`, microseconds when nothing else is to do). To be called again after each
 * reconnect, which makes a new transport. Without effect on a library that works otherwise.
 */
export const coalesceWrites = (nc: NatsConnection): void => {
  const protocol = protocolOf(nc);
  if (!protocol?.transport) return;
  coalesceTransport(protocol.transport);
  passLargeBy(protocol);
};
