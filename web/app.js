// The shell: which view is shown, the state of the server, the theme.
import {get} from "./api.js";
import {fill, h} from "./dom.js";
import {listen, online} from "./events.js";
import {duration} from "./format.js";

const views = {
  create: () => import("./views/create.js"),
  gallery: () => import("./views/gallery.js"),
  info: () => import("./views/info.js"),
  models: () => import("./views/models.js"),
  settings: () => import("./views/settings.js"),
};

// #gallery?job=01m… → {name: "gallery", params: {job: "01m…"}}
function place() {
  const [name, query = ""] = location.hash.slice(1).split("?");
  return {name: name in views ? name : "create", params: Object.fromEntries(new URLSearchParams(query))};
}

let unmount = () => {};
let turn = 0;

async function show() {
  const {name, params} = place();
  const mine = ++turn;
  for (const link of document.querySelectorAll(".top-bar nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const main = document.getElementById("main");
  let view;
  try {
    view = await views[name]();
  } catch {
    fill(main, h("p", {class: "notice error", role: "alert"}, "This part of the page could not be loaded; the server does not answer."));
    return;
  }
  if (mine !== turn) return;  // another was asked for meanwhile
  unmount();
  main.replaceChildren();
  main.className = `view-${name}`;
  document.title = `${view.title} · Ingot`;
  unmount = view.mount(main, params) ?? (() => {});
}

// One line at the top, wherever the reader is: what runs, what waits, whether anyone is there.
function watchServer() {
  const badge = document.getElementById("server-state");
  let running = null, numQueued = 0;
  const draw = () => {
    const queue = numQueued > 0 ? ` · ${numQueued} queued` : "";
    badge.classList.toggle("busy", running !== null && online());
    badge.classList.toggle("gone", !online());
    if (!online()) badge.textContent = "No connection";  // also when an answer of before comes late
    else if (running === null) badge.textContent = `Idle${queue}`;
    else {
      const eta = running.eta_s > 0 ? ` · ${duration(running.eta_s)} left` : "";
      badge.textContent = running.num_steps > 0 ? `${running.step}/${running.num_steps}${eta}${queue}` : `${running.phase ?? "Starting"}${queue}`;
    }
  };
  const count = async () => {
    try {
      const page = await get("/ingot/v1/jobs?state=queued&limit=1");
      numQueued = page.num_total;
    } catch { return; }
    draw();
  };
  listen("online", () => { running = null; count(); });
  listen("offline", draw);
  listen(["queued", "started", "requeued", "done", "failed", "cancelled", "quarantined"], count);
  listen("started", () => { running = {}; draw(); });
  listen("phase", ({phase}) => { running = {phase}; draw(); });
  listen("step", (event) => { running = event; draw(); });
  listen(["done", "failed", "cancelled", "quarantined", "requeued"], ({job_id}) => {
    if (running !== null && (running.job_id ?? job_id) === job_id) running = null;
    draw();
  });
}

// Follows the system until the reader has chosen.
function watchTheme() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const draw = () => {
    const isDark = (localStorage.getItem("theme") ?? (system.matches ? "dark" : "light")) === "dark";
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    button.setAttribute("aria-pressed", String(isDark));
  };
  button.addEventListener("click", () => {
    localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    draw();
  });
  system.addEventListener("change", draw);
  draw();
}

// A picture dropped anywhere is asked what it holds.
function watchDrops() {
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const file = [...event.dataTransfer.files].find((one) => one.type.startsWith("image/"));
    if (!file) return;
    views.info().then((view) => { view.open(file); location.hash = "#info"; });
  });
}

watchTheme();
watchServer();
watchDrops();
addEventListener("hashchange", show);
show();
