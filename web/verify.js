// Makes a picture again from its record and compares the bytes.
import {del, get, post} from "./api.js";
import {listen} from "./events.js";

const kEnds = ["done", "failed", "cancelled", "quarantined"];

// record: as GET jobs/{id} gives it. say(text, kind): where it stands, in words. An equal copy
// is deleted again; another stays, to be looked at. stop() leaves the job to itself.
export function verify(record, n, say) {
  const image = record.images[n];
  const stops = [];
  let isOver = false, finish;
  const ended = new Promise((resolve) => { finish = resolve; });
  const stop = () => { isOver = true; finish(null); for (const one of stops) one(); };

  async function run() {
    if (!Number.isSafeInteger(image.seed)) {
      say("Its seed has more digits than a browser holds.", "error");
      return;
    }
    say("It is made again; this may wait for others…");
    let id = null;
    const look = async () => {
      if (id === null) return;
      const job = await get(`/ingot/v1/jobs/${id}`);
      if (kEnds.includes(job.state)) finish(job);
    };
    stops.push(listen(kEnds, ({job_id}) => { if (job_id === id) look().catch(() => {}); }),
               listen("online", () => look().catch(() => {})),
               listen("step", ({job_id, step, num_steps}) => { if (job_id === id && !isOver) say(`It is made again: step ${step} of ${num_steps}…`); }));
    // One picture of a batch is the same alone.
    id = (await post("/ingot/v1/jobs", {job: {...record.job, batch: 1, seed: image.seed}})).id;
    await look();
    const job = await ended;
    if (job === null) return;
    if (job.state !== "done") {
      say(`It could not be made again: ${job.error ?? job.state}`, "error");
    } else if (job.images[0].sha256 === image.sha256) {
      say("Equal: made again, every pixel is the same.", "good");
      await del(`/ingot/v1/jobs/${id}`).catch(() => {});
    } else {
      say("Not equal: made again, its pixels have another hash. A file has changed, or another Ingot made it. The new picture stays in the gallery.", "error");
    }
  }
  const done = run().catch((error) => say(error.message, "error")).finally(() => { for (const one of stops) one(); });
  return {done, stop};
}
