// Settings: the options that exist, the server's state. What a picture is made with is asked in Create.
import {get, post} from "../api.js";
import {field, fill, fillSelect, h, toast} from "../dom.js";
import {bytes, duration} from "../format.js";

export const title = "Settings";

const kRefreshMs = 5000;
const kModules = [["VAE", "VAE"], ["CLIP", "CLIP-L text encoder"], ["T5", "T5 text encoder"]];
const kFound = {value: "", label: "Found in the folder"};

const nameOf = (path) => path.split("/").pop();

// The options of /sdapi/v1/options that change something; the rest are there for clients to read.
function optionFields(options, files, save) {
  const namesOf = (kind) => files.filter((file) => file.components.some(({component}) => component === kind))
                                 .map((file) => nameOf(file.path));
  const choose = (label, choices, value, change, hint) => {
    const select = fillSelect(h("select", {onchange: () => save(label, change(select.value))}), choices, value);
    return field(label, select, {hint});
  };
  const choices = (names) => names.map((value) => ({value}));
  const modules = options.forge_additional_modules.map(nameOf);
  const chosen = kModules.map(([, kind]) => modules.find((name) => namesOf(kind).includes(name)) ?? "");
  const memory = h("input", {
    type: "number", min: 0, step: 1, value: options.forge_inference_memory,
    onchange: () => save("Inference memory", {forge_inference_memory: Number(memory.value)})});
  return [
    choose("Model", choices(namesOf("Flux transformer")), nameOf(options.sd_model_checkpoint.replace(/ \[[0-9a-f]+\]$/, "")),
           (name) => ({sd_model_checkpoint: name}), "Of requests that name none."),
    ...kModules.map(([label, kind], idx) =>
      choose(label, [kFound, ...choices(namesOf(kind))], chosen[idx], (name) => {
        chosen[idx] = name;
        return {forge_additional_modules: chosen.filter(Boolean)};
      }, `The ${label} beside that model.`)),
    choose("Noise", choices(["CPU", "NV"]), options.randn_source, (name) => ({randn_source: name}),
           "NV repeats the noise of NVIDIA cards, for seeds of pictures that were made on one."),
    field("Inference memory, MB", memory,
          {hint: "What weights leave free, as in Forge. Changes speed, never the picture."}),
  ];
}

function stateFacts(health, memory, version) {
  const used = memory.server_rss_bytes + memory.worker_rss_bytes + memory.planner_rss_bytes;
  const facts = [
    ["Health", h("span", {class: `tag ${health.status === "ok" ? "good" : "bad"}`}, health.status)],
    ["Jobs", `${health.running ? "1 runs" : "none runs"}, ${health.queued} waiting`],
    ["Memory limit", `${bytes(memory.memory_bytes)}, by ${memory.limited_by}`],
    ["Memory held", `${bytes(used)}: worker ${bytes(memory.worker_rss_bytes)}, planner ` +
                    `${bytes(memory.planner_rss_bytes)}, server ${bytes(memory.server_rss_bytes)}`],
    ["Version", `${version.version}, numerics ${version.numerics}`],
  ];
  return h("dl", {}, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

export function mount(root) {
  const options = h("div", {class: "fields"});
  const state = h("div");

  const load = async () => {
    const [values, {models}] = await Promise.all([get("/sdapi/v1/options"), get("/ingot/v1/models")]);
    fill(options, optionFields(values, models, save));
  };
  const save = async (label, change) => {
    try {
      await post("/sdapi/v1/options", change);
      toast(`${label}: saved`);
    } catch (error) {
      toast(error.message, {kind: "error"});
      load().catch(() => {});
    }
  };
  const refresh = async () => {
    try {
      fill(state, stateFacts(...await Promise.all(["/healthz", "/ingot/v1/memory", "/ingot/v1/version"].map((path) => get(path)))));
    } catch (error) {
      fill(state, h("p", {class: "notice error"}, error.message));
    }
  };
  const unload = async () => {
    try {
      await post("/sdapi/v1/unload-checkpoint");
      toast("Memory that was kept for the next job is free");
    } catch (error) {
      toast(error.message, {kind: "error"});
    }
    refresh();
  };

  root.append(h("div", {class: "stack"},
    h("h1", {}, title),
    h("section", {class: "panel stack"},
      h("div", {class: "spread"}, h("h2", {}, "Server"),
        h("div", {class: "row"},
          h("button", {type: "button", onclick: unload}, "Unload models"),
          h("a", {class: "button", href: "/docs"}, "API"), h("a", {class: "button", href: "/metrics"}, "Metrics"))),
      state),
    h("section", {class: "panel stack"},
      h("h2", {}, "Defaults of the Forge API"),
      h("p", {class: "muted"}, "For programs that ask at ", h("code", {}, "/sdapi/v1"),
        " and leave these out; this page sends its own. A change holds for later jobs, and survives a restart."),
      options)));
  load().catch((error) => fill(options, h("p", {class: "notice error"}, error.message)));
  refresh();
  const timer = setInterval(refresh, kRefreshMs);
  return () => clearInterval(timer);
}
