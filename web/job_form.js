// The form of a job. It holds what the reader has set, and nothing else: what is left alone is the
// model's own, shown in grey as the server resolves it. Kept in this browser; no setting of memory
// is among it.
import {field, fillSelect, h} from "./dom.js";
import {stem} from "./format.js";
import {bindWeights} from "./prompt_weights.js";

const kStored = "create.job";
const kAspects = [[1, 1], [4, 3], [3, 2], [16, 9]];
const kSizeStep = 16;

// Keys of a job that belong to the form; a record has more (files, numerics).
const kKeys = ["model", "prompt", "negative_prompt", "width", "height", "steps", "batch", "seed", "sampler",
               "scheduler", "cfg", "guidance", "precision"];

const stored = () => { try { return JSON.parse(localStorage.getItem(kStored)) ?? {}; } catch { return {}; } };

// onChange(job) after each change; onSubmit() when the reader asks for the picture.
export class JobForm {
  #job = stored();
  #resolved = {};
  #controls = new Map();
  #onChange;
  lastSeed = null;

  constructor({onChange, onSubmit}) {
    this.#onChange = onChange;
    this.tokens = h("span", {class: "hint", "aria-live": "polite"});
    this.modelNote = h("p", {class: "hint", hidden: true});
    this.node = h("form", {class: "stack", "aria-label": "Settings of the picture",
                           onsubmit: (event) => { event.preventDefault(); onSubmit(); }},
      field("Model", this.#control("model", h("select"))), this.modelNote,
      field("Prompt", this.#prompt("prompt", 5, "What the picture shows"), {aside: this.tokens}),
      this.#negative(), this.#size(),
      h("div", {class: "row"}, this.#number("steps", "Steps", {min: 1}),
        this.#number("cfg", "CFG", {min: 1, step: 0.5}),
        this.guidance = this.#number("guidance", "Guidance", {min: 0, step: 0.1})),
      h("div", {class: "row"}, field("Sampler", this.#control("sampler", h("select"))),
        field("Schedule", this.#control("scheduler", h("select")))),
      h("div", {class: "row"}, this.#seed(), this.#number("batch", "Pictures", {min: 1})),
      field("Precision", fillSelect(this.#control("precision", h("select")), [
        {value: "fast", label: "Fast: attention in int8"}, {value: "default", label: "Default"},
        {value: "exact", label: "Exact: all in f32"}], "default")));
    this.#draw();
  }

  job() {
    return {...this.#job, prompt: this.#job.prompt ?? ""};
  }

  // Takes the settings of a job: a record's, a picture's. Its seed too.
  set(job) {
    const model = job.model ?? job.files?.diffusion;
    this.#job = Object.fromEntries(Object.entries({...job, model}).filter(
        ([key, value]) => kKeys.includes(key) && value !== null && value !== undefined));
    if (model) this.#job.model = model.split("/").pop();
    this.#changed();
    this.#draw();
  }

  update(changes) {
    Object.assign(this.#job, changes);
    this.#changed();
    this.#draw();
  }

  setModels({sets}) {
    const name = (path) => path.split("/").pop();
    const options = sets.map((set) => ({set, value: name(set.diffusion), label: stem(set.diffusion)}))
        .sort((a, b) => Boolean(a.set.missing) - Boolean(b.set.missing) || a.label.localeCompare(b.label));
    this.sets = options;
    fillSelect(this.#controls.get("model"), options.map(({set, value, label}) => (
        {value, label: set.missing ? `${label} (incomplete)` : label})), this.#job.model ?? "");
    this.#draw();
  }

  setChoices({samplers, schedulers, limits}) {
    for (const key of ["width", "height"]) {
      Object.assign(this.#controls.get(key), {min: limits.min_side, max: limits.max_side, step: limits.side_multiple});
    }
    Object.assign(this.#controls.get("steps"), {max: limits.max_steps});
    Object.assign(this.#controls.get("batch"), {max: limits.max_batch});
    Object.assign(this.#controls.get("cfg"), {max: limits.max_cfg});
    Object.assign(this.#controls.get("guidance"), {max: limits.max_guidance});
    fillSelect(this.#controls.get("sampler"), samplers.map(({name}) => ({value: name})), "");
    fillSelect(this.#controls.get("scheduler"), schedulers.filter(({name}) => name !== "automatic")
        .map(({label}) => ({value: label})), "");
    this.#draw();
  }

  // What the server makes of the job: every default written out.
  show(resolved) {
    this.#resolved = {...resolved, model: resolved.files.diffusion.split("/").pop()};
    this.#draw();
  }

  showTokens(counts) {
    this.tokens.textContent = counts ? `${counts.t5} T5 · ${counts.clip} CLIP tokens` : "";
  }

  // Above its CFG of 1 a step runs twice, and the negative prompt counts.
  get usesNegative() {
    return (this.#value("cfg") ?? 1) > 1;
  }

  #value(key) {
    return this.#job[key] ?? this.#resolved[key];
  }

  #changed() {
    localStorage.setItem(kStored, JSON.stringify(this.#job));
    this.#onChange(this.job());
  }

  // Empty: the model's own again.
  #control(key, node) {
    const read = () => {
      const text = node.value;
      if (text === "") delete this.#job[key];
      else if (node.type === "number") {
        if (!node.checkValidity()) return;
        this.#job[key] = Number(text);
      } else this.#job[key] = text;
      this.#draw();
      this.#changed();
    };
    node.name = key;
    node.addEventListener(node.tagName === "SELECT" ? "change" : "input", read);
    node.addEventListener("blur", () => this.#draw());
    this.#controls.set(key, node);
    return node;
  }

  #number(key, label, {min, step = 1} = {}) {
    return field(label, this.#control(key, h("input", {type: "number", min, step, inputmode: "decimal"})));
  }

  #prompt(key, rows, placeholder) {
    const node = this.#control(key, h("textarea", {rows, placeholder, spellcheck: "true"}));
    bindWeights(node);
    return node;
  }

  #negative() {
    const node = this.#prompt("negative_prompt", 2, "What it does not show");
    this.negativeNote = h("span", {class: "hint"}, "counts when CFG is above 1");
    return field("Negative prompt", node, {aside: this.negativeNote});
  }

  #size() {
    const turn = () => this.update({width: this.#value("height"), height: this.#value("width")});
    this.aspects = kAspects.map(([across, down]) => h("button", {
      type: "button", "aria-pressed": "false", dataset: {across, down},
      onclick: () => this.#shape(across, down)}, `${across}:${down}`));
    return h("div", {class: "stack tight"},
      h("div", {class: "row"}, this.#number("width", "Width"),
        h("button", {type: "button", class: "icon-button", "aria-label": "Swap width and height", title: "Swap width and height", onclick: turn}, "⇄"),
        this.#number("height", "Height")),
      h("div", {class: "chips", role: "group", "aria-label": "Shape"}, this.aspects));
  }

  // Another shape of the same area; upright where the picture is.
  #shape(across, down) {
    const width = this.#value("width") ?? 512, height = this.#value("height") ?? 512;
    if (height > width) [across, down] = [down, across];
    const side = Math.sqrt(width * height / (across * down));
    const snap = (length) => Math.max(64, Math.round(length / kSizeStep) * kSizeStep);
    this.update({width: snap(side * across), height: snap(side * down)});
  }

  #seed() {
    const node = this.#control("seed", h("input", {type: "number", min: 0, max: 4294967295, placeholder: "random"}));
    return field("Seed", h("div", {class: "joined"}, node,
      h("button", {type: "button", class: "icon-button", "aria-label": "Random seed", title: "Random seed",
                   onclick: () => { delete this.#job.seed; this.#changed(); this.#draw(); }}, "⚄"),
      h("button", {type: "button", class: "icon-button", "aria-label": "Seed of the last picture", title: "Seed of the last picture",
                   onclick: () => { if (this.lastSeed !== null) this.update({seed: this.lastSeed}); }}, "♻")), {control: node});
  }

  #draw() {
    for (const [key, node] of this.#controls) {
      const isSet = this.#job[key] !== undefined;
      node.classList.toggle("is-default", !isSet);
      if (node === document.activeElement && node.tagName !== "SELECT") continue;
      const value = isSet ? this.#job[key] : key === "seed" ? "" : this.#resolved[key] ?? "";
      if (String(node.value) !== String(value)) node.value = value;
    }
    const negative = this.#controls.get("negative_prompt");
    negative.disabled = !this.usesNegative;
    this.negativeNote.hidden = this.usesNegative;
    const ratio = (this.#value("width") ?? 1) / (this.#value("height") ?? 1);
    for (const button of this.aspects) {
      const own = button.dataset.across / button.dataset.down;
      const isOwn = Math.min(Math.abs(ratio / own - 1), Math.abs(ratio * own - 1)) < 0.04;
      button.setAttribute("aria-pressed", String(isOwn));
    }
    const chosen = this.sets?.find(({value}) => value === this.#value("model"));
    this.guidance.hidden = chosen?.set.defaults.guidance === null;
    this.modelNote.hidden = !chosen?.set.missing;
    this.modelNote.textContent = chosen?.set.missing ?? "";
  }
}
