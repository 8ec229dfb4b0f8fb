// What the live report adds: it follows the sweep, and asks it to stop. Everything is asked of the page's own server.

const PAUSE_MS = 2000;
const ANSWER_MS = 30000;

/** What a person did to the page, by where: it is done again to the parts that replace the old ones. */
function notePerson() {
  const headings = [...document.querySelectorAll("th[aria-sort]")];
  return {
    sorted: headings.map((th) => [th.closest("table").id, th.title, th.ariaSort]),
    open: [...document.querySelectorAll("details[open] table")].map((table) => table.id),
    hidden: [...document.querySelectorAll('.legend button[aria-pressed="false"]')].map((button) => [
      button.closest(".chart").id,
      button.dataset.series,
    ]),
    scrolled: [...document.querySelectorAll(".scroll")].map((box) => [box.getAttribute("aria-label"), box.scrollTop, box.scrollLeft]),
    focused: document.activeElement?.id,
    answer: document.getElementById("answer").textContent,
    height: scrollY,
  };
}

function redo(person) {
  for (const [table, title, order] of person.sorted) {
    const heading = [...document.querySelectorAll(`#${table} th`)].find((th) => th.title === title);
    if (heading === undefined) continue;
    sortBy(heading);
    if (order === "descending") sortBy(heading);
  }
  for (const table of person.open) document.getElementById(table)?.closest("details")?.setAttribute("open", "");
  for (const [label, top, left] of person.scrolled) {
    const box = [...document.querySelectorAll(".scroll")].find((one) => one.getAttribute("aria-label") === label);
    box?.scrollTo({ top, left, behavior: "instant" });
  }
  document.getElementById("answer").textContent = person.answer;
  if (person.focused) document.getElementById(person.focused)?.focus({ preventScroll: true });
  scrollTo({ top: person.height, behavior: "instant" });
}

function hideAgain(person) {
  for (const [chart, series] of person.hidden) {
    for (const button of document.querySelectorAll(`#${chart} .legend button[aria-pressed="true"]`)) {
      if (button.dataset.series === series) toggleSeries(button);
    }
  }
}

/** Take the text and figures of the page as it is now; plots that are drawn already stay, and get the new figures. */
async function renew() {
  const fresh = new DOMParser().parseFromString(await (await ask("now")).text(), "text/html");
  const person = notePerson();
  for (const panel of fresh.querySelectorAll(".panel")) {
    const drawn = document.getElementById(panel.id);
    if (drawn?.on) panel.replaceWith(document.adoptNode(drawn));
  }
  for (const part of ["header", "main", "#figures"]) {
    document.querySelector(part).replaceWith(document.adoptNode(fresh.querySelector(part)));
  }
  redo(person);
  await drawAll();
  hideAgain(person);
}

async function ask(address, options = {}) {
  const answer = await fetch(address, { cache: "no-store", ...options });
  if (!answer.ok) throw new Error((await answer.text()).slice(0, 500));
  return answer;
}

function say(id, text) {
  const place = document.getElementById(id);
  if (place.textContent !== text) place.textContent = text;
}

async function follow() {
  try {
    const state = await (await ask("state")).json();
    // A person who marks text to copy it keeps it: the page waits.
    if (state.mark !== document.getElementById("live").dataset.mark && getSelection().isCollapsed) await renew();
    say("standing", state.standing);
  } catch (error) {
    const isGone = error instanceof TypeError; // what fetch throws when nobody answers
    say("standing", isGone ? "The command that serves this page has ended: it shows the last state." : error.message);
  }
  setTimeout(follow, PAUSE_MS);
}

async function stop(trial) {
  const question = trial === undefined ? "Stop the study after its running trials?" : `End trial ${trial} as pruned?`;
  if (!confirm(question)) return; // the buttons change as trials end: not the one that came under the mouse
  const body = JSON.stringify(trial === undefined ? {} : { trial: Number(trial) });
  try {
    const answer = await ask("stop", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    say("answer", await answer.text());
  } catch (error) {
    say("answer", error.message);
  }
  setTimeout(() => say("answer", ""), ANSWER_MS);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("#live button");
  if (button !== null) stop(button.dataset.trial);
});
root.addEventListener("drawn", () => setTimeout(follow, PAUSE_MS), { once: true });
