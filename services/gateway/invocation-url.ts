const prefix = "/function/";

/** Tells whether a URL is an invocation: `/function/NAME…`. */
export const isInvocation = (url: string): boolean => url.startsWith(prefix);

/** Splits `/function/NAME[.NS][/rest][?query]` into the name and the rest, which begins with `/` and is not decoded. */
export const splitUrl = (url: string): { readonly name: string; readonly path: string } => {
  let end = prefix.length;
  while (end < url.length && url[end] !== "/" && url[end] !== "?") end += 1;
  const rest = url.slice(end);
  return { name: url.slice(prefix.length, end), path: rest.startsWith("/") ? rest : `/${rest}` };
};
