import { type JsonSchema, listOf, mapOf, object, string } from "./json-schema.ts";

const amounts = object(
  {},
  {
    memory: string({ description: "Bytes in the notation of Kubernetes, such as 128Mi" }),
    cpu: string({ description: "Cores in the notation of Kubernetes, such as 100m or 0.5" }),
    "nvidia.com/gpu": string(),
    "amd.com/gpu": string(),
    "intel.com/gpu": string(),
  },
);

const described = {
  image: string({ minLength: 1, description: "An image reference, or bundle:sha256:<hex>" }),
};

const optional = {
  envProcess: string({ description: "The command, split on spaces" }),
  envVars: mapOf(string()),
  constraints: listOf(string()),
  secrets: listOf(string()),
  labels: mapOf(string()),
  annotations: mapOf(string()),
  limits: amounts,
  requests: amounts,
  readOnlyRootFilesystem: { type: "boolean" },
} as const satisfies Record<string, JsonSchema>;

/** FunctionSpec. */
export const functionSpecSchema: JsonSchema = object({ name: string(), namespace: string(), ...described }, optional);

/** What a client posts to `/system/functions`: OpenFaaS's FunctionDeployment. Null stands for absent, as Go clients send it. */
export const functionDeploymentSchema: JsonSchema = {
  type: "object",
  required: ["service", "image"],
  properties: {
    service: string(),
    namespace: { type: ["string", "null"] },
    image: described.image,
    ...Object.fromEntries(
      Object.entries(optional).map(([key, schema]) => [key, { ...schema, type: [schema.type, "null"] }]),
    ),
  },
};
