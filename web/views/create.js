// Create: the form, its cost, the picture as it comes, the queue.
import {ApiError, get, post} from "../api.js";
import {CostPanel} from "../cost_panel.js";
import {h, toast} from "../dom.js";
import {listen} from "../events.js";
import {JobForm} from "../job_form.js";
import {MemorySetting} from "../memory_setting.js";
import {QueuePanel} from "../queue_panel.js";
import {RunPanel} from "../run_panel.js";

export const title = "Create";

const kTokensPauseMs = 250;
// By which another view hands over settings: #create?from=info.
const kHandedOver = "create.job";

export function mount(root, params) {
  const generate = h("button", {type: "submit", class: "primary generate"}, "Generate", h("kbd", {class: "small"}, "Ctrl+Enter"));
  const cost = new CostPanel({onResolved: (job) => form.show(job), onChange: take});
  const form = new JobForm({onChange: (job) => { cost.ask(job); countTokens(job); }, onSubmit: submit});
  const memory = new MemorySetting({onPreview: (bytes) => cost.ask(form.job(), bytes), onChange: () => cost.again()});
  const run = new RunPanel({onDone: (job) => { form.lastSeed = job.images[0]?.seed ?? form.lastSeed; cost.again(); }});
  const queue = new QueuePanel();
  form.node.append(h("div", {class: "action"}, generate, cost.line, cost.offers));

  async function submit() {
    try {
      await post("/ingot/v1/jobs", {job: form.job()});
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, {kind: "error"});
    }
  }

  // What would fit, as the refusal offers it.
  function take(change) {
    if (change.memory_bytes) memory.set(change.memory_bytes);
    else form.update(change);
  }

  let tokensTimer = 0;
  function countTokens({prompt, model}) {
    clearTimeout(tokensTimer);
    tokensTimer = setTimeout(async () => {
      try { form.showTokens(await post("/ingot/v1/tokens", model ? {prompt, model} : {prompt})); } catch { form.showTokens(null); }
    }, kTokensPauseMs);
  }

  async function readChoices() {
    try {
      const [models, choices] = await Promise.all([get("/ingot/v1/models"), get("/ingot/v1/choices")]);
      form.setModels(models);
      form.setChoices(choices);
    } catch { /* told by the shell */ }
  }

  async function takeParams() {
    if (params.from === "info") {
      const handed = sessionStorage.getItem(kHandedOver);
      if (handed) form.set(JSON.parse(handed));
    } else if (params.job) {
      try { form.set((await get(`/ingot/v1/jobs/${encodeURIComponent(params.job)}`)).job); } catch (error) { toast(error.message, {kind: "error"}); }
    } else if (params.model) form.update({model: params.model});
    else return;
    history.replaceState(null, "", "#create");
  }

  function onKey(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); submit(); }
    if (event.key === "Escape" && run.isRunning) run.cancel();
  }

  root.append(
    h("div", {class: "stack form-column"}, h("div", {class: "panel"}, form.node), h("div", {class: "panel"}, memory.node)),
    h("div", {class: "stack"}, h("h1", {class: "visually-hidden"}, title), run.node, queue.node, cost.details));
  document.addEventListener("keydown", onKey);
  const stopListening = listen("online", () => { readChoices(); cost.again(); });
  readChoices();
  takeParams().then(() => { cost.ask(form.job()); countTokens(form.job()); });

  return () => {
    document.removeEventListener("keydown", onKey);
    stopListening();
    memory.stopListening();
    run.stop();
    queue.stop();
    cost.stop();
    clearTimeout(tokensTimer);
  };
}
