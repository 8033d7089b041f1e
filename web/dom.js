// Elements in one call: h("button", {type: "button", onclick: run}, "Generate").
//
// Attributes: `class`, `on…` (a listener), `dataset` (an object), `style` (an object of properties,
// set through the CSSOM: the policy of the page forbids style attributes), a boolean (present or
// absent), else text. Children: nodes, texts, arrays of them; null, undefined and false are nothing.
export function h(tag, attributes = {}, ...children) {
  const svg = tag === "svg" || kSvg.has(tag);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag)
                   : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) node.style.setProperty(key, text);
    else if (name === "value") node.value = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  append(node, children);
  return node;
}

const kSvg = new Set(["line", "polyline", "polygon"]);

function append(node, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(node, child);
    else if (child !== null && child !== undefined && child !== false) node.append(child);
  }
}

// Replaces what a node holds.
export function fill(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

let numIds = 0;
export const uniqueId = (stem) => `${stem}-${++numIds}`;

// A label over a control, with an optional hint that screen readers read with it; where the control
// is a part of `node`, it is named.
export function field(label, node, {hint, aside, control = node} = {}) {
  control.id ||= uniqueId("field");
  const note = hint === undefined ? null : h("small", {class: "hint", id: `${control.id}-hint`}, hint);
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", {class: "field"},
           h("div", {class: "field-head"}, h("label", {for: control.id}, label), aside), node, note);
}

// A select of [{value, label, disabled}]; keeps what was chosen when it is filled anew.
export function fillSelect(select, options, value) {
  fill(select, options.map((option) => h("option", {value: option.value, disabled: option.disabled},
                                         option.label ?? option.value)));
  select.value = value;
  return select;
}

// A short message at the edge of the page; `action` {label, run} becomes a button. Errors stay
// until they are closed. Returns a function that takes it away.
export function toast(message, {kind = "info", action, seconds = kind === "error" ? 0 : 6} = {}) {
  const close = () => node.remove();
  const node = h("div", {class: `toast ${kind}`, role: kind === "error" ? "alert" : null},
                 h("span", {}, message),
                 action && h("button", {type: "button", onclick: () => { close(); action.run(); }}, action.label),
                 h("button", {type: "button", class: "icon-button", "aria-label": "Close message", onclick: close}, "×"));
  document.getElementById("toasts").append(node);
  if (seconds > 0) setTimeout(close, seconds * 1000);
  return close;
}
