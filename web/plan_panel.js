// What a plan holds, drawn: a bar a phase against the wall.
import {h} from "./dom.js";
import {bytes, duration} from "./format.js";

const tiers = [
  {name: "fixed", label: "program", of: (phase, plan) => plan.fixed_bytes},
  {name: "resident", label: "resident weights", of: (phase) => phase.resident_bytes},
  {name: "streamed", label: "weights streaming through", of: (phase) => phase.ring_bytes},
  {name: "activations", label: "activations", of: (phase) => phase.arena_bytes + phase.carried_bytes},
];

const phaseBytes = (phase, plan) => tiers.reduce((sum, tier) => sum + tier.of(phase, plan), 0);

export function predictedSeconds(plan) {
  const seconds = plan.phases.map((phase) => phase.predicted_s);
  return seconds.includes(null) ? null : seconds.reduce((sum, one) => sum + one, 0);
}

// A budget far away would make every bar a line: then the peak gives the scale and the wall is out
// of sight.
const kFarWall = 4;
function scaleOf(peak, budget) {
  return budget <= kFarWall * peak ? Math.max(budget, peak) * 1.02 : peak * 1.1;
}

// measured: of a record, adds the seconds that each phase took.
export function planBars(plan, budgetBytes, measured) {
  const scale = scaleOf(plan.peak_ram_bytes, budgetBytes ?? Infinity);
  const percent = (count) => `${(100 * count / scale).toFixed(2)}%`;
  const wall = () => budgetBytes <= scale && h("span", {class: "wall", style: {left: percent(budgetBytes)}});
  const seconds = new Map((measured?.phases ?? []).map((phase) => [phase.name, phase.seconds]));
  return h("div", {class: "phases", role: "table", "aria-label": "Memory by phase"},
    plan.phases.map((phase) => {
      const total = phaseBytes(phase, plan);
      const took = seconds.get(phase.name) ?? phase.predicted_s;
      const parts = tiers.map((tier) => ({...tier, count: tier.of(phase, plan)})).filter(({count}) => count > 0);
      return h("div", {role: "row", class: "phase"},
        h("span", {role: "cell"}, phase.name),
        h("span", {role: "cell", class: "bar-cell"},
          h("span", {class: "visually-hidden"}, parts.map(({label, count}) => `${label} ${bytes(count)}`).join(", ")),
          h("span", {class: "bar", "aria-hidden": true},
            parts.map(({name, label, count}) => h("span", {class: `tier-${name}`, title: `${label}: ${bytes(count)}`, style: {width: percent(count)}})), wall())),
        h("span", {role: "cell", class: "number"}, bytes(total)),
        h("span", {role: "cell", class: "number muted"}, took === null || took === undefined ? "" : duration(took)));
    }));
}

export function tierLegend() {
  return h("p", {class: "legend"}, tiers.map(({name, label}) => h("span", {}, h("i", {class: `tier-${name}`}), label)));
}
