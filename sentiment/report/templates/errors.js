// What the page on errors adds: attention by layer and head, drawn when its box is opened.

const attention = JSON.parse(document.getElementById("attention").textContent);
const STEPS = 999;

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function element(name, text, weight, title) {
  const made = document.createElement(name);
  made.textContent = text;
  if (weight !== undefined) made.style.setProperty("--weight", String(weight));
  if (title !== undefined) made.title = title;
  return made;
}

/** Shade each token between the least and the most attended one: differences are what one wants to see. */
function showTokens(box, tokens, view) {
  const least = Math.min(...view.received);
  const marked = tokens.flatMap((token, place) => {
    const shade = least === STEPS ? 0 : (view.received[place] - least) / (STEPS - least);
    const share = (view.received[place] / STEPS) * view.largest;
    return [element("span", token, shade.toFixed(3), `${percent(share)} of the attention`), " "];
  });
  box.querySelector(".tokens").replaceChildren(...marked);
}

/** Draw the map of a short review: row attends to column. */
function showMap(box, tokens, view) {
  const place = box.querySelector(".map");
  if (view.weights === null) {
    place.replaceChildren(element("p", "The map of token by token is shown for short reviews only."));
    place.firstChild.className = "note";
    return;
  }
  const table = document.createElement("table");
  const head = table.createTHead().insertRow();
  head.append(element("th", ""), ...tokens.map((token) => element("th", token)));
  const body = table.createTBody();
  const largest = Math.max(...view.weights.flat());
  view.weights.forEach((weights, from) => {
    const row = body.insertRow();
    row.append(element("th", tokens[from]));
    weights.forEach((weight, to) => {
      row.append(element("td", "", weight / largest, `${tokens[from]} → ${tokens[to]}: ${percent(weight / STEPS)}`));
    });
  });
  const note = element("p", "Each row shows where one token looks.");
  note.className = "note";
  place.replaceChildren(note, table);
}

for (const box of document.querySelectorAll("details.attention")) {
  const { tokens, views } = attention[box.dataset.review];
  const choice = box.querySelector("select");
  const show = () => {
    showTokens(box, tokens, views[choice.value]);
    showMap(box, tokens, views[choice.value]);
  };
  choice.addEventListener("change", show);
  box.addEventListener("toggle", () => box.open && show());
}
