// Settings: the server's state, the options that exist, the log. What a picture is made with is asked in Create.
import {get, post} from "../api.js";
import {field, fill, fillSelect, h, toast, uniqueId} from "../dom.js";
import {bytes, duration, plural} from "../format.js";

export const title = "Settings";

const kRefreshMs = 5000;
const kMaxLines = 200;
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

function stateFacts({version, numerics, url, uptime_s, has_auth, has_tls, worker, jobs, memory, device, folders}) {
  const held = memory.server_rss_bytes + memory.worker_rss_bytes + memory.planner_rss_bytes;
  const facts = [
    ["Worker", [h("span", {class: `tag ${worker.alive ? "good" : "bad"}`}, worker.alive ? "alive" : "starts anew"),
                worker.num_deaths > 0 && ` died ${plural(worker.num_deaths, "time")}`]],
    ["Jobs", [`${jobs.running ? "1 runs" : "none runs"}, ${jobs.num_queued} waiting`, ` · since the start ${jobs.num_done} done`,
              jobs.num_failed > 0 && `, ${jobs.num_failed} failed`, jobs.num_cancelled > 0 && `, ${jobs.num_cancelled} cancelled`,
              jobs.num_quarantined > 0 && `, ${jobs.num_quarantined} set aside`]],
    ["Memory limit", `${bytes(memory.memory_bytes)} (${memory.limited_by})`],
    ["Memory held", `${bytes(held)} · worker ${bytes(memory.worker_rss_bytes)}, planner ${bytes(memory.planner_rss_bytes)}, server ${bytes(memory.server_rss_bytes)}`],
    ["Device", `${device.name}, ${plural(device.num_threads, "thread")}${device.vram_bytes ? `, ${bytes(device.vram_bytes)} of VRAM` : ""}`],
    ["Address", `${url} · ${has_auth ? "with" : "no"} password, ${has_tls ? "TLS" : "no TLS"}`],
    ["Folders", `models ${folders.models} · data ${folders.data}${folders.scratch ? ` · scratch ${folders.scratch}` : ""}`],
    ["Version", `${version}, numerics ${numerics}, up ${duration(uptime_s)}`],
  ];
  return h("dl", {}, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

// Lines of the server's own asking are not among them: what happened to jobs, and every fault.
const isTold = ({event, level}) => event !== undefined || level !== "info";

function logRow({time, level, event, method, path, status, job_id, request_id, ...more}) {
  const about = event === undefined ? {} : more;
  return h("tr", {},
           h("td", {class: "muted"}, new Date(time).toLocaleTimeString()),
           h("td", {}, h("span", {class: level === "info" ? "tag" : "tag bad"}, level)),
           h("td", {}, event ?? `${method} ${path} ${status}`),
           h("td", {}, job_id ? h("code", {}, job_id) : ""),
           h("td", {class: "muted"}, Object.entries(about).filter(([, value]) => value !== null && value !== "")
                                           .map(([key, value]) => `${key} ${value}`).join(", ")));
}

function panel(heading, aside, ...children) {
  const id = uniqueId("panel");
  return h("section", {class: "panel stack", "aria-labelledby": id},
           h("div", {class: "spread"}, h("h2", {id}, heading), aside), children);
}

export function mount(root) {
  const options = h("div", {class: "fields"});
  const state = h("div");
  const log = h("tbody");

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
  const readState = async () => {
    try {
      fill(state, stateFacts(await get("/ingot/v1/state")));
    } catch (error) {
      fill(state, h("p", {class: "notice error"}, error.message));
    }
  };
  const readLog = async () => {
    const {lines} = await get("/ingot/v1/logs?limit=1000");
    const told = lines.filter(isTold).slice(-kMaxLines).reverse();
    fill(log, told.length > 0 ? told.map(logRow) : h("tr", {}, h("td", {class: "muted"}, "Nothing has happened since the start.")));
  };
  const refresh = () => { readState(); readLog().catch(() => { /* told above */ }); };
  const unload = async () => {
    try {
      await post("/sdapi/v1/unload-checkpoint");
      toast("What was kept for the next job is gone from memory");
    } catch (error) {
      toast(error.message, {kind: "error"});
    }
    readState();
  };

  root.append(h("div", {class: "stack"},
    h("h1", {}, title),
    panel("Server", h("div", {class: "row"},
      h("button", {type: "button", onclick: unload}, "Unload models"),
      h("a", {class: "button", href: "/docs"}, "API"), h("a", {class: "button", href: "/metrics"}, "Metrics")), state),
    panel("Defaults of the Forge API", null,
      h("p", {class: "muted"}, "For programs that ask at ", h("code", {}, "/sdapi/v1"),
        " and leave these out; this page sends its own. A change holds for later jobs and survives a restart."),
      options),
    panel("Log", h("span", {class: "muted small"}, "Jobs and faults, the newest first"),
      h("div", {class: "log", role: "region", "aria-label": "Lines of the log", tabindex: 0}, h("table", {}, log)))));
  load().catch((error) => fill(options, h("p", {class: "notice error"}, error.message)));
  refresh();
  const timer = setInterval(refresh, kRefreshMs);
  return () => clearInterval(timer);
}
