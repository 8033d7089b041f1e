// How much memory Ingot may use: a setting of the server, for everybody; shown as such.
import {ApiError, get, put} from "./api.js";
import {field, h, toast} from "./dom.js";
import {listen} from "./events.js";
import {bytes} from "./format.js";

const kPositions = 1000;
const kStep = 16 * 2 ** 20;

// The lower end matters more: the slider's positions are cubes.
const bytesAt = (position, most, least) => {
  const count = least + (most - least) * (position / kPositions) ** 3;
  return Math.min(most, Math.round(count / kStep) * kStep);
};
const positionOf = (count, most, least) => Math.round(kPositions * Math.cbrt(Math.max(0, (count - least) / (most - least))));

// onPreview(bytes): the reader moves the slider, nothing is set yet. onChange(): the server has it.
export class MemorySetting {
  constructor({onPreview, onChange}) {
    this.onChange = onChange;
    this.slider = h("input", {type: "range", min: 0, max: kPositions, step: 1, oninput: () => {
      this.#say(this.#chosen());
      onPreview(this.#chosen());
    }, onchange: () => this.set(this.#chosen())});
    this.value = h("output", {class: "number"});
    this.free = h("button", {type: "button", class: "quiet-button small", onclick: () => this.set(null)}, "Leave it to the machine");
    this.node = h("div", {class: "stack tight"},
      field("Memory Ingot may use", this.slider, {aside: this.value, hint: [
        "A setting of the server, from the next job on. Less makes a job slower, never dead. ",
        "It is Forge's “GPU Weights” seen whole: you say what all may hold, the plan divides it."]}),
      h("div", {}, this.free));
    this.stopListening = listen(["budget", "online"], () => this.read());
    this.read();
  }

  async read() {
    try { this.#take(await get("/ingot/v1/memory")); } catch { /* told by the shell */ }
  }

  async set(memoryBytes) {
    try {
      this.#take(await put("/ingot/v1/memory", {memory_bytes: memoryBytes}));
      this.onChange();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      toast(error.message, {kind: "error"});
      this.read();
    }
  }

  #take(memory) {
    this.most = Math.max(memory.machine_bytes, memory.memory_bytes);
    this.least = memory.server_share_bytes + kStep;
    this.memory = memory;
    this.slider.value = positionOf(memory.memory_bytes, this.most, this.least);
    this.free.disabled = memory.limited_by !== "--memory";
    this.#say(memory.memory_bytes);
  }

  #chosen() {
    return bytesAt(Number(this.slider.value), this.most, this.least);
  }

  #say(count) {
    const text = `${bytes(count)} of ${bytes(this.most)}`;
    this.value.textContent = text;
    this.slider.setAttribute("aria-valuetext", text);
  }
}
