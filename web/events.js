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
  open();
  return () => { for (const one of [].concat(type)) listeners.get(one).delete(handler); };
}

export const online = () => isOnline;

function tell(type, data) {
  for (const handler of [...(listeners.get(type) ?? [])]) handler(data, type);
}

// The browser resumes by itself with Last-Event-ID, except where it gives up (a server that refuses
// while it starts): then a new source begins. A tab that nobody sees holds no stream: browsers have
// six connections to a server, for all tabs together.
function open() {
  if (source !== null || document.hidden) return;
  const mine = source = new EventSource("/ingot/v1/events");
  mine.addEventListener("open", () => { isOnline = true; tell("online", {}); });
  mine.addEventListener("error", () => {
    const wasOnline = isOnline;
    isOnline = false;
    if (wasOnline) tell("offline", {});
    if (mine.readyState !== EventSource.CLOSED || mine !== source) return;
    source = null;
    setTimeout(open, 1000);
  });
  for (const type of kTypes) {
    mine.addEventListener(type, (event) => tell(type, JSON.parse(event.data)));
  }
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) {
    if (listeners.size > 0) open();
    return;
  }
  source?.close();
  source = null;
});
