import { randomUUID } from "node:crypto";
import { finished } from "node:stream/promises";
import type Docker from "dockerode";

/**
 * Whether an engine can execute a program in a container that runs, of an image with a shell: what looks at a container's
 * health do, and `docker exec`. An engine that was started in a chroot cannot: the kernel leads what enters a container's
 * mount namespace to the file system of the machine around.
 */
export const canExecute = async (docker: Docker, image: string): Promise<boolean> => {
  // What is executed in the wrong place finds a shell there too, and another name.
  const name = `probe-${randomUUID()}`;
  const Entrypoint = ["sh", "-c", "sleep 60"];
  const container = await docker.createContainer({ Image: image, Hostname: name, Entrypoint, Cmd: [] });
  try {
    await container.start();
    const run = await container.exec({
      Cmd: ["sh", "-c", `test "$(cat /etc/hostname)" = ${name}`],
      AttachStdout: true,
    });
    const output = await run.start({});
    output.resume();
    await finished(output).catch(() => undefined);
    return (await run.inspect()).ExitCode === 0;
  } catch {
    return false;
  } finally {
    await container.remove({ force: true });
  }
};
