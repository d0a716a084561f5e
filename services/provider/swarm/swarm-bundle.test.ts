import { describeBackend } from "../fixtures/backend-contract.ts";
import { openSwarmContract } from "../fixtures/swarm-contract.ts";

describeBackend("swarm (with a bundle)", () => openSwarmContract("bundle"));
