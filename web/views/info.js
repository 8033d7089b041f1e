// PNG Info: what a picture says of how it was made, by whatever program.
import {post} from "../api.js";
import {fill, h} from "../dom.js";
import {bytes} from "../format.js";
import {copy} from "../lightbox.js";

export const title = "PNG Info";

const kHandedOver = "create.job";

// Of the last `open`: going to another view and back loses nothing.
let shown = null;  // {file, url, answer or error}
let redraw = () => {};

function readDataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}

// Called by the shell too, for a picture dropped anywhere.
export async function open(file) {
  if (shown) URL.revokeObjectURL(shown.url);
  const mine = {file, url: URL.createObjectURL(file)};
  shown = mine;
  redraw();
  try {
    mine.answer = await post("/sdapi/v1/png-info", {image: await readDataUrl(file)});
  } catch (error) {
    mine.error = error;
  }
  if (shown === mine) redraw();
}

// A list of what cannot be taken over, each with what is there instead.
function unknownList(unknown) {
  return unknown.length > 0 && h("section", {class: "stack tight", "aria-label": "Not known here"}, h("h2", {}, "Not known here"),
    h("ul", {class: "unknown"}, unknown.map(({field, found, message, known}) => h("li", {},
      h("span", {class: "tag bad"}, field), " ", h("strong", {}, found), h("span", {class: "muted"}, ` ${message}.`),
      known.length > 0 && h("span", {class: "hint"}, `Here: ${known.join(", ")}`)))));
}

function use(job) {
  sessionStorage.setItem(kHandedOver, JSON.stringify(job));
  location.hash = "#create?from=info";
}

const pretty = (text) => {
  try { return JSON.stringify(JSON.parse(text), null, 1); } catch { return text; }
};

function raw(name, text) {
  return h("details", {class: "panel raw"}, h("summary", {}, name, h("span", {class: "muted small"}, ` ${bytes(new Blob([text]).size)}`)),
    h("button", {type: "button", onclick: () => copy(text, name)}, `Copy ${name}`), h("pre", {}, pretty(text)));
}

function record({answer, error, file}) {
  if (error) return h("p", {class: "notice error", role: "alert"}, error.message);
  if (!answer) return h("p", {class: "muted", role: "status"}, "Reading…");
  const {ingot, items} = answer;
  const others = Object.entries(items).map(([name, text]) => raw(name, text));
  if (!ingot.source) {
    return h("div", {class: "stack"},
      h("p", {class: "notice", role: "status"}, h("strong", {}, `${file.name} does not say how it was made.`),
        others.length > 0 ? " It holds other texts:" : " Many programs and services strip such texts."), others);
  }
  const fields = ingot.fields.filter(({name}) => !/-[12]$/.test(name));
  return h("div", {class: "stack"},
    h("section", {class: "panel stack", "aria-label": "Parameters"},
      h("div", {class: "spread"}, h("p", {role: "status"}, "Made with ", h("strong", {}, ingot.source)),
        h("div", {class: "row"}, h("button", {type: "button", onclick: () => copy(ingot.infotext, "Text")}, "Copy text"),
          h("button", {type: "button", class: "primary", onclick: () => use(ingot.job)}, "Use these settings"))),
      h("div", {}, h("h2", {class: "label"}, "Prompt"), h("p", {class: "prompt"}, ingot.prompt || "None")),
      ingot.negative_prompt && h("div", {}, h("h2", {class: "label"}, "Negative prompt"), h("p", {class: "prompt"}, ingot.negative_prompt)),
      unknownList(ingot.unknown),
      fields.length > 0 && h("table", {}, h("caption", {class: "visually-hidden"}, "Parameters"),
        h("tbody", {}, fields.map(({name, value}) => h("tr", {}, h("th", {scope: "row"}, name), h("td", {}, value)))))),
    raw("Text", ingot.infotext), others);
}

export function mount(root) {
  const chooser = h("input", {type: "file", accept: "image/png,image/jpeg,image/webp", class: "visually-hidden", id: "picture-file",
                              onchange: () => { if (chooser.files[0]) open(chooser.files[0]); chooser.value = ""; }});
  const picture = h("div", {});
  const what = h("div", {});
  const drop = h("div", {class: "drop-zone"});
  const zone = h("label", {class: "drop-label", for: "picture-file"}, h("strong", {}, "Drop a picture here, or choose one"),
    h("span", {class: "muted"}, "PNG, JPEG or WebP of Forge, AUTOMATIC1111, ComfyUI, NovelAI, SwarmUI or Ingot"));
  for (const type of ["dragenter", "dragover"]) drop.addEventListener(type, () => drop.classList.add("over"));
  for (const type of ["dragleave", "drop"]) drop.addEventListener(type, () => drop.classList.remove("over"));
  drop.append(chooser, zone, picture);

  redraw = () => {
    root.classList.toggle("has-picture", shown !== null);
    if (shown === null) return;
    fill(picture, h("img", {src: shown.url, alt: `The picture ${shown.file.name}`, class: "info-picture"}),
      h("p", {class: "muted small"}, `${shown.file.name}, ${bytes(shown.file.size)}`));
    fill(what, record(shown));
  };
  root.append(h("h1", {class: "visually-hidden"}, title), drop, what);
  redraw();
  return () => { redraw = () => {}; };
}
