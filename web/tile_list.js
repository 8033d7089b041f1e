// The pictures of a filter, newest first: pages are fetched in order, as far as they are looked at.
import {del, get, post} from "./api.js";
import {toast} from "./dom.js";
import {listen} from "./events.js";

const kPageJobs = 200;  // the most that the server gives

export const pictureUrl = ({job, n}, size) => `/ingot/v1/jobs/${job.id}/images/${n}${size ? `?size=${size}` : ""}`;

// A job without pictures is one tile.
const numTiles = (job) => Math.max(1, job.num_images);
const tilesOf = (job) => Array.from({length: numTiles(job)}, (_, n) => ({job, n}));

export class TileList {
  #filter = {};
  #tiles = [];      // {job, n}: of all pages so far
  #wanted = 0;      // tiles that somebody looks at
  #isWhole = false;
  #turn = 0;        // of the filter: answers for an earlier one are dropped
  #isLoading = false;
  #loading = null;  // settles when the pages on their way are here
  #stops;

  // onChange: tiles came or went, or their number is another.
  constructor(onChange) {
    this.onChange = onChange;
    this.total = null;  // null: not known yet
    this.error = null;
    this.#stops = [
      listen("online", () => this.set(this.#filter)),
      listen(["done", "failed", "cancelled", "quarantined", "restored"], ({job_id}) => this.#take(job_id)),
      listen("removed", ({job_id}) => this.#drop(job_id)),
    ];
  }

  stop() {
    ++this.#turn;
    for (const stop of this.#stops) stop();
  }

  // {state, search, model, since, until}
  set(filter) {
    ++this.#turn;
    this.#filter = filter;
    this.#tiles = [];
    this.#isWhole = this.#isLoading = false;
    this.#load(true);
  }

  at(index) { return this.#tiles[index]; }
  indexOf(id, n = 0) { return this.#tiles.findIndex((tile) => tile.job.id === id && tile.n === n); }
  get size() { return this.#tiles.length; }
  get jobs() { return new Set(this.#tiles.map(({job}) => job)); }

  // Says that tiles up to `index` are looked at.
  want(index) {
    this.#wanted = Math.max(this.#wanted, index + 1);
    this.#load(false);
  }

  #query(more) {
    const given = Object.entries({...this.#filter, fields: "brief", ...more}).filter(([, value]) => value !== "" && value !== undefined);
    return `/ingot/v1/jobs?${new URLSearchParams(given)}`;
  }

  #count(page) {
    this.total = this.#filter.state === "done" ? page.num_images : page.num_total;
  }

  #load(isFirst) {
    if (this.#isLoading) return;
    this.#isLoading = true;
    if (isFirst) this.#wanted = 1;
    this.#loading = this.#loadPages(this.#turn);
  }

  async #loadPages(turn) {
    try {
      while (!this.#isWhole && this.#tiles.length < this.#wanted) {
        const before = this.#tiles.at(-1)?.job.id;
        const page = await get(this.#query({before, limit: kPageJobs}));
        if (turn !== this.#turn) return;
        this.#tiles.push(...page.jobs.flatMap(tilesOf));
        this.#isWhole = page.jobs.length < kPageJobs;
        this.#count(page);
        this.error = null;
        this.onChange();
      }
    } catch (error) {
      if (turn !== this.#turn) return;
      this.error = error;
      this.onChange();
    } finally {
      if (turn === this.#turn) this.#isLoading = false;
    }
  }

  // A job that ended or came back, to its place: it may be older than others, and may not match.
  async #take(id) {
    const turn = this.#turn;
    let page;
    try {
      await this.#loading;  // a page on its way may have it or not
      page = await get(this.#query({before: `${id}~`, limit: 1}));
    } catch { return; }  // told by the stream
    if (turn !== this.#turn) return;
    this.#count(page);
    const job = page.jobs[0];
    if (job?.id === id && this.indexOf(id) < 0) {
      const found = this.#tiles.findIndex((tile) => tile.job.id < id);
      if (found >= 0) this.#tiles.splice(found, 0, ...tilesOf(job));
      else if (this.#isWhole) this.#tiles.push(...tilesOf(job));
    }
    this.onChange();
  }

  #drop(id) {
    const first = this.indexOf(id);
    if (first < 0) return;
    const count = numTiles(this.#tiles[first].job);
    this.#tiles.splice(first, count);
    this.total -= count;
    this.onChange();
  }

  // With all pictures of its job, as they are one record.
  async remove(job) {
    try {
      await del(`/ingot/v1/jobs/${job.id}`);
    } catch (error) {
      toast(error.message, {kind: "error"});
      return;
    }
    this.#drop(job.id);
    const what = job.num_images > 1 ? `${job.num_images} pictures of one job deleted.` : job.num_images === 1 ? "Picture deleted." : "Job deleted.";
    toast(what, {seconds: 30, action: {label: "Undo", run: async () => {
      try {
        await post(`/ingot/v1/jobs/${job.id}/restore`);
      } catch (error) { toast(error.message, {kind: "error"}); return; }
      this.#take(job.id);
    }}});
  }
}
