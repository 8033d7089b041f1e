// A live chart of memory by tier against the plan's line.
import {fill, h} from "./dom.js";
import {bytes, duration} from "./format.js";

const kWidth = 600, kHeight = 120, kPad = 4;

export class MemoryChart {
  #samples = [];

  constructor() {
    this.svg = h("svg", {viewBox: `0 0 ${kWidth} ${kHeight}`, preserveAspectRatio: "none", role: "img", class: "memory-chart"});
    this.caption = h("p", {class: "legend"});
    this.node = h("figure", {class: "stack tight", hidden: true}, this.svg, this.caption);
  }

  // A new job: its plan's peaks are the lines.
  begin(plan) {
    this.#samples = [];
    this.plan = plan;
    this.node.hidden = true;
  }

  // An event `memory`. What is kept for other jobs stands beside the plan: the line is above both.
  add(sample) {
    this.#samples.push(sample);
    // Twice as coarse when it is full: a job of hours stays a chart of some hundred points.
    if (this.#samples.length > 600) this.#samples = this.#samples.filter((_, index) => index % 2 === 0);
    this.#draw();
  }

  #draw() {
    const samples = this.#samples, last = samples[samples.length - 1];
    const planned = this.plan?.peak_ram_bytes ?? 0, plannedVram = this.plan?.peak_vram_bytes ?? 0;
    const wall = planned + last.kept_bytes, wallVram = plannedVram + last.kept_vram_bytes;
    const top = 1.12 * Math.max(wall, wallVram, ...samples.map((sample) => Math.max(sample.ram_bytes, sample.vram_bytes)));
    const first = samples[0].elapsed_s, span = Math.max(1, last.elapsed_s - first);
    const x = (sample) => kWidth * (sample.elapsed_s - first) / span;
    const y = (count) => kHeight - kPad - (kHeight - 2 * kPad) * count / top;
    const line = (key) => samples.map((sample) => `${x(sample).toFixed(1)},${y(sample[key]).toFixed(1)}`).join(" ");
    const level = (count, name) => count > 0 && h("line", {x1: 0, x2: kWidth, y1: y(count), y2: y(count), class: `plan-line ${name}`});
    fill(this.svg,
      h("polygon", {points: `0,${kHeight} ${line("ram_bytes")} ${x(last).toFixed(1)},${kHeight}`, class: "ram-area"}),
      h("polyline", {points: line("ram_bytes"), class: "ram-line"}),
      plannedVram > 0 && h("polyline", {points: line("vram_bytes"), class: "vram-line"}),
      level(wall, "ram"), level(wallVram, "vram"));
    const kept = (count) => count > 0 ? ` and ${bytes(count)} kept for other jobs` : "";
    const vram = plannedVram > 0 ? `, VRAM ${bytes(last.vram_bytes)} of ${bytes(plannedVram)}${kept(last.kept_vram_bytes)}` : "";
    const text = `${bytes(last.ram_bytes)} of ${bytes(planned)} planned${kept(last.kept_bytes)}${vram}`;
    this.svg.setAttribute("aria-label", `Memory now ${text}`);
    fill(this.caption,
      h("span", {}, h("i", {class: "tier-resident"}), `RAM ${text}`),
      h("span", {}, `streamed ${bytes(last.streamed_bytes)}`), h("span", {}, `waited for weights ${duration(last.stalled_s)}`));
    this.node.hidden = false;
  }
}
