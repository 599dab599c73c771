"use strict";
// Keeps the page of a target as it is now. Without this script it shows what was when it was opened.

(() => {
  const EVERY = 2000;
  const live = document.getElementById("live");
  const pause = document.getElementById("pause");
  const said = document.getElementById("watching");
  if (!live) return;
  let paused = false;
  let shown = "";

  function show(html) {
    if (html === shown) return;
    shown = html;
    // Whoever reads a table in the middle, or has gone there by keyboard, stays where they are.
    const regions = () => [...live.querySelectorAll("[role=region]")];
    const places = new Map(regions().map((each) => [each.ariaLabel, each.scrollLeft]));
    const inside = live.contains(document.activeElement) ? document.activeElement : null;
    const label = inside?.ariaLabel;
    const href = inside?.getAttribute("href");
    live.innerHTML = html;
    for (const each of regions()) {
      each.scrollLeft = places.get(each.ariaLabel) ?? 0;
      if (label && each.ariaLabel === label) each.focus({ preventScroll: true });
    }
    const links = href ? [...live.querySelectorAll("a")] : [];
    links.find((each) => each.getAttribute("href") === href)?.focus({ preventScroll: true });
  }

  async function look() {
    if (!paused && !document.hidden) {
      try {
        const answer = await fetch(location.href, { headers: { "X-Fragment": "1" } });
        // A page that leads elsewhere, such as to a sign-in, has nothing to show here.
        if (answer.redirected) location.reload();
        else if (answer.ok) {
          if (!paused) show(await answer.text());
          said.textContent = "";
        } else said.textContent = `The server answers ${answer.status}`;
      } catch {
        said.textContent = "The server does not answer";
      }
    }
    setTimeout(look, EVERY);
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
  });
  setTimeout(look, EVERY);
})();
