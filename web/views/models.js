// Models: the sets that the files of the models folder make, and each file with what is wrong with it.
import {get, post} from "../api.js";
import {fill, h} from "../dom.js";
import {bytes, plural, stem} from "../format.js";

export const title = "Models";

const kParts = [["clip", "CLIP"], ["t5", "T5"], ["vae", "VAE"]];

const nameOf = (path) => path.split("/").pop();
const sizeOf = (file) => file.num_bytes ?? file.components.reduce((sum, part) => sum + part.num_bytes, 0);

// Of "DIR: expected A for FILE (usually B), found C", one a part, what the row does not say already.
function lack(message) {
  return message.split("; ").map((part) => {
    const parts = /expected (an? .*?) for .*? \(usually (.*?)\), found (.*)$/.exec(part);
    return parts ? `Lacks ${parts[1]}: usually ${parts[2]}; found ${parts[3]}.` : part;
  }).join(" ");
}

function setRow(set, filesByPath, below) {
  const model = h("th", {scope: "row"}, h("span", {class: "name"}, stem(set.diffusion)),
                  h("span", {class: "hint"}, filesByPath.get(set.diffusion).components[0].summary));
  if (set.missing) {
    return h("tr", {}, model, h("td", {colspan: 4, class: "bad"}, lack(below(set.missing))),
             h("td", {}, h("span", {class: "tag bad"}, "Incomplete")));
  }
  const paths = new Set([set.diffusion, set.clip, set.t5, set.vae]);
  const total = [...paths].reduce((sum, path) => sum + sizeOf(filesByPath.get(path)), 0);
  return h("tr", {}, model,
           kParts.map(([part, label]) => h("td", {dataset: {label}}, nameOf(set[part]))),
           h("td", {class: "number", dataset: {label: "Size"}}, bytes(total)),
           h("td", {}, h("a", {class: "button", href: `#create?model=${encodeURIComponent(nameOf(set.diffusion))}`,
                               "aria-label": `Use ${stem(set.diffusion)}`}, "Use")));
}

function fileRow(file, twins, below) {
  const others = twins.filter((twin) => twin !== file).map((twin) => below(twin.path));
  const held = file.components.map(({component, summary}) =>
    h("div", {}, component, h("span", {class: "hint"}, summary)));
  if (file.error) held.push(h("span", {class: "bad"}, below(file.error).replace(`${below(file.path)}: `, "")));
  else if (held.length === 0) held.push(h("span", {class: "muted"}, "No network that Ingot knows"));
  if (others.length > 0) held.push(h("span", {class: "hint"}, `Same content as ${others.join(", ")}`));
  return h("tr", {},
           h("th", {scope: "row"}, h("span", {class: "name"}, below(file.path))),
           h("td", {}, held),
           h("td", {dataset: {label: "SHA-256"}}, file.sha256 ? h("code", {title: file.sha256}, file.sha256.slice(0, 10)) : "–"),
           h("td", {class: "number", dataset: {label: "Size"}}, file.error && !sizeOf(file) ? "–" : bytes(sizeOf(file))),
           h("td", {}, file.error ? h("span", {class: "tag bad"}, "Cannot be read")
                                  : others.length > 0 && h("span", {class: "tag"}, "Duplicate")));
}

function table(names, rows) {
  return h("table", {class: "list"},
           h("thead", {}, h("tr", {}, names.map((name) => h("th", {scope: "col", class: name === "Size" && "number"}, name)))),
           h("tbody", {}, rows));
}

function panel(heading, ...children) {
  return h("section", {class: "panel"}, h("h2", {}, heading), children);
}

function show({models_dir: folder, models: files, sets}) {
  const below = (text) => text.replaceAll(`${folder}/`, "").replaceAll(folder, "the folder");
  const filesByPath = new Map(files.map((file) => [file.path, file]));
  const twinsOf = (file) => files.filter(({sha256}) => sha256 && sha256 === file.sha256);
  // Complete sets first; of the files those that need a hand.
  const ordered = sets.toSorted((a, b) => Boolean(a.missing) - Boolean(b.missing));
  const rank = (file) => (file.error ? 0 : twinsOf(file).length > 1 ? 1 : 2);
  const ranked = files.toSorted((a, b) => rank(a) - rank(b));
  return [
    panel("Sets", sets.length > 0
      ? table(["Model", "CLIP", "T5", "VAE", "Size", "Use"], ordered.map((set) => setRow(set, filesByPath, below)))
      : h("p", {class: "notice"}, "No diffusion model is here. Put a Flux file (.gguf or .safetensors) into ",
          h("code", {}, `${folder}/Stable-diffusion`), " and rescan.")),
    files.length > 0 && panel("Files", table(["File", "Holds", "SHA-256", "Size", "State"],
                                             ranked.map((file) => fileRow(file, twinsOf(file), below)))),
  ];
}

function summary({models, sets}) {
  const numDamaged = models.filter((file) => file.error).length;
  return [plural(sets.filter((set) => !set.missing).length, "complete set"), plural(models.length, "file"),
          bytes(models.reduce((sum, file) => sum + sizeOf(file), 0)),
          numDamaged > 0 && `${numDamaged} cannot be read`].filter(Boolean).join(" · ");
}

export function mount(root) {
  const told = h("p", {class: "muted", role: "status"}, "Looking…");
  const folder = h("code", {class: "muted"});
  const body = h("div", {class: "stack"});
  const rescan = h("button", {type: "button", onclick: () => load(true)}, "Rescan");

  async function load(isRescan) {
    rescan.disabled = true;
    try {
      // The names that a job may say are kept by the server: they are looked up anew as well.
      if (isRescan) await post("/sdapi/v1/refresh-checkpoints");
      const answer = await get("/ingot/v1/models");
      folder.textContent = answer.models_dir;
      fill(body, show(answer));
      told.textContent = summary(answer);
    } catch (error) {
      told.textContent = error.message;
    }
    rescan.disabled = false;
  }

  root.append(h("div", {class: "stack"},
                h("div", {class: "spread"}, h("div", {}, h("h1", {}, title), folder),
                  h("div", {class: "spread"}, told, rescan)), body));
  load(false);
}
