import {h} from "../dom.js";

export const title = "Gallery";

export function mount(root) {
  root.append(h("h1", {}, title));
}
