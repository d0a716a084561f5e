import { startSwarmRig, answerImage } from "../services/provider/fixtures/swarm-backend.ts";
const t0 = Date.now();
const out = (...a: unknown[]) => console.log(Date.now() - t0, ...a);
const log: any = {
  info: (m: string, x: unknown) => out("info", m, JSON.stringify(x)),
  warn: (m: string, x: unknown) => out("WARN", m, JSON.stringify(x)),
  error: (m: string, x: unknown) => out("ERR", m, JSON.stringify(x)),
};
const rig = await startSwarmRig({ log });
let provider;
try {
  const image = await rig.addImage(answerImage);
  out("images");
  provider = await rig.platform.openProvider({ backend: rig.backend, log });
  out("provider");
  const o = await rig.platform.deploy({
    name: "echo",
    image,
    envProcess: "sh answer.sh echo",
    envVars: { GREETING: "hi " },
  });
  out(o.subject, JSON.stringify(o.data));
  for (let i = 0; i < 3; i++) {
    const t = Date.now();
    const r = await rig.platform.call("echo", "there");
    out(r.kind, r.kind !== "failed" ? Buffer.from(r.body).toString() : r.error.message, Date.now() - t);
  }
  const ts: any[] = await rig.docker.listTasks();
  for (const t of ts)
    out(
      t.ID,
      t.Spec.ContainerSpec.Image.slice(0, 20),
      t.Status.State,
      t.DesiredState,
      t.Status.Err,
      t.Status.ContainerStatus?.ExitCode,
    );
  for (const n of rig.swarm.nodes)
    for (const c of await n.docker.listContainers({ all: true }))
      out(
        c.Names,
        c.Status,
        (await n.docker.getContainer(c.Id).logs({ stdout: true, stderr: true })).toString().slice(0, 500),
      );
  await rig.platform.wish("scale", "echo", { replicas: 4 });
  await new Promise((r) => setTimeout(r, 5000));
  const st = await rig.platform.status.get("echo.openfaas-fn");
  out(JSON.stringify(st?.value));
  await rig.platform.wish("remove", "echo", {});
  await new Promise((r) => setTimeout(r, 4000));
  out(
    JSON.stringify((await rig.platform.status.get("echo.openfaas-fn"))?.value),
    (await rig.docker.listServices()).length,
    (await rig.docker.listSecrets()).length,
  );
} catch (e) {
  console.error(e);
} finally {
  await provider?.leave();
  await rig.stop();
  out("stopped");
}
