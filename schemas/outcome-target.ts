import type { OutcomeTarget } from "./call.ts";
import { BuskerError } from "./errors.ts";
import { parseFunctionName } from "./names.ts";

// No wildcard, no blank, nothing that is not ASCII; and a length that leaves room in a protocol line.
const subjectPattern = /^[!-)+-=?-~]{1,250}$/;

const subjectRule =
  "nats: and a subject without wildcards, whose first part is not busker and does not begin with _ or $";

/** Whether anybody may have outcomes published there: a valid subject that is none of the platform's or the server's own. */
export const isForeignSubject = (subject: string): boolean => {
  const [first = "", ...rest] = subject.split(".");
  return (
    subjectPattern.test(subject) && first !== "busker" && /^[^_$]/.test(first) && rest.every((token) => token !== "")
  );
};

const readUrl = (text: string): string => {
  if (!URL.canParse(text)) throw new RangeError("a URL that can be read");
  const { username, password } = new URL(text);
  if (username !== "" || password !== "") throw new RangeError("a URL without user and password");
  return text;
};

const readSubject = (subject: string): string => {
  if (isForeignSubject(subject)) return subject;
  throw new RangeError(subjectRule);
};

const readFunction = (text: string): OutcomeTarget => {
  try {
    return { kind: "function", function: parseFunctionName(text) };
  } catch (cause) {
    if (!(cause instanceof BuskerError)) throw cause;
    throw new RangeError("NAME or NAME.NAMESPACE of a function, nats:SUBJECT, or an http or https URL", { cause });
  }
};

/**
 * Reads whom an annotation would have told: `NAME`, `NAME.NAMESPACE` or the same behind `function:`, `nats:SUBJECT`, or an
 * http or https URL. Throws a RangeError that states the rule.
 */
export const parseOutcomeTarget = (text: string): OutcomeTarget => {
  if (/^https?:\/\//i.test(text)) return { kind: "url", url: readUrl(text) };
  if (text.startsWith("nats:")) return { kind: "subject", subject: readSubject(text.slice("nats:".length)) };
  return readFunction(text.startsWith("function:") ? text.slice("function:".length) : text);
};
