import { type JsonSchema, object, string } from "./json-schema.ts";

/** SealedBox. */
export const sealedBoxSchema: JsonSchema = {
  ...object({
    key: string({ description: "First 16 hex digits of the SHA-256 of the public sealing key (SPKI, DER)" }),
    ephemeral: string({ description: "X25519 public key of this box, base64" }),
    ciphertext: string({ description: "AES-256-GCM ciphertext and tag, base64" }),
  }),
  description: "A value that only the provider can open, and only under this namespace and name",
};
