const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const parseRecord = (line: string): Record<string, unknown> => {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : {};
  } catch {
    return {};
  }
};

const show = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/** A service's line for a person: its JSON as `gateway | message key=value`, anything else as it is. */
export const formatLogLine = (service: string, line: string): string => {
  const { message, level, at: _at, service: _service, ...fields } = parseRecord(line);
  if (typeof message !== "string") return `${service} | ${line}`;
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${show(value)}`);
  return `${service} | ${level === "info" ? "" : `${String(level)}: `}${message}${rest.join("")}`;
};
