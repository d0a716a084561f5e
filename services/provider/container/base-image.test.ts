import { expect } from "chai";
import { listBaseParts } from "./base-image.ts";
import { findNodeFiles } from "./node-files.ts";

describe("listBaseParts()", () => {
  const list = async (more: { readonly busybox?: readonly string[]; readonly certificates?: string } = {}) =>
    new Map(
      (await listBaseParts({ node: findNodeFiles, busybox: [], certificates: "/proc/nowhere", ...more })).map(
        (part) => [part.name, part],
      ),
    );

  it("has each name once, and the folders of all before it", async () => {
    const parts = await listBaseParts();
    const seen = new Set<string>();
    for (const { name } of parts) {
      expect(seen.has(name), `${name} twice`).to.equal(false);
      seen.add(name);
      const parent = name.split("/").slice(0, -1).join("/");
      if (parent !== "") expect(seen.has(parent), `${parent} of ${name}`).to.equal(true);
    }
  });

  it("puts Node where it is here, and on the search path", async () => {
    const parts = await list();
    expect(parts.get(process.execPath.slice(1))?.kind).to.equal("file");
    expect(parts.has("usr/local/bin/node")).to.equal(true);
  });

  it("takes no busybox that needs libraries, because the image has none for it", async () => {
    const parts = await list({ busybox: ["/proc/nowhere", process.execPath] });
    expect(parts.has("bin/busybox")).to.equal(false);
  });

  it("goes without certificates where the machine has none", async () => {
    expect((await list()).has("etc/ssl/certs/ca-certificates.crt")).to.equal(false);
    expect((await list({ certificates: "/etc/hostname" })).has("etc/ssl/certs/ca-certificates.crt")).to.equal(true);
  });

  it("gives everybody /tmp, and the user app a home of its own", async () => {
    const parts = await list();
    expect(parts.get("tmp")).to.include({ kind: "folder", mode: 0o1777 });
    expect(parts.get("home/app")).to.include({ kind: "folder", mode: 0o755, owner: 12_000 });
  });
});
