/* Elements. Names are untrusted, so text is never inserted as markup. */

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
/* A name or path with line breaks allowed between its parts. */
const breakable = (name, after = /(?<=[./_])/) => String(name).split(after).flatMap((part, i) => (i ? [el("wbr"), part] : [part]));
