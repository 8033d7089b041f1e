// What happens on the server: one stream for the whole page, resumed where it broke.

// Of types "online" and "offline" are the stream's own: the connection came or went. After
// "online" a listener reads anew what it shows: the server may be another than before.
const kTypes = ["queued", "moved", "started", "plan", "phase", "step", "preview", "memory", "requeued", "done",
                "failed", "cancelled", "quarantined", "removed", "restored", "budget", "hashed", "worker"];

const listeners = new Map();
let source = null;
let isOnline = false;

// handler({job_id, …data}) until the returned function is called.
export function listen(type, handler) {
  for (const one of [].concat(type)) {
    if (!listeners.has(one)) listeners.set(one, new Set());
    listeners.get(one).add(handler);
  }
  if (source === null) open();
  return () => { for (const one of [].concat(type)) listeners.get(one).delete(handler); };
}

export const online = () => isOnline;

function tell(type, data) {
  for (const handler of [...(listeners.get(type) ?? [])]) handler(data, type);
}

// The browser resumes by itself with Last-Event-ID, except where it gives up (a server that refuses
// while it starts): then a new source begins.
function open() {
  source = new EventSource("/ingot/v1/events");
  source.addEventListener("open", () => { isOnline = true; tell("online", {}); });
  source.addEventListener("error", () => {
    if (isOnline) tell("offline", {});
    isOnline = false;
    if (source.readyState === EventSource.CLOSED) setTimeout(open, 1000);
  });
  for (const type of kTypes) {
    source.addEventListener(type, (event) => tell(type, JSON.parse(event.data)));
  }
}
