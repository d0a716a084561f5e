/** A JSON Schema (draft 2020-12) as plain data. */
export type JsonSchema = { readonly [key: string]: unknown };

/** A string, with further keywords. */
export const string = (more: JsonSchema = {}): JsonSchema => ({ type: "string", ...more });

/** An RFC 3339 time. */
export const time = (description: string): JsonSchema => ({ type: "string", format: "date-time", description });

/** A whole number of at least `minimum`. */
export const whole = (description: string, minimum = 0): JsonSchema => ({ type: "integer", minimum, description });

/** A number of at least 0. */
export const amount = (description: string): JsonSchema => ({ type: "number", minimum: 0, description });

/** A map from any name to values of one kind. */
export const mapOf = (values: JsonSchema): JsonSchema => ({ type: "object", additionalProperties: values });

/** A list. */
export const listOf = (items: JsonSchema): JsonSchema => ({ type: "array", items });

/** An object: the required properties, then the optional ones. Unknown properties pass, so that events can grow. */
export const object = (
  required: Readonly<Record<string, JsonSchema>>,
  optional: Readonly<Record<string, JsonSchema>> = {},
): JsonSchema => ({
  type: "object",
  required: Object.keys(required),
  properties: { ...required, ...optional },
});
