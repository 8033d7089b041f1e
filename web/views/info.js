import {h} from "../dom.js";

export const title = "PNG Info";

export function mount(root) {
  root.append(h("h1", {}, title));
}
