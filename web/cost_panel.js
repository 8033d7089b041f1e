// The cost before the click: the plan of what the form says, asked anew as it changes; where the job
// does not fit, the change that would, as a button.
import {ApiError, post} from "./api.js";
import {fill, h} from "./dom.js";
import {bytes, duration} from "./format.js";
import {planBars, predictedSeconds, tierLegend} from "./plan_panel.js";

const kPauseMs = 200;  // of typing

export class CostPanel {
  #timer = 0;
  #asked = null;
  #memoryBytes = null;
  #answer = null;

  // onResolved(job): every default written out. onChange(change): the reader has taken an offer.
  constructor({onResolved, onChange}) {
    this.onResolved = onResolved;
    this.onChange = onChange;
    this.line = h("p", {class: "cost-line", role: "status"}, "…");
    this.offers = h("div", {class: "stack", hidden: true});
    this.details = h("section", {class: "panel stack", "aria-label": "Cost"});
  }

  // `memoryBytes`: what-if of another budget than the one in force.
  ask(job, memoryBytes = null) {
    this.job = job;
    this.#memoryBytes = memoryBytes;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#send(), this.#answer === null ? 0 : kPauseMs);
  }

  again() {
    if (this.job) this.ask(this.job);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#asked?.abort();
  }

  async #send() {
    this.#asked?.abort();
    const asked = this.#asked = new AbortController();
    const body = {job: this.job};
    if (this.#memoryBytes !== null) body.memory_bytes = this.#memoryBytes;
    try {
      const answer = await post("/ingot/v1/plan", body, {signal: asked.signal});
      this.#answer = answer;
      if (answer.plan) this.#show(answer);
      else this.#refuse(answer);
      this.onResolved(answer.job);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof ApiError)) throw error;
      this.#fail(error.message);
    }
  }

  #show({plan, budget}) {
    const seconds = predictedSeconds(plan);
    const inTime = seconds === null ? "" : ` · about ${duration(seconds)}`;
    this.line.classList.remove("bad");
    fill(this.line, h("strong", {}, bytes(plan.peak_ram_bytes)), ` of ${bytes(budget.ram_bytes)} at the peak${inTime}`);
    this.offers.hidden = true;
    fill(this.details,
         h("div", {class: "spread"}, h("h2", {}, "What the next picture costs"),
           h("span", {class: "muted small"}, `peak ${bytes(plan.peak_ram_bytes)} · may use ${bytes(budget.ram_bytes)} (${budget.ram_limited_by})`)),
         planBars(plan, budget.ram_bytes), tierLegend(),
         h("details", {}, h("summary", {class: "muted small"}, "Why so"),
           h("ul", {class: "small"}, plan.explanation.map((line) => h("li", {}, line)))));
  }

  #refuse({job, budget, refusal}) {
    const enough = refusal.changes.find((change) => change.memory_bytes)?.memory_bytes;
    this.#fail(`Even the smallest plan takes more than the ${bytes(budget.ram_bytes)} that the job may use` +
               (enough ? `: Ingot would need ${bytes(enough)} in all.` : "."));
    fill(this.line, "Does not fit");
    this.offers.hidden = refusal.changes.length === 0;
    fill(this.offers, h("div", {class: "chips"}, refusal.changes.map((change) => (
        h("button", {type: "button", class: "offer", onclick: () => this.onChange(change)}, changeLabel(change, job))))));
  }

  #fail(message) {
    this.line.classList.add("bad");
    fill(this.line, message);
    this.offers.hidden = true;
    fill(this.details, h("h2", {}, "What the next picture costs"), h("p", {class: "notice error"}, message));
  }
}

function changeLabel({memory_bytes, width, height, batch}, job) {
  if (memory_bytes) return `Let Ingot use ${bytes(memory_bytes)}`;
  const size = width !== job.width || height !== job.height ? `Make it ${width} × ${height}` : "";
  const one = batch !== job.batch ? "one picture at a time" : "";
  return [size, one].filter(Boolean).join(", ").replace(/^o/, "O");
}
