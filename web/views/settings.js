// Settings: the options that exist, the server's state and log. Where a picture's own values are asked
// for, Create has them.
import { get, post } from "../api.js";
import { h } from "../dom.js";
import { bytes, seconds } from "../format.js";

export const title = "Settings";

const REFRESH_MS = 5000;
const KINDS = { vae: "VAE", clip: "CLIP-L text encoder", t5: "T5 text encoder" };

const nameOf = (path) => path.slice(path.lastIndexOf("/") + 1);
const holds = (file, kind) => file.components.some((part) => part.component === kind);

// Options of /sdapi/v1/options that change something; the rest are there for clients to read.
function optionFields(options, files) {
  const namesOf = (kind) => files.filter((file) => holds(file, kind)).map((file) => nameOf(file.path));
  const modules = options.forge_additional_modules.map(nameOf);
  const moduleOf = (kind) => modules.find((name) => namesOf(kind).includes(name)) ?? "";
  const chosen = new Map(Object.entries(KINDS).map(([key, kind]) => [key, moduleOf(kind)]));
  const moduleField = (key, label) => ({
    label,
    note: "Found in the folder: the first that fits the model.",
    value: chosen.get(key),
    choices: [["", "Found in the folder"], ...namesOf(KINDS[key]).map((name) => [name, name])],
    change(value) {
      chosen.set(key, value);
      return { forge_additional_modules: [...chosen.values()].filter(Boolean) };
    },
  });
  const checkpoint = options.sd_model_checkpoint.replace(/ \[[0-9a-f]+\]$/, "");
  const one = (key) => (value) => ({ [key]: value });
  return [
    {
      label: "Model", value: nameOf(checkpoint), change: one("sd_model_checkpoint"),
      note: "Of requests that name none.",
      choices: namesOf("Flux transformer").map((name) => [name, name]),
    },
    moduleField("vae", "VAE"),
    moduleField("clip", "CLIP text encoder"),
    moduleField("t5", "T5 text encoder"),
    {
      label: "Noise", value: options.randn_source, change: one("randn_source"),
      note: "NV repeats the noise of an NVIDIA card, for seeds of pictures that were made there.",
      choices: [["CPU", "CPU"], ["NV", "NV"]],
    },
    {
      label: "Inference memory, MB", value: options.forge_inference_memory, type: "number",
      note: "Memory that weights leave free, as in Forge. Changes speed, never the picture; 1024 is no limit.",
      change: (value) => ({ forge_inference_memory: Number(value) }),
    },
  ];
}

function optionField(field, idx, save) {
  const id = `option-${idx}`;
  const onchange = (event) => save(field.label, field.change(event.target.value));
  const attributes = { id, onchange, "aria-describedby": `${id}-note` };
  return h("div", { class: "field" },
    h("label", { for: id }, field.label),
    field.choices
      ? h("select", attributes, field.choices.map(([value, text]) =>
        h("option", { value, selected: value === field.value }, text)))
      : h("input", { ...attributes, type: field.type, min: 0, step: 1, value: field.value }),
    h("p", { class: "note", id: `${id}-note` }, field.note));
}

function factList(pairs) {
  return h("dl", { class: "facts" },
    pairs.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function stateFacts(health, memory, version) {
  const healthy = health.status === "ok";
  return factList([
    ["Health", h("span", { class: healthy ? "good" : "bad" },
      healthy ? "ok" : `${health.status}, for ${seconds(health.worker_dead_s)}`)],
    ["Version", `${version.version}, numerics ${version.numerics}`],
    ["Jobs", `${health.running ? 1 : 0} running, ${health.queued} waiting`],
    ["Memory in use", bytes(memory.server_rss_bytes + memory.worker_rss_bytes + memory.planner_rss_bytes)],
    ["of these", `worker ${bytes(memory.worker_rss_bytes)}, planner ${bytes(memory.planner_rss_bytes)}, ` +
      `server ${bytes(memory.server_rss_bytes)}`],
    ["Memory it may use", `${bytes(memory.memory_bytes)} (${memory.limited_by})`],
  ]);
}

export function mount(root) {
  const told = h("p", { role: "status", class: "note" });
  const options = h("div", { class: "fields" }, "Looking…");
  const state = h("div", {}, "Looking…");
  let isMounted = true;

  const tell = (text, isBad) => {
    told.textContent = text;
    told.classList.toggle("bad", Boolean(isBad));
  };

  async function save(label, change) {
    try {
      await post("/sdapi/v1/options", change);
      tell(`${label}: saved.`);
    } catch (error) {
      tell(error.message, true);
      loadOptions();
    }
  }

  async function loadOptions() {
    const [values, answer] = await Promise.all([get("/sdapi/v1/options"), get("/ingot/v1/models")]);
    if (!isMounted) return;
    options.replaceChildren(
      ...optionFields(values, answer.models).map((field, idx) => optionField(field, idx, save)));
  }

  async function loadState() {
    const [health, memory, version] =
      await Promise.all([get("/healthz"), get("/ingot/v1/memory"), get("/ingot/v1/version")]);
    if (isMounted) state.replaceChildren(stateFacts(health, memory, version));
  }

  async function act(label, path) {
    try {
      await post(path, {});
      tell(`${label}: done.`);
      loadState();
    } catch (error) {
      tell(error.message, true);
    }
  }

  const failed = (place) => (error) => { if (isMounted) place.textContent = error.message; };
  const refresh = () => loadState().catch(failed(state));
  const button = (label, path) =>
    h("button", { type: "button", onclick: () => act(label, path) }, label);

  root.append(
    h("header", { class: "view-head" }, h("h1", {}, title)),
    told,
    h("section", { "aria-labelledby": "defaults" },
      h("h2", { id: "defaults" }, "Defaults of the Forge API"),
      h("p", { class: "note" }, "For programs that use ", h("code", {}, "/sdapi/v1"),
        ". This page sends its own values. Saved at once."),
      options),
    h("section", { "aria-labelledby": "server" },
      h("h2", { id: "server" }, "Server"),
      state,
      h("div", { class: "buttons" },
        button("Unload models", "/sdapi/v1/unload-checkpoint"),
        h("a", { class: "button", href: "/docs" }, "All routes"),
        h("a", { class: "button", href: "/metrics" }, "Metrics"))));
  loadOptions().catch(failed(options));
  refresh();
  const timer = setInterval(refresh, REFRESH_MS);
  return () => {
    isMounted = false;
    clearInterval(timer);
  };
}
