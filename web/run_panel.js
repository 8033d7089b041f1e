// The job that runs, or the last that has ended: picture, step, time left, memory.
import {del, get} from "./api.js";
import {fill, h, toast} from "./dom.js";
import {listen} from "./events.js";
import {duration, plural} from "./format.js";
import {MemoryChart} from "./memory_chart.js";

export class RunPanel {
  #stops = [];
  #job = null;      // as GET jobs/{id} gives it
  #seen = 0;        // changes with each job shown: what arrives late is dropped

  constructor({onDone}) {
    this.onDone = onDone;
    this.chart = new MemoryChart();
    this.picture = h("div", {class: "stage"});
    this.bar = h("div", {});
    this.progress = h("div", {class: "progress", role: "progressbar", "aria-label": "Progress", "aria-valuemin": 0, "aria-valuemax": 100}, this.bar);
    this.status = h("p", {role: "status"});
    this.cancelButton = h("button", {type: "button", class: "danger", hidden: true, onclick: () => this.cancel()}, "Cancel", h("kbd", {class: "small muted"}, "Esc"));
    this.node = h("section", {class: "panel stack", "aria-label": "Picture"},
      this.picture, this.progress, h("div", {class: "spread"}, this.status, this.cancelButton), this.chart.node);
    this.#stops = [
      listen("online", () => this.read()),
      listen("offline", () => this.#say("The server does not answer; it is tried again.")),
      listen("started", ({job_id}) => this.#begin(job_id)),
      listen("phase", (event) => this.#of(event) && this.#phase(event.phase)),
      listen("step", (event) => this.#of(event) && this.#step(event)),
      listen("preview", (event) => this.#of(event) && this.#preview(event.png)),
      listen("plan", (event) => this.#of(event) && this.chart.begin(event.plan)),
      listen("memory", (event) => this.#of(event) && this.chart.add(event)),
      listen("requeued", (event) => this.#of(event) && this.#say("The worker died; the job is tried again.")),
      listen(["done", "failed", "cancelled", "quarantined"], (event) => this.#of(event) && this.#end(event.job_id)),
    ];
    this.read();
  }

  stop() {
    for (const stop of this.#stops) stop();
  }

  get isRunning() {
    return this.#job?.state === "running";
  }

  // What runs now, else the last picture: also after a reload or a lost connection.
  async read() {
    const seen = ++this.#seen;
    try {
      const running = await get("/ingot/v1/jobs?state=running&limit=1");
      const page = running.jobs.length > 0 ? running : await get("/ingot/v1/jobs?state=done&limit=1");
      if (seen !== this.#seen) return;
      if (page.jobs.length === 0) this.#empty();
      else if (page.jobs[0].state === "running") this.#showRunning(page.jobs[0]);
      else this.#showEnded(page.jobs[0]);
    } catch { /* told by the stream */ }
  }

  async cancel() {
    if (!this.isRunning) return;
    try { await del(`/ingot/v1/jobs/${this.#job.id}`); } catch (error) { toast(error.message, {kind: "error"}); }
  }

  #of({job_id}) {
    return this.#job?.id === job_id;
  }

  async #begin(id) {
    const seen = ++this.#seen;
    this.#showRunning({id, state: "running", plan: null, job: {}});
    try {
      const job = await get(`/ingot/v1/jobs/${id}`);
      if (seen !== this.#seen) return;
      if (job.state === "running") {
        this.#job = job;
        this.chart.begin(job.plan);
        this.#frame(job.job);
      } else this.#end(id);
    } catch { /* told by the stream */ }
  }

  #showRunning(job) {
    this.#job = job;
    this.chart.begin(job.plan);
    this.cancelButton.hidden = false;
    this.#progressAt(0);
    this.#frame(job.job);
    this.#say("Starting");
    if (job.progress?.memory) this.chart.add({...job.progress.memory, elapsed_s: job.progress.elapsed_s});
    if (job.progress?.num_steps > 0) this.#step(job.progress);
    else if (job.progress) this.#phase(job.progress.phase);
  }

  // A frame of the picture's shape, so that nothing jumps when it comes.
  #frame({width, height}) {
    if (!width || this.picture.querySelector("img.preview")) return;
    fill(this.picture, h("div", {class: "frame", style: {"aspect-ratio": `${width} / ${height}`, "--width": `${width}px`}}));
  }

  #preview(png) {
    let image = this.picture.querySelector("img.preview");
    if (image === null) {
      const {width, height} = this.#job.job;
      if (!width) return;
      image = h("img", {class: "preview", alt: "Preview of the picture that is being made", style: {"aspect-ratio": `${width} / ${height}`, "--width": `${width}px`}});
      fill(this.picture, image);
    }
    image.src = `data:image/png;base64,${png}`;
  }

  #phase(phase) {
    const texts = {plan: "Planning", clip: "Reading the prompt (CLIP)", t5: "Reading the prompt (T5)", hoist: "Preparing all steps", sampling: "Sampling", decode: "Decoding the picture", save: "Saving the picture"};
    this.#say(texts[phase] ?? phase);
  }

  #step({step, num_steps, eta_s}) {
    this.#progressAt(step / num_steps);
    this.#say(`Step ${step} of ${num_steps}${eta_s > 0 ? ` · ${duration(eta_s)} left` : ""}`);
  }

  #progressAt(share) {
    this.progress.hidden = false;
    this.bar.style.width = `${100 * share}%`;
    this.progress.setAttribute("aria-valuenow", Math.round(100 * share));
  }

  async #end(id) {
    const seen = ++this.#seen;
    this.#rest();
    try {
      const job = await get(`/ingot/v1/jobs/${id}`);
      if (seen === this.#seen) this.#showEnded(job);
      this.onDone(job);
    } catch { /* told by the stream */ }
  }

  #showEnded(job) {
    this.#job = job;
    this.#rest();
    if (job.state === "done") {
      fill(this.picture, h("div", {class: job.images.length > 1 ? "pictures" : null}, job.images.map((image) => (
        h("a", {href: `#gallery?job=${job.id}`, "aria-label": `Open picture of seed ${image.seed} in the gallery`},
          h("img", {class: "result", src: image.url, alt: job.job.prompt || "Picture without a prompt", style: {"aspect-ratio": `${job.job.width} / ${job.job.height}`, "--width": `${job.job.width}px`}}))))));
      const seed = job.images.length > 1 ? plural(job.images.length, "picture") : `Seed ${job.images[0]?.seed}`;
      this.#say(`${seed} · ${duration(job.finished - job.started)}`);
    } else if (job.state === "cancelled") {
      this.#empty("Cancelled");
    } else {
      fill(this.picture, h("p", {class: "notice error"}, job.error ?? job.state));
      this.#say(job.state === "quarantined" ? "Set aside: it made the worker die" : "Failed");
    }
  }

  #empty(text = "") {
    this.#rest();
    fill(this.picture, h("p", {class: "muted"}, "The picture will be here."));
    this.#say(text);
  }

  #rest() {
    this.cancelButton.hidden = true;
    this.progress.hidden = true;
  }

  #say(text) {
    this.status.textContent = text;
  }
}
