// One picture, large, with its whole record.
import {get} from "./api.js";
import {fill, h, toast} from "./dom.js";
import {bytes, duration, stem, time} from "./format.js";
import {stateName} from "./picture_grid.js";
import {planBars, tierLegend} from "./plan_panel.js";
import {pictureUrl} from "./tile_list.js";
import {verify} from "./verify.js";

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied.`);
  } catch {
    toast("The browser copies over HTTPS or on this machine only.", {kind: "error"});
  }
}

const row = (name, value) => value !== null && value !== undefined && value !== "" && [h("dt", {}, name), h("dd", {}, value)];
const section = (name, aside, ...children) => h("section", {class: "stack tight", "aria-label": name}, h("div", {class: "spread"}, h("h3", {}, name), aside), children);
const copyButton = (text, what) => h("button", {type: "button", class: "quiet-button", onclick: () => copy(text, what)}, "Copy");

export class Lightbox {
  #tile = null;   // {job, n}: job as the list has it
  #record = null; // as GET jobs/{id} gives it
  #index = -1;
  #turn = 0;
  #stopVerify = null;

  // list: TileList. onClose(index): the tile that was seen last.
  constructor(list, {onClose}) {
    this.list = list;
    this.toasts = document.getElementById("toasts");  // would be beneath a modal dialog
    this.image = h("img", {alt: "", draggable: "false"});
    this.stage = h("div", {class: "lightbox-stage", onclick: () => this.zoom()}, this.image);
    this.place = h("span", {class: "muted small", "aria-live": "polite"});
    this.zoomButton = h("button", {type: "button", "aria-pressed": "false", onclick: () => this.zoom()}, "Full size");
    const icon = (label, onclick, text) => h("button", {type: "button", class: "icon-button", "aria-label": label, onclick}, text);
    this.previous = icon("Previous picture", () => this.open(this.#index - 1), "←");
    this.next = icon("Next picture", () => this.open(this.#index + 1), "→");
    this.closeButton = icon("Close", () => this.node.close(), "×");
    this.side = h("div", {class: "lightbox-record stack"});
    this.node = h("dialog", {class: "lightbox", "aria-label": "Picture", onkeydown: (event) => this.#key(event)},
      h("div", {class: "lightbox-bar"}, this.previous, this.next, this.place, h("span", {class: "space"}), this.zoomButton, this.closeButton),
      this.stage, this.side);
    this.node.addEventListener("close", () => { this.stop(); onClose(this.#index); });
  }

  stop() {
    this.#leave();
    document.body.append(this.toasts);
  }

  open(index) {
    const tile = this.list.at(index);
    if (tile) this.#show(tile, index);
  }

  // Pictures came or went before and behind it; it itself may have gone elsewhere.
  listChanged() {
    if (!this.node.open || this.#tile === null) return;
    const index = this.list.indexOf(this.#tile.job.id, this.#tile.n);
    if (index >= 0) this.#index = index;
    else if (this.list.total === 0) return this.node.close();
    else return this.open(Math.min(this.#index, this.list.total - 1));
    this.#drawPlace();
  }

  #leave() {
    ++this.#turn;
    this.#stopVerify?.();
    this.#stopVerify = null;
  }

  #drawPlace() {
    const total = this.list.total ?? 0;
    this.place.textContent = `${(this.#index + 1).toLocaleString()} of ${total.toLocaleString()}`;
    this.previous.disabled = this.#index <= 0;
    this.next.disabled = this.#index + 1 >= total;
    // A button that is disabled takes the focus with it, and the keys no longer come here.
    if (this.node.open && (document.activeElement.disabled || !this.node.contains(document.activeElement))) this.closeButton.focus();
  }

  async #show(tile, index) {
    this.#leave();
    const turn = this.#turn;
    this.#tile = tile;
    this.#index = index;
    this.#setZoom(false);
    const {job, n} = tile;
    if (job.num_images > 0) {
      this.image.src = pictureUrl(tile);
      this.image.alt = job.prompt || "No prompt";
      fill(this.stage, this.image);
    } else {
      fill(this.stage, h("div", {class: "notice error"}, h("strong", {}, `${stateName(job.state)}. `), job.error ?? "The job ended without a picture."));
    }
    this.zoomButton.hidden = job.num_images === 0;
    fill(this.side, h("p", {class: "muted"}, "…"));
    if (!this.node.open) {
      this.node.append(this.toasts);
      this.#drawPlace();
      this.node.showModal();
    }
    this.#drawPlace();
    this.list.want(index + 1);
    try {
      this.#record = await get(`/ingot/v1/jobs/${job.id}`);
    } catch (error) {
      if (turn === this.#turn) fill(this.side, h("p", {class: "notice error", role: "alert"}, error.message));
      return;
    }
    if (turn === this.#turn) this.#drawRecord(n);
    const neighbour = this.list.at(index + 1);
    if (neighbour?.job.num_images > 0) new Image().src = pictureUrl(neighbour);
  }

  #drawRecord(n) {
    const {job, images, plan, measured, started, finished, accepted, state, error} = this.#record;
    const image = images[n];
    const result = h("p", {role: "status", hidden: true});
    this.download = image && h("a", {class: "button", href: image.url, download: `ingot-${image.seed}.png`}, "Download");
    const check = h("button", {type: "button", onclick: () => this.#verify(check, result, n)}, "Verify");
    const files = job.files ?? {};
    fill(this.side,
      h("div", {class: "stack tight"}, h("h2", {class: "prompt"}, job.prompt || "No prompt"),
        job.negative_prompt && h("p", {class: "muted"}, `Not: ${job.negative_prompt}`)),
      h("div", {class: "actions"},
        h("a", {class: "button primary", href: `#create?job=${this.#record.id}`, onclick: () => this.node.close()}, "Use these settings"),
        image && check, this.download,
        h("button", {type: "button", class: "danger", onclick: () => this.#remove()}, "Delete")),
      result,
      error && h("p", {class: "notice error"}, error),
      h("dl", {}, row("Model", stem(files.diffusion ?? "")), row("Size", `${job.width} × ${job.height}`),
        row("Steps", job.steps), row("Sampler", `${job.sampler}, ${job.scheduler}`), row("Guidance", job.guidance), row("CFG", job.cfg === 1 ? null : job.cfg),
        row("Eta", job.eta), row("Seed", String(image?.seed ?? job.seed)), row("Batch", job.batch > 1 ? `picture ${n + 1} of ${job.batch}` : null), row("Noise", job.rng?.toUpperCase()), row("Precision", job.precision),
        row("VAE", stem(files.vae ?? "")), row("CLIP", stem(files.clip ?? "")), row("T5", stem(files.t5 ?? "")),
        row("State", state === "done" ? null : stateName(state)), row("Made", time(finished ?? accepted)), row("Took", started && finished ? duration(finished - started) : null)),
      plan && section("Memory by phase", null, planBars(plan, Infinity, measured), tierLegend(), measured && h("p", {class: "small muted"}, peaks(plan, measured))),
      image && section("SHA-256 of the pixels", copyButton(image.sha256, "Hash"), h("pre", {}, image.sha256)),
      image && section("Text in the file", copyButton(image.infotext, "Text"), h("pre", {}, image.infotext)));
    this.side.scrollTop = 0;
  }

  async #verify(button, result, n) {
    button.disabled = true;
    result.hidden = false;
    const say = (text, kind = "") => { result.className = `notice ${kind}`; fill(result, text); };
    const checking = verify(this.#record, n, say);
    this.#stopVerify = checking.stop;
    await checking.done;
    button.disabled = false;
  }

  async #remove() {
    await this.list.remove(this.#tile.job);
  }

  // To full size, and back to what fits.
  zoom() {
    if (this.#tile.job.num_images === 0) return;
    this.#setZoom(!this.stage.classList.contains("zoomed"));
    const {scrollWidth, clientWidth, scrollHeight, clientHeight} = this.stage;
    this.stage.scrollTo((scrollWidth - clientWidth) / 2, (scrollHeight - clientHeight) / 2);
  }

  #setZoom(isLarge) {
    this.stage.classList.toggle("zoomed", isLarge);
    this.zoomButton.setAttribute("aria-pressed", String(isLarge));
  }

  #key(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const acts = {ArrowLeft: () => this.previous.click(), ArrowRight: () => this.next.click(), z: () => this.zoom(), s: () => this.download?.click(), Delete: () => this.#remove()};
    if (!(event.key in acts)) return;
    event.preventDefault();
    acts[event.key]();
  }
}

function peaks(plan, measured) {
  const sum = (key) => measured.phases.reduce((total, phase) => total + (phase[key] ?? 0), 0);
  const kept = (count) => count > 0 ? `, ${bytes(count)} kept of earlier jobs beside it` : "";
  const vram = plan.peak_vram_bytes > 0 ? ` VRAM: ${bytes(measured.peak_vram_bytes)} measured, ${bytes(plan.peak_vram_bytes)} planned${kept(measured.kept_vram_bytes)}.` : "";
  const streamed = sum("streamed_bytes") > 0 ? ` ${bytes(sum("streamed_bytes"))} streamed, ${duration(sum("stalled_s"))} waited for.` : "";
  return `Peak: ${bytes(measured.peak_ram_bytes)} measured, ${bytes(plan.peak_ram_bytes)} planned${kept(measured.kept_bytes)}.${vram}${streamed}`;
}
