import type Docker from "dockerode";
import type { ContainerInfo } from "dockerode";
import { unlessGone } from "./unless-gone.ts";

/** A container's networks by name. */
type Networks = Readonly<Record<string, { readonly NetworkID: string }>>;

const ofOther = "container:";

const isOff = (mode: string | undefined, networks: Networks = {}): boolean =>
  mode !== undefined &&
  !mode.startsWith(ofOther) &&
  networks[mode] === undefined &&
  !Object.values(networks).some(({ NetworkID }) => NetworkID === mode);

/** Whether a listed container runs, and has the network no more that it was made in: somebody has disconnected it. */
export const hasLostNetwork = ({ State, HostConfig, NetworkSettings }: ContainerInfo): boolean =>
  (State === "running" || State === "paused") && isOff(HostConfig.NetworkMode, NetworkSettings?.Networks);

/** Looks the same up for one container, as it is now; false for one that is gone. */
export const lacksNetwork = async (docker: Docker, containerId: string): Promise<boolean> => {
  let lacks = false;
  const look = async (): Promise<void> => {
    const { State, HostConfig, NetworkSettings } = await docker.getContainer(containerId).inspect();
    lacks = State.Running && isOff(HostConfig.NetworkMode, NetworkSettings.Networks);
  };
  await unlessGone(look());
  return lacks;
};
