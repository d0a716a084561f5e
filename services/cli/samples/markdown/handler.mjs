// Busker calls the default export for every request; the build bundles `marked` into this file.
import { marked } from "marked";

const escapeHtml = (text) =>
  text.replace(/[&<>"]/g, (mark) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[mark]);

// Markdown may hold HTML; here it is shown and not run, because a caller's text ends in somebody's browser.
marked.use({ gfm: true, renderer: { html: ({ text }) => escapeHtml(text) } });

const asPage = (html) => `<!doctype html>\n<meta charset="utf-8">\n<title>Markdown</title>\n${html}`;

const wantsPage = (query) => new URLSearchParams(query).has("page");

export default async (event, context) => {
  const html = await marked.parse(String(event.body ?? ""));
  return context
    .status(200)
    .headers({ "content-type": "text/html; charset=utf-8" })
    .succeed(wantsPage(event.query) ? asPage(html) : html);
};
