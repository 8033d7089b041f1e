// Models: the sets that the files of the models folder make, and each file with what is wrong with it.
import { get, post } from "../api.js";
import { h } from "../dom.js";
import { bytes } from "../format.js";

export const title = "Models";

const PARTS = [["clip", "CLIP"], ["t5", "T5"], ["vae", "VAE"]];

const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1);
const stemOf = (path) => nameOf(path).replace(/\.[^.]*$/, "");
const sizeOf = (file) =>
  file.num_bytes ?? file.components.reduce((sum, part) => sum + part.num_bytes, 0);

// Files of equal content, by hash: each group has two or more.
function duplicates(files) {
  const groups = Map.groupBy(files.filter((file) => file.sha256), (file) => file.sha256);
  return [...groups.values()].filter((group) => group.length > 1);
}

// "DIR: expected A for FILE (usually B), found C" of ResolveModels, without what the row says already.
function lacking(message) {
  const parts = /expected (an? .*?) for .*? \(usually (.*?)\), found (.*)$/.exec(message);
  return parts ? `Lacks ${parts[1]}. Usually ${parts[2]}; found ${parts[3]}.` : message;
}

function setRow(set, filesByPath, below) {
  const paths = [...new Set([set.diffusion, set.clip, set.t5, set.vae].filter(Boolean))];
  const total = paths.reduce((sum, path) => sum + sizeOf(filesByPath.get(path)), 0);
  return h("tr", {},
    h("th", { scope: "row" }, stemOf(set.diffusion),
      h("div", { class: "note" }, filesByPath.get(set.diffusion).components[0].summary)),
    h("td", { "data-label": "Parts" }, set.missing
      ? h("span", { class: "bad" }, lacking(below(set.missing)))
      : h("dl", { class: "facts" }, PARTS.flatMap(([key, label]) => [
        h("dt", {}, label), h("dd", { class: "path" }, nameOf(set[key]))]))),
    h("td", { "data-label": "Size", class: "number" }, set.missing ? "" : bytes(total)),
    h("td", { "data-label": "" }, set.missing
      ? h("span", { class: "tag bad" }, "Incomplete")
      : h("a", { class: "button", href: `#create?model=${encodeURIComponent(nameOf(set.diffusion))}` },
        "Use", h("span", { class: "sr-only" }, ` ${stemOf(set.diffusion)}`))));
}

function fileRow(file, twins, below) {
  const notes = [];
  if (file.error) notes.push(h("div", { class: "bad" }, below(file.error)));
  if (!file.error && !file.components.length) notes.push("No network that Ingot knows.");
  if (twins) {
    const others = twins.filter((twin) => twin !== file).map((twin) => below(twin.path));
    notes.push(h("div", { class: "warn" }, `Same content as ${others.join(", ")}`));
  }
  return h("tr", {},
    h("th", { scope: "row", class: "path" }, below(file.path)),
    h("td", { "data-label": "Holds" },
      file.components.map((part) => h("div", {}, part.component,
        h("span", { class: "note" }, ` ${part.summary}`))),
      notes),
    h("td", { "data-label": "SHA-256", class: "path" },
      file.sha256 ? h("span", { title: file.sha256 }, file.sha256.slice(0, 10)) : ""),
    h("td", { "data-label": "Size", class: "number" }, sizeOf(file) ? bytes(sizeOf(file)) : ""));
}

const head = (...names) => h("thead", {}, h("tr", {}, names.map((name) => h("th", { scope: "col" }, name))));

function show(answer) {
  const files = answer.models;
  const below = (text) => text.replaceAll(`${answer.models_dir}/`, "").replaceAll(answer.models_dir, "The folder");
  const filesByPath = new Map(files.map((file) => [file.path, file]));
  const sets = [...answer.sets].sort((a, b) => Boolean(a.missing) - Boolean(b.missing));
  const groups = duplicates(files);
  // What needs a hand comes first.
  const twinsOf = (file) => groups.find((group) => group.includes(file));
  const rank = (file) => (file.error ? 0 : twinsOf(file) ? 1 : 2);
  const ordered = [...files].sort((a, b) => rank(a) - rank(b));
  return [
    h("section", { "aria-labelledby": "sets" },
      h("h2", { id: "sets" }, "Sets"),
      sets.length
        ? h("table", { class: "list" }, head("Model", "Parts", "Size", ""),
          h("tbody", {}, sets.map((set) => setRow(set, filesByPath, below))))
        : h("p", {}, "No diffusion model is here. Put a Flux file (GGUF or safetensors) into ",
          h("code", {}, `${answer.models_dir}/Stable-diffusion`), ".")),
    h("section", { "aria-labelledby": "files" },
      h("h2", { id: "files" }, "Files"),
      files.length > 0 && h("table", { class: "list" }, head("File", "Holds", "SHA-256", "Size"),
        h("tbody", {}, ordered.map((file) => fileRow(file, twinsOf(file), below))))),
  ];
}

function summary(answer) {
  const complete = answer.sets.filter((set) => !set.missing).length;
  const damaged = answer.models.filter((file) => file.error).length;
  const total = answer.models.reduce((sum, file) => sum + sizeOf(file), 0);
  return [`${answer.models.length} files, ${bytes(total)}`, `${complete} complete sets`,
    damaged ? `${damaged} that cannot be read` : ""].filter(Boolean).join(" · ");
}

export function mount(root) {
  const status = h("p", { role: "status", class: "note" }, "Looking…");
  const body = h("div");
  const folder = h("code");
  const rescan = h("button", { type: "button", onclick: () => load(true) }, "Rescan");
  let isMounted = true;

  async function load(isAsked) {
    rescan.disabled = true;
    try {
      // Names that jobs may say are kept by the server: they are looked up anew as well.
      if (isAsked) await post("/sdapi/v1/refresh-checkpoints", {});
      const answer = await get("/ingot/v1/models");
      if (!isMounted) return;
      folder.textContent = answer.models_dir;
      status.textContent = summary(answer);
      body.replaceChildren(...show(answer));
    } catch (error) {
      status.textContent = error.message;
    } finally {
      rescan.disabled = false;
    }
  }

  root.append(
    h("header", { class: "view-head" }, h("h1", {}, title), folder, rescan), status, body);
  load(false);
  return () => { isMounted = false; };
}
