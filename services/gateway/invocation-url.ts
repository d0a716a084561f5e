const now = "/function/";
const later = "/async-function/";

/** Tells whether a URL is an invocation: `/function/NAME…`. */
export const isInvocation = (url: string): boolean => url.startsWith(now);

/** Tells whether a URL is a durable invocation, or is about one: `/async-function/…`. */
export const isDurable = (url: string): boolean => url.startsWith(later);

/**
 * Splits `/function/NAME[.NS][/rest][?query]`, or the same of `/async-function/`, into the name and the rest, which begins
 * with `/` and is not decoded.
 */
export const splitUrl = (url: string): { readonly name: string; readonly path: string } => {
  const prefix = isDurable(url) ? later : now;
  let end = prefix.length;
  while (end < url.length && url[end] !== "/" && url[end] !== "?") end += 1;
  const rest = url.slice(end);
  return { name: url.slice(prefix.length, end), path: rest.startsWith("/") ? rest : `/${rest}` };
};
