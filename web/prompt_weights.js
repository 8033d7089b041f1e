// Ctrl+Up and Ctrl+Down in a prompt: the weight of what is selected, or of the word at the caret,
// as AUTOMATIC1111 writes it: (word:1.1).

const kStep = 0.1;

export function bindWeights(textarea) {
  textarea.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
    event.preventDefault();
    const {value, selectionStart, selectionEnd} = textarea;
    const change = reweighted(value, selectionStart, selectionEnd, event.key === "ArrowUp" ? kStep : -kStep);
    if (change === null) return;
    textarea.setRangeText(change.text, change.from, change.to);
    textarea.setSelectionRange(change.select[0], change.select[1]);
    textarea.dispatchEvent(new Event("input", {bubbles: true}));
  });
}

// What to put in the place of text[from, to), and what is selected then; null: nothing is there.
function reweighted(text, start, end, delta) {
  if (start === end) [start, end] = wordAt(text, start);
  if (start === end) return null;
  const around = /^:(\d+(?:\.\d+)?)\)/.exec(text.slice(end));
  const isWeighted = around !== null && text[start - 1] === "(";
  const weight = Math.round(((isWeighted ? Number(around[1]) : 1) + delta) * 100) / 100;
  if (weight < 0) return null;
  const from = isWeighted ? start - 1 : start;
  const to = isWeighted ? end + around[0].length : end;
  const inner = text.slice(start, end);
  if (weight === 1) return {from, to, text: inner, select: [from, from + inner.length]};
  return {from, to, text: `(${inner}:${weight})`, select: [from + 1, from + 1 + inner.length]};
}

function wordAt(text, caret) {
  const isWord = (character) => character !== undefined && !/[\s,.:;()[\]<>|]/.test(character);
  let start = caret, end = caret;
  while (isWord(text[start - 1])) --start;
  while (isWord(text[end])) ++end;
  return [start, end];
}
