import type { FunctionName } from "./names.ts";
import type { SealedBox } from "./secret.ts";

/*
 * Enrolment: a replica that its backend has not started itself, such as a task of a Swarm service, asks for its launch.
 */

/** The variable that tells a watchdog what its backend calls it; no function gets it. */
export const taskVariable = "BUSKER_TASK";

/** What an enrolment's sealed launch is for. */
export const enrolUse = ({ task, namespace, name }: FunctionName & Pick<EnrolRequest, "task">) => ({
  purpose: "busker enrol 1",
  binding: JSON.stringify([namespace, name, task]),
});

/** What a replica that enrols is given by its backend: the content of a file that all replicas of a function have. */
export interface Bootstrap extends FunctionName {
  readonly natsUrl: string;
  /** The user of the credentials, which takes its answers under that name. */
  readonly user: string;
  /** Credentials that may ask for this function's launches and do nothing else. */
  readonly credentials: string;
  /** What the provider has to be told again: which spec and image it is. Nobody else can make one. */
  readonly ticket: string;
}

/** Data of `enrol`. */
export interface EnrolRequest {
  /** What the backend calls the replica: the id of a Swarm task. */
  readonly task: string;
  /** Public half of a key pair (X25519) of the replica's own, 32 bytes in base64: the launch is sealed for it. */
  readonly key: string;
  readonly ticket: string;
}

/** What the provider answers to an `enrol`: one of the three. */
export interface EnrolAnswer {
  /** The launch as JSON, sealed. */
  readonly launch?: SealedBox;
  /** The function has failed of late: ask again after so many milliseconds. */
  readonly waitMs?: number;
  readonly error?: {
    /** A code of the error catalogue. */
    readonly code: string;
    readonly message: string;
  };
}

/** Data of `bundle`: which part of the bundle that the ticket's spec names. */
export interface BundleRequest {
  readonly ticket: string;
  /** First byte of the part in the archive. */
  readonly offset: number;
}

/** The provider's answer to a `bundle`: a part or an error. */
export interface BundleAnswer extends Pick<EnrolAnswer, "error"> {
  /** The bytes from the offset on, `bundlePartBytes` or up to the end, in base64. */
  readonly part?: string;
  /** Bytes of the whole archive. */
  readonly size?: number;
}

/** Bytes of a bundle in one answer, which is less than 1 MiB of base64. */
export const bundlePartBytes = 720 * 1024;
