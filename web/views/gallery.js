// Gallery: every picture of the history, found by prompt, model and day; jobs without one, and why.
import {get} from "../api.js";
import {field, fill, fillSelect, h} from "../dom.js";
import {plural, stem} from "../format.js";
import {Lightbox} from "../lightbox.js";
import {PictureGrid} from "../picture_grid.js";
import {TileList} from "../tile_list.js";

export const title = "Gallery";

const kSearchPauseMs = 200;
const kStates = [{value: "done", label: "Pictures"}, {value: "failed", label: "Failed"},
                 {value: "cancelled", label: "Cancelled"}, {value: "quarantined", label: "Given up"}];

// A day of the reader's own calendar, "2026-11-24" → seconds since 1970 where it begins.
function dayBegin(text, numDays = 0) {
  if (!text) return undefined;
  const [year, month, day] = text.split("-").map(Number);
  return new Date(year, month - 1, day + numDays).getTime() / 1000;
}

export function mount(root, params) {
  const count = h("p", {role: "status", class: "muted count"});
  const search = h("input", {type: "search", placeholder: "Words of the prompt", value: params.search ?? ""});
  const model = h("select", {});
  const from = h("input", {type: "date", value: params.from ?? ""});
  const to = h("input", {type: "date", value: params.to ?? ""});
  const state = fillSelect(h("select", {}), kStates, params.state ?? "done");
  const clear = h("button", {type: "button", class: "quiet-button", onclick: reset}, "Clear");
  const nothing = h("div", {class: "nothing", hidden: true});
  const models = new Set(params.model ? [params.model] : []);

  const list = new TileList(draw);
  const lightbox = new Lightbox(list, {onClose: (index) => { if (list.total > 0) grid.focus(index); }});
  const grid = new PictureGrid(list, {onOpen: (index) => lightbox.open(index), onRemove: (index) => remove(index)});

  async function remove(index) {
    const tile = list.at(index);
    if (!tile) return;
    await list.remove(tile.job);
    if (list.total > 0) grid.focus(index);
  }

  const values = () => ({state: state.value, search: search.value.trim(), model: model.value, from: from.value, to: to.value});
  const isFiltered = () => Object.values({...values(), state: state.value === "done" ? "" : "x"}).some(Boolean);

  function apply() {
    const {state, search, model, from, to} = values();
    const kept = Object.entries({state: state === "done" ? "" : state, search, model, from, to}).filter(([, value]) => value);
    history.replaceState(null, "", kept.length > 0 ? `#gallery?${new URLSearchParams(kept)}` : "#gallery");
    list.set({state, search, model, since: dayBegin(from), until: dayBegin(to, 1)});
    scrollTo(0, 0);
    grid.reset();
  }

  function reset() {
    search.value = from.value = to.value = model.value = "";
    state.value = "done";
    apply();
    search.focus();
  }

  function fillModels() {
    fillSelect(model, [{value: "", label: "All models"}, ...[...models].sort().map((value) => ({value}))], model.value || (params.model ?? ""));
  }

  // The job that a link named, as soon as its page is here.
  let linked = params.job;
  function openLinked() {
    const index = list.indexOf(linked);
    if (index < 0 && list.size < list.total) return list.want(list.size);
    linked = undefined;
    lightbox.open(index);
  }

  function draw() {
    const before = models.size;
    for (const {model} of list.jobs) if (model) models.add(model);
    if (models.size !== before) fillModels();
    clear.hidden = !isFiltered();
    const thing = state.value === "done" ? "picture" : "job";
    count.textContent = list.total === null ? "" : plural(list.total, thing).replace(/^\d+/, (digits) => Number(digits).toLocaleString());
    grid.draw();
    lightbox.listChanged();
    if (linked && list.total !== null) openLinked();
    nothing.hidden = list.total !== 0 && !list.error;
    if (nothing.hidden) return;
    if (list.error) fill(nothing, h("p", {class: "notice error"}, list.error.message));
    else if (isFiltered()) fill(nothing, h("h2", {}, `No such ${thing}`), h("button", {type: "button", onclick: reset}, "Show all pictures"));
    else fill(nothing, h("h2", {}, "No pictures yet"), h("p", {class: "muted"}, "What this page or a program makes stays here with its record."), h("a", {class: "button", href: "#create"}, "Make one"));
  }

  let timer = 0;
  search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(apply, kSearchPauseMs); });
  for (const control of [model, from, to, state]) control.addEventListener("change", apply);
  fillModels();
  get("/sdapi/v1/sd-models").then((files) => { for (const file of files) models.add(stem(file.filename)); fillModels(); }).catch(() => {});

  root.append(
    h("h1", {class: "visually-hidden"}, title),
    h("form", {class: "row filters", role: "search", "aria-label": "Pictures", onsubmit: (event) => event.preventDefault()},
      field("Search", search), field("Model", model), field("From", from), field("To", to), field("Show", state), clear, count),
    grid.node, nothing, lightbox.node);
  apply();
  return () => { clearTimeout(timer); list.stop(); grid.stop(); lightbox.stop(); };
}
