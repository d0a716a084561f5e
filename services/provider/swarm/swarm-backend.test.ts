import { describeBackend } from "../fixtures/backend-contract.ts";
import { openSwarmContract } from "../fixtures/swarm-contract.ts";

describeBackend("swarm", () => openSwarmContract("image"));
