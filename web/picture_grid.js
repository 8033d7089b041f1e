// A grid of many tiles with few nodes: only what is in sight, and a little around it.
import {h} from "./dom.js";
import {pictureUrl} from "./tile_list.js";

const kGap = 8;
const kRowsAround = 2;

export class PictureGrid {
  #nodes = new Map();  // by index
  #columns = 1;
  #side = 160;
  #active = 0;         // where the keys stand
  #frame = 0;

  // list: TileList. onOpen(index), onRemove(index).
  constructor(list, {onOpen, onRemove}) {
    this.list = list;
    this.onOpen = onOpen;
    this.onRemove = onRemove;
    this.node = h("div", {class: "picture-grid", role: "list", "aria-label": "Pictures", onkeydown: (event) => this.#key(event)});
    this.watch = new ResizeObserver(() => this.draw());
    this.watch.observe(this.node);
    this.onScroll = () => { this.#frame ||= requestAnimationFrame(() => { this.#frame = 0; this.draw(); }); };
    addEventListener("scroll", this.onScroll, {passive: true});
  }

  stop() {
    this.watch.disconnect();
    removeEventListener("scroll", this.onScroll);
    cancelAnimationFrame(this.#frame);
  }

  // All tiles may be others.
  reset() {
    for (const index of [...this.#nodes.keys()]) this.#forget(index);
    this.draw();
  }

  draw() {
    const width = this.node.clientWidth;
    const total = this.list.total ?? 0;
    if (width === 0) return;
    const least = width < 600 ? 104 : 168;
    this.#columns = Math.max(2, Math.floor((width + kGap) / (least + kGap)));
    this.#side = Math.floor((width - kGap * (this.#columns - 1)) / this.#columns);
    const step = this.#side + kGap;
    const numRows = Math.ceil(total / this.#columns);
    this.node.style.setProperty("height", `${Math.max(0, numRows * step - kGap)}px`);
    const top = -this.node.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / step) - kRowsAround) * this.#columns;
    const last = Math.min(total, (Math.ceil((top + innerHeight) / step) + kRowsAround) * this.#columns);
    if (last > first) this.list.want(last - 1);
    this.#active = Math.max(0, Math.min(this.#active, total - 1));
    const focused = [...this.#nodes].find(([, node]) => node.contains(document.activeElement))?.[0];
    for (const index of [...this.#nodes.keys()]) {
      if ((index < first || index >= last) && index !== focused || index >= total) this.#forget(index);
    }
    for (let index = first; index < last; ++index) this.#place(index, step);
    if (focused >= 0 && focused < total) this.#place(focused, step);
  }

  #forget(index) {
    const node = this.#nodes.get(index);
    node.querySelector("img")?.removeAttribute("src");  // what was not loaded is not wanted any more
    node.remove();
    this.#nodes.delete(index);
  }

  // Makes the tile of `index`, or keeps it where it shows the same.
  #place(index, step) {
    const tile = this.list.at(index);
    const key = tile ? `${tile.job.id}/${tile.n}` : "";
    let node = this.#nodes.get(index);
    if (node?.dataset.key !== key) {
      const hadFocus = node?.contains(document.activeElement);
      const fresh = this.#tile(tile, index, key);
      if (node) node.replaceWith(fresh);
      else this.#insert(fresh, index);
      node = fresh;
      this.#nodes.set(index, node);
      if (hadFocus) node.firstChild.focus({preventScroll: true});
    }
    const row = Math.floor(index / this.#columns), column = index % this.#columns;
    Object.assign(node.style, {transform: `translate(${column * step}px, ${row * step}px)`, width: `${this.#side}px`, height: `${this.#side}px`});
    node.setAttribute("aria-posinset", index + 1);
    node.setAttribute("aria-setsize", this.list.total);
    node.firstChild.tabIndex = index === this.#active ? 0 : -1;
  }

  // In the order of the list, so that Tab and screen readers go as the eye does.
  #insert(node, index) {
    const next = [...this.#nodes.keys()].filter((other) => other > index).sort((a, b) => a - b)[0];
    this.node.insertBefore(node, next === undefined ? null : this.#nodes.get(next));
  }

  #tile(tile, index, key) {
    const place = () => (tile ? this.list.indexOf(tile.job.id, tile.n) : index);
    const button = h("button", {type: "button", class: "tile", onclick: () => this.onOpen(place()), onfocus: () => this.#activate(place())});
    if (!tile) {
      button.setAttribute("aria-label", "Not loaded yet");
    } else if (tile.job.num_images > 0) {
      const size = this.#side * devicePixelRatio > 256 ? 512 : 256;
      const image = h("img", {src: pictureUrl(tile, size), alt: tile.job.prompt || "No prompt", decoding: "async", draggable: "false"});
      image.addEventListener("error", () => { if (image.src) image.replaceWith(h("span", {class: "tile-text"}, "The file is gone. ", tile.job.prompt)); });
      button.append(image);
    } else {
      button.append(h("span", {class: "tile-text"}, h("strong", {class: tile.job.state === "cancelled" ? "muted" : "bad"}, stateName(tile.job.state)),
                      h("span", {}, tile.job.error ?? tile.job.prompt)));
    }
    return h("div", {role: "listitem", dataset: {key}}, button);
  }

  #activate(index) {
    this.#active = index;
    for (const [other, node] of this.#nodes) node.firstChild.tabIndex = other === index ? 0 : -1;
  }

  // Moves the keys' place to `index` and into sight.
  focus(index) {
    index = Math.max(0, Math.min(index, (this.list.total ?? 0) - 1));
    const step = this.#side + kGap;
    const top = Math.floor(index / this.#columns) * step + this.node.getBoundingClientRect().top;
    const bar = 60;  // of the page's head, which stays
    if (index < this.#columns) scrollTo(0, 0);
    else if (top < bar) scrollBy(0, top - bar);
    else if (top + this.#side > innerHeight - kGap) scrollBy(0, top + this.#side + kGap - innerHeight);
    this.#active = index;
    this.draw();
    this.#nodes.get(index)?.firstChild.focus({preventScroll: true});
  }

  #key(event) {
    const moves = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.#columns, ArrowDown: this.#columns,
                   Home: -this.#active, End: this.list.total - 1 - this.#active};
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in moves) {
      event.preventDefault();
      if (this.#active + moves[event.key] >= 0) this.focus(this.#active + moves[event.key]);
    } else if (event.key === "Delete") {
      event.preventDefault();
      this.onRemove(this.#active);
    }
  }
}

export const stateName = (state) => ({done: "Done", failed: "Failed", cancelled: "Cancelled", quarantined: "Given up"})[state] ?? state;
