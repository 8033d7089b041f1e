// What waits: in order, to be moved and cancelled one by one.
import {ApiError, del, get, patch} from "./api.js";
import {fill, h, toast} from "./dom.js";
import {listen} from "./events.js";
import {plural} from "./format.js";

const kShown = 100;

export class QueuePanel {
  #seen = 0;

  constructor() {
    this.list = h("ol", {class: "queue"});
    this.heading = h("h2", {});
    this.node = h("section", {class: "panel stack", hidden: true, "aria-label": "Queue"}, this.heading, this.list);
    this.stop = listen(["online", "queued", "started", "moved", "requeued", "cancelled", "failed", "done", "quarantined"], () => this.read());
    this.read();
  }

  async read() {
    const seen = ++this.#seen;
    let page;
    try { page = await get(`/ingot/v1/jobs?state=queued&limit=${kShown}`); } catch { return; }
    if (seen !== this.#seen) return;
    const focused = document.activeElement?.closest?.(".queue [data-key]")?.dataset.key;
    this.node.hidden = page.num_total === 0;
    this.heading.textContent = `${plural(page.num_total, "job")} waiting`;
    fill(this.list, page.jobs.sort((a, b) => a.position - b.position).map((job) => this.#item(job, page.num_total)));
    if (focused) this.list.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  #item({id, position, job}, numQueued) {
    const name = job.prompt || "no prompt";
    const button = (key, text, label, run, disabled) => h("button", {
      type: "button", class: "icon-button quiet-button", "aria-label": `${label}: ${name}`, title: label, disabled,
      dataset: {key: `${id}-${key}`}, onclick: () => this.#act(run)}, text);
    const move = (to) => () => patch(`/ingot/v1/jobs/${id}`, {position: to});
    return h("li", {},
      h("span", {class: "queue-name"}, name),
      h("span", {class: "muted small"}, `${job.width}×${job.height} · ${plural(job.steps, "step")}`),
      h("span", {class: "queue-buttons"},
        button("first", "⤒", "Make it next", move(0), position === 0),
        button("up", "↑", "Earlier", move(position - 1), position === 0),
        button("down", "↓", "Later", move(position + 1), position + 1 === numQueued),
        button("cancel", "×", "Cancel", () => del(`/ingot/v1/jobs/${id}`))));
  }

  async #act(run) {
    try { await run(); } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, {kind: "error"});
    }
    this.read();
  }
}
